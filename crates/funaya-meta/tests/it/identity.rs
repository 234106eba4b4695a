//! Identities, and what else decides about access.

use funaya_ports::{
    identity::{Change, Entity, EntityKey, EntityPage, Group, Kind, LastUse, Link, Relation, User},
    meta::{MetaStore as _, Refusal, Result},
};
use funaya_types::{AccountId, ResourceTag};

use crate::world::{SECOND, World, name, refused};

contract!(
    an_entity_is_made_changed_and_deleted,
    ids_are_unique_everywhere,
    entities_are_listed_by_key_and_path,
    links_go_with_their_ends,
    a_guard_must_hold,
    a_refused_change_changes_nothing,
    the_epoch_moves_with_access_alone,
    policies_of_resources,
    the_newest_use_is_kept,
);

mod at_once {
    use super::{nobody_is_attached_to_what_is_gone, one_of_many_changes_an_entity};

    races!(one_of_many_changes_an_entity, nobody_is_attached_to_what_is_gone);
}

fn account() -> AccountId {
    "123456789012".parse().unwrap()
}

fn place(kind: Kind, key: &str) -> EntityKey {
    EntityKey { account: account(), kind, key: key.into() }
}

fn entity(world: &World, kind: Kind, key: &str) -> Entity {
    let (id, path, body) = (format!("ID{key}"), "/".into(), String::new());
    Entity { place: place(kind, key), id, path, body, created_at: world.now(), version: 0 }
        .with(&User { name: key.into(), ..User::default() })
}

fn link(relation: Relation, from: &str, to: &str) -> Link {
    Link { account: account(), relation, from: from.into(), to: to.into() }
}

async fn put(world: &World, entities: Vec<Entity>) -> Result<()> {
    world.identities.change(Change { put: entities, ..Change::new(world.audit()) }).await
}

async fn get(world: &World, kind: Kind, key: &str) -> Option<Entity> {
    world.identities.entity(&place(kind, key)).await.unwrap()
}

async fn an_entity_is_made_changed_and_deleted(world: World) {
    assert_eq!(get(&world, Kind::User, "ann").await, None);
    put(&world, vec![entity(&world, Kind::User, "ann")]).await.unwrap();
    refused(put(&world, vec![entity(&world, Kind::User, "ann")]).await, Refusal::Changed);
    let ann = get(&world, Kind::User, "ann").await.unwrap();
    assert_eq!(ann, Entity { version: 1, ..entity(&world, Kind::User, "ann") });
    assert_eq!(ann.read::<User>().unwrap().name, "ann");
    assert_eq!(get(&world, Kind::Role, "ann").await, None);
    let moved = Entity { path: "/staff/".into(), ..ann.clone() }.with(&User { name: "Ann".into(), ..User::default() });
    put(&world, vec![moved.clone()]).await.unwrap();
    refused(put(&world, vec![moved]).await, Refusal::Changed);
    let ann = world.identities.entity_by_id("IDann").await.unwrap().unwrap();
    assert_eq!((ann.path.as_str(), ann.version, ann.read::<User>().unwrap().name.as_str()), ("/staff/", 2, "Ann"));
    let gone = |version| Change { delete: vec![(ann.clone(), version)], ..Change::new(world.audit()) };
    refused(world.identities.change(gone(1)).await, Refusal::Changed);
    world.identities.change(gone(2)).await.unwrap();
    assert_eq!(get(&world, Kind::User, "ann").await, None);
    assert_eq!(world.identities.entity_count(&account(), Kind::User).await.unwrap(), 0);
}

async fn ids_are_unique_everywhere(world: World) {
    put(&world, vec![entity(&world, Kind::User, "ann")]).await.unwrap();
    let mut twin = entity(&world, Kind::Group, "staff");
    twin.id = "IDann".into();
    twin.place.account = "210987654321".parse().unwrap();
    refused(put(&world, vec![twin]).await, Refusal::Changed);
}

async fn entities_are_listed_by_key_and_path(world: World) {
    let mut users: Vec<Entity> = ["b", "a", "d", "c"].map(|key| entity(&world, Kind::User, key)).into();
    users[1].path = "/x/y/".into();
    users[2].path = "/x/".into();
    users[3].path = "/xx/".into();
    put(&world, users).await.unwrap();
    let list = async |path_prefix: &str, after: &str, limit| {
        let page = EntityPage {
            account: account(),
            kind: Kind::User,
            path_prefix: path_prefix.into(),
            after: after.into(),
            limit,
        };
        let found = world.identities.entities(page).await.unwrap();
        found.iter().map(|entity| entity.place.key.clone()).collect::<String>()
    };
    assert_eq!(list("/", "", 10).await, "abcd");
    assert_eq!(list("/", "a", 2).await, "bc");
    assert_eq!(list("/x/", "", 10).await, "ad");
    assert_eq!(list("/x", "", 10).await, "acd");
    assert_eq!(world.identities.entity_count(&account(), Kind::User).await.unwrap(), 4);
}

async fn links_go_with_their_ends(world: World) {
    let people = ["ann", "bob"].map(|key| entity(&world, Kind::User, key));
    let staff = entity(&world, Kind::Group, "staff").with(&Group { name: "staff".into(), ..Group::default() });
    let links = ["IDann", "IDbob"].map(|user| link(Relation::MemberOf, user, "IDstaff"));
    let mut change = Change { link: links.to_vec(), ..Change::new(world.audit()) };
    change.put = people.into_iter().chain([staff]).collect();
    world.identities.change(change).await.unwrap();
    // Once more is no more.
    world.identities.change(Change { link: links.to_vec(), ..Change::new(world.audit()) }).await.unwrap();
    let members = async || world.identities.links_to(&account(), Relation::MemberOf, "IDstaff", "", 10).await.unwrap();
    assert_eq!(members().await, ["IDann", "IDbob"]);
    let rest = world.identities.links_to(&account(), Relation::MemberOf, "IDstaff", "IDann", 10).await.unwrap();
    assert_eq!(rest, ["IDbob"]);
    let ann = get(&world, Kind::User, "ann").await.unwrap();
    world.identities.change(Change { delete: vec![(ann, 1)], ..Change::new(world.audit()) }).await.unwrap();
    assert_eq!(members().await, ["IDbob"]);
    world.identities.change(Change { unlink: links.to_vec(), ..Change::new(world.audit()) }).await.unwrap();
    assert!(world.identities.links_from(&account(), Relation::MemberOf, "IDbob").await.unwrap().is_empty());
}

async fn a_guard_must_hold(world: World) {
    put(&world, vec![entity(&world, Kind::User, "ann")]).await.unwrap();
    let guarded = |version| Change {
        guard: vec![(place(Kind::User, "ann"), version), (place(Kind::User, "bob"), 0)],
        ..Change::new(world.audit())
    };
    refused(world.identities.change(guarded(2)).await, Refusal::Changed);
    world.identities.change(guarded(1)).await.unwrap();
    refused(world.identities.change(guarded(1)).await, Refusal::Changed);
    put(&world, vec![entity(&world, Kind::User, "bob")]).await.unwrap();
    refused(world.identities.change(guarded(2)).await, Refusal::Changed);
}

async fn a_refused_change_changes_nothing(world: World) {
    put(&world, vec![entity(&world, Kind::User, "ann")]).await.unwrap();
    let epoch = world.identities.epoch();
    let mut change = Change::new(world.audit());
    change.put = vec![entity(&world, Kind::User, "bob"), entity(&world, Kind::User, "ann")];
    change.link = vec![link(Relation::MemberOf, "IDbob", "IDstaff")];
    refused(world.identities.change(change).await, Refusal::Changed);
    assert_eq!(get(&world, Kind::User, "bob").await, None);
    assert!(world.identities.links_from(&account(), Relation::MemberOf, "IDbob").await.unwrap().is_empty());
    assert_eq!(world.identities.epoch(), epoch);
}

async fn the_epoch_moves_with_access_alone(world: World) {
    world.identities.refresh().await.unwrap();
    let mut epoch = world.identities.epoch();
    let mut moved = || {
        let before = std::mem::replace(&mut epoch, world.identities.epoch());
        epoch > before
    };
    world.create("team/app").await;
    world.push("team/app", 1, &["latest"]).await;
    assert!(!moved());
    put(&world, vec![entity(&world, Kind::User, "ann")]).await.unwrap();
    assert!(moved());
    let at = name("team/app");
    let label = ResourceTag::new("a", "b").unwrap();
    world.store.tag_resource(&world.registry, &at, vec![label], world.audit()).await.unwrap();
    assert!(moved());
    world.store.untag_resource(&world.registry, &at, vec!["a".into()], world.audit()).await.unwrap();
    assert!(moved());
    world.store.set_policy(&world.registry, Some(&at), Some("{}".into()), world.audit()).await.unwrap();
    assert!(moved());
    // Another replica sees it when it looks.
    let other = world.reopened().await;
    let seen: &dyn funaya_ports::identity::Directory = &*other;
    seen.refresh().await.unwrap();
    assert_eq!(seen.epoch(), world.identities.epoch());
    other.delete_repository(world.deletion("team/app", true)).await.unwrap();
    assert!(!moved());
    world.identities.refresh().await.unwrap();
    assert!(moved());
}

async fn policies_of_resources(world: World) {
    let at = name("team/app");
    refused(world.store.set_policy(&world.registry, Some(&at), None, world.audit()).await, Refusal::NoRepository);
    assert_eq!(world.identities.repository_access(&world.registry, &at).await.unwrap(), None);
    let mut command = world.new_repository("team/app");
    command.tags = vec![ResourceTag::new("a", "b").unwrap()];
    world.store.create_repository(command).await.unwrap();
    let access = async || world.identities.repository_access(&world.registry, &at).await.unwrap().unwrap();
    assert_eq!((access().await.policy, access().await.tags.len()), (None, 1));
    world.store.set_policy(&world.registry, Some(&at), Some("one".into()), world.audit()).await.unwrap();
    world.store.set_policy(&world.registry, None, Some("two".into()), world.audit()).await.unwrap();
    assert_eq!(access().await.policy.as_deref(), Some("one"));
    assert_eq!(world.identities.registry_policy(&world.registry).await.unwrap().as_deref(), Some("two"));
    world.store.set_policy(&world.registry, Some(&at), None, world.audit()).await.unwrap();
    world.store.set_policy(&world.registry, None, None, world.audit()).await.unwrap();
    assert_eq!(access().await.policy, None);
    assert_eq!(world.identities.registry_policy(&world.registry).await.unwrap(), None);
    // A repository of the same name has nothing of the one before.
    world.store.set_policy(&world.registry, Some(&at), Some("one".into()), world.audit()).await.unwrap();
    world.delete_repository("team/app", false).await.unwrap();
    world.create("team/app").await;
    assert_eq!((access().await.policy, access().await.tags.len()), (None, 0));
}

async fn the_newest_use_is_kept(world: World) {
    let used = |at| LastUse { at, region: "us-east-1".into(), service: "ecr".into() };
    assert_eq!(world.identities.last_use("AKIA").await.unwrap(), None);
    let (early, late) = (world.now(), world.now().plus(SECOND));
    world.identities.note_use(vec![("AKIA".into(), used(late)), ("AKIA".into(), used(early))]).await.unwrap();
    assert_eq!(world.identities.last_use("AKIA").await.unwrap(), Some(used(late)));
}

async fn one_of_many_changes_an_entity(world: World) {
    put(&world, vec![entity(&world, Kind::User, "ann")]).await.unwrap();
    for round in 1..=20 {
        let tasks: Vec<_> = (0..4)
            .map(|number| {
                let body = User { name: format!("{round} {number}"), ..User::default() };
                let new = Entity { version: round, ..entity(&world, Kind::User, "ann") }.with(&body);
                let (store, change) =
                    (world.identities.clone(), Change { put: vec![new], ..Change::new(world.audit()) });
                tokio::spawn(async move { store.change(change).await.map(|()| body.name) })
            })
            .collect();
        let mut won = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                Ok(name) => won.push(name),
                other => refused(other, Refusal::Changed),
            }
        }
        let ann = get(&world, Kind::User, "ann").await.unwrap();
        assert_eq!((won, ann.version), (vec![ann.read::<User>().unwrap().name], round + 1));
    }
}

/// A group is deleted only while nobody is in it, and nobody joins one that is gone.
async fn nobody_is_attached_to_what_is_gone(world: World) {
    for round in 0..20 {
        let key = format!("staff{round}");
        put(&world, vec![entity(&world, Kind::Group, &key)]).await.unwrap();
        let (store, audit, group) = (world.identities.clone(), world.audit(), place(Kind::Group, &key));
        let joining = link(Relation::MemberOf, "IDann", &format!("ID{key}"));
        let join = tokio::spawn(async move {
            store.change(Change { guard: vec![(group, 1)], link: vec![joining], ..Change::new(audit) }).await
        });
        let (store, audit, gone) = (world.identities.clone(), world.audit(), entity(&world, Kind::Group, &key));
        let delete =
            tokio::spawn(async move { store.change(Change { delete: vec![(gone, 1)], ..Change::new(audit) }).await });
        let (joined, deleted) = (join.await.unwrap(), delete.await.unwrap());
        assert!(joined.is_ok() != deleted.is_ok(), "{joined:?} {deleted:?}");
        let members =
            world.identities.links_to(&account(), Relation::MemberOf, &format!("ID{key}"), "", 9).await.unwrap();
        assert_eq!(members.len(), usize::from(joined.is_ok()));
        assert_eq!(get(&world, Kind::Group, &key).await.is_some(), joined.is_ok());
    }
}
