//! Bringing back what was deleted (D6).

use funaya_ports::{
    meta::{Effort, Refusal, Result},
    undo::{Deleted, DeletedPlace, RestoreLimits, Restored},
};
use funaya_types::{Digest, ResourceTag, limits::REPOSITORIES_MAX};

use crate::world::{HOUR, SECOND, World, digest, name, refused, tag};

contract!(
    an_image_comes_back_with_its_tags,
    tags_that_were_taken_are_left_alone,
    an_index_comes_back_with_its_manifests,
    a_shorter_window_takes_nothing_from_an_index,
    only_what_is_deleted_comes_back,
    the_quota_holds_for_what_comes_back,
    nothing_comes_back_after_its_window,
    a_layer_comes_back_with_its_image,
    a_repository_comes_back_as_it_was,
    a_taken_name_stays_taken,
    what_was_deleted_is_listed,
    a_tag_has_a_history,
);

mod at_once {
    use super::{collected_or_restored, one_of_many_restores};

    races!(collected_or_restored, one_of_many_restores);
}

async fn restore(world: &World, at: &str, image: Digest) -> Result<Restored> {
    let limits = RestoreLimits { now: world.now(), images_max: 100 };
    world.undo.restore_image(&world.registry, &name(at), &image, limits, world.audit()).await
}

async fn restore_repository(world: &World, at: &str) -> Result<()> {
    world
        .undo
        .restore_repository(&world.registry, &name(at), world.now(), REPOSITORIES_MAX, world.audit())
        .await
        .map(drop)
}

async fn deleted(world: &World) -> Vec<Deleted> {
    world.undo.deleted(&world.registry, DeletedPlace::default(), world.now(), 100).await.unwrap().0
}

fn names(tags: &[funaya_types::ImageTag]) -> String {
    tags.iter().map(|tag| tag.as_str()).collect::<Vec<_>>().join(" ")
}

async fn an_image_comes_back_with_its_tags(world: World) {
    world.create("app").await;
    let image = world.push("app", 1, &["a", "b"]).await;
    let other = world.push("app", 2, &["c"]).await;
    world.clock.advance(SECOND);
    // A tag that went before does not come back.
    world.delete("app", "b").await.unwrap();
    world.clock.advance(SECOND);
    world.delete("app", image).await.unwrap();
    world.clock.advance(SECOND);
    assert_eq!(world.all_images("app").await, [other]);
    let restored = restore(&world, "app", image).await.unwrap();
    assert_eq!((names(&restored.tags), names(&restored.taken), restored.children), ("a".into(), "".into(), 0));
    assert_eq!(world.all_images("app").await, [image, other]);
    assert_eq!(world.all_tags("app").await, [("a".into(), image), ("c".into(), other)]);
    refused(restore(&world, "app", image).await, Refusal::NotDeleted);
    world.check().await;
}

async fn tags_that_were_taken_are_left_alone(world: World) {
    world.create("app").await;
    let image = world.push("app", 1, &["a", "b"]).await;
    world.clock.advance(SECOND);
    world.delete("app", image).await.unwrap();
    let other = world.push("app", 2, &["a"]).await;
    let restored = restore(&world, "app", image).await.unwrap();
    assert_eq!((names(&restored.tags), names(&restored.taken)), ("b".into(), "a".into()));
    assert_eq!(world.all_tags("app").await, [("a".into(), other), ("b".into(), image)]);
}

async fn an_index_comes_back_with_its_manifests(world: World) {
    world.create("app").await;
    let child = world.push("app", 1, &[]).await;
    let index = digest(9);
    let mut put = world.image("app", index, &[], &["multi"]);
    put.children = vec![child];
    world.store.put_image(put).await.unwrap();
    world.clock.advance(SECOND);
    world.delete("app", index).await.unwrap();
    world.delete("app", child).await.unwrap();
    assert!(world.all_images("app").await.is_empty());
    let restored = restore(&world, "app", index).await.unwrap();
    assert_eq!((names(&restored.tags), restored.children), ("multi".into(), 1));
    assert_eq!(world.all_images("app").await.len(), 2);
    world.check().await;
}

/// The index was deleted when the window was a week: its images wait for it.
async fn a_shorter_window_takes_nothing_from_an_index(mut world: World) {
    world.create("app").await;
    let child = world.push("app", 1, &[]).await;
    let index = digest(9);
    let mut put = world.image("app", index, &[], &["multi"]);
    put.children = vec![child];
    world.store.put_image(put).await.unwrap();
    world.delete("app", index).await.unwrap();
    world.spans.undo = SECOND;
    world.clock.advance(SECOND);
    world.delete("app", child).await.unwrap();
    world.clock.advance(HOUR);
    assert_eq!(world.collecting.removable(world.now(), 10).await.unwrap(), []);
    assert_eq!(world.collect().await.tombstones, 0);
    assert_eq!(restore(&world, "app", index).await.unwrap().children, 1);
    assert_eq!(world.all_images("app").await.len(), 2);
    world.delete("app", index).await.unwrap();
    world.delete("app", child).await.unwrap();
    world.clock.advance(world.spans.undo * 2);
    world.collect_all().await;
    refused(restore(&world, "app", child).await, Refusal::NotDeleted);
    assert_eq!(deleted(&world).await, []);
    world.check().await;
}

async fn only_what_is_deleted_comes_back(world: World) {
    refused(restore(&world, "app", digest(1)).await, Refusal::NoRepository);
    world.create("app").await;
    refused(restore(&world, "app", digest(1)).await, Refusal::NotDeleted);
    let image = world.push("app", 1, &["a"]).await;
    refused(restore(&world, "app", image).await, Refusal::NotDeleted);
    assert_eq!(world.all_images("app").await, [image]);
    refused(restore_repository(&world, "app").await, Refusal::RepositoryExists);
    refused(restore_repository(&world, "other").await, Refusal::NotDeleted);
    world.check().await;
}

async fn the_quota_holds_for_what_comes_back(world: World) {
    world.create("app").await;
    let image = world.push("app", 1, &["a"]).await;
    world.delete("app", image).await.unwrap();
    world.push("app", 2, &["b"]).await;
    let limits = RestoreLimits { now: world.now(), images_max: 1 };
    let outcome = world.undo.restore_image(&world.registry, &name("app"), &image, limits, world.audit()).await;
    refused(outcome, Refusal::ImageQuota);
    restore(&world, "app", image).await.unwrap();
}

async fn nothing_comes_back_after_its_window(world: World) {
    world.create("app").await;
    world.create("gone").await;
    let image = world.push("app", 1, &["a"]).await;
    world.push("gone", 2, &["a"]).await;
    world.delete("app", image).await.unwrap();
    world.delete_repository("gone", true).await.unwrap();
    assert_eq!(deleted(&world).await.len(), 2);
    world.clock.advance(world.spans.undo + HOUR);
    assert_eq!(deleted(&world).await, []);
    // Not even before the collector has come.
    refused(restore(&world, "app", image).await, Refusal::NotDeleted);
    refused(restore_repository(&world, "gone").await, Refusal::NotDeleted);
    world.collect_all().await;
    refused(restore(&world, "app", image).await, Refusal::NotDeleted);
    world.check().await;
}

async fn a_layer_comes_back_with_its_image(world: World) {
    world.create("app").await;
    world.push_layer("app", digest(70)).await;
    world.put("app", digest(7), &[digest(70)], &["a"]).await.unwrap();
    world.delete("app", digest(7)).await.unwrap();
    world.delete_layer("app", digest(70)).await.unwrap();
    assert_eq!(world.layer("app", digest(70)).await.unwrap(), None);
    restore(&world, "app", digest(7)).await.unwrap();
    assert!(world.layer("app", digest(70)).await.unwrap().is_some());
    // It stays: the image needs it.
    world.clock.advance(world.spans.undo * 2);
    world.collect_all().await;
    assert!(world.layer("app", digest(70)).await.unwrap().is_some());
    world.check().await;
}

async fn a_repository_comes_back_as_it_was(world: World) {
    let mut command = world.new_repository("team/app");
    command.tags = vec![ResourceTag::new("team", "a").unwrap()];
    world.store.create_repository(command).await.unwrap();
    let (at, audit) = (name("team/app"), || world.audit());
    world.store.set_policy(&world.registry, Some(&at), Some("policy".into()), audit()).await.unwrap();
    let image = world.push("team/app", 1, &["a"]).await;
    let gone = world.push("team/app", 2, &[]).await;
    world.delete("team/app", gone).await.unwrap();
    let before = world.store.repository(&world.registry, &at).await.unwrap();
    world.delete_repository("team/app", true).await.unwrap();
    refused(world.store.repository(&world.registry, &at).await, Refusal::NoRepository);
    let epoch = world.identities.epoch();
    restore_repository(&world, "team/app").await.unwrap();
    assert!(world.identities.epoch() > epoch);
    assert_eq!(world.store.repository(&world.registry, &at).await.unwrap(), before);
    assert_eq!(world.all_tags("team/app").await, [("a".into(), image)]);
    let access = world.identities.repository_access(&world.registry, &at).await.unwrap().unwrap();
    assert_eq!((access.policy.as_deref(), access.tags.len()), (Some("policy"), 1));
    // What had been deleted in it before can still be brought back.
    restore(&world, "team/app", gone).await.unwrap();
    world.check().await;
}

async fn a_taken_name_stays_taken(world: World) {
    world.create("app").await;
    world.push("app", 1, &["old"]).await;
    world.delete_repository("app", true).await.unwrap();
    world.clock.advance(SECOND);
    world.create("app").await;
    world.push("app", 2, &["new"]).await;
    refused(restore_repository(&world, "app").await, Refusal::RepositoryExists);
    // Of two that had the name, the newer one comes back first.
    world.delete_repository("app", true).await.unwrap();
    restore_repository(&world, "app").await.unwrap();
    assert_eq!(world.all_tags("app").await[0].0, "new");
}

async fn what_was_deleted_is_listed(world: World) {
    world.create("app").await;
    world.create("other").await;
    let first = world.push("app", 1, &["a", "b"]).await;
    world.push("other", 2, &["c"]).await;
    world.clock.advance(SECOND);
    world.delete("app", first).await.unwrap();
    world.clock.advance(SECOND);
    world.delete_repository("other", true).await.unwrap();
    let all = deleted(&world).await;
    assert_eq!(all.len(), 2);
    assert_eq!((all[0].repository.as_str(), all[0].digest, names(&all[0].tags)), ("app", Some(first), "a b".into()));
    assert_eq!((all[1].repository.as_str(), all[1].digest, all[1].images), ("other", None, 1));
    assert!(all[1].repository_is_deleted && !all[0].repository_is_deleted);
    let page = async |after| world.undo.deleted(&world.registry, after, world.now(), 1).await.unwrap();
    let (first_page, next) = page(DeletedPlace::default()).await;
    let (rest, next) = page(next.unwrap()).await;
    assert_eq!((first_page, rest.as_slice()), (all[..1].to_vec(), &all[1..]));
    assert_eq!(page(next.unwrap()).await, (Vec::new(), None));
    // Pushed again: nothing to bring back.
    world.push("app", 1, &[]).await;
    assert_eq!(deleted(&world).await, all[1..]);
    let (nothing, next) = page(DeletedPlace::default()).await;
    assert_eq!((nothing.len(), page(next.unwrap()).await.0.len()), (0, 1), "a page may be short");
}

async fn a_tag_has_a_history(world: World) {
    world.create("app").await;
    let history = async || {
        let found = world.undo.tag_history(&world.registry, &name("app"), &tag("a"), 10).await.unwrap();
        found.into_iter().map(|(_, target)| target).collect::<Vec<_>>()
    };
    assert_eq!(history().await, []);
    let one = world.push("app", 1, &["a"]).await;
    world.clock.advance(SECOND);
    let two = world.push("app", 2, &["a"]).await;
    world.clock.advance(SECOND);
    world.delete("app", "a").await.unwrap();
    assert_eq!(history().await, [Some(one), Some(two), None]);
    world.clock.advance(SECOND);
    let move_tag = |to| {
        let (registry, at, name) = (world.registry.clone(), name("app"), tag("a"));
        let (undo, now, audit) = (world.undo.clone(), world.now(), world.audit());
        async move { undo.move_tag(&registry, &at, &name, &to, now, audit).await }
    };
    move_tag(one).await.unwrap();
    assert_eq!(world.all_tags("app").await, [("a".into(), one)]);
    assert_eq!(history().await, [Some(one), Some(two), None, Some(one)]);
    refused(move_tag(two).await, Refusal::NotDeleted);
    refused(move_tag(digest(99)).await, Refusal::NotDeleted);
}

/// An image whose window ends is purged or restored, and either is whole.
async fn collected_or_restored(world: World) {
    world.create("app").await;
    for round in 0..20 {
        let image = world.push("app", 100 + round, &["a"]).await;
        world.delete("app", image).await.unwrap();
        let before = world.now();
        world.clock.advance(world.spans.undo + SECOND);
        let (store, now, spans) = (world.store.clone(), world.now(), world.spans);
        let collect = tokio::spawn(async move { store.collect(now, spans, 100, Effort::Brisk).await });
        let (undo, registry, audit) = (world.undo.clone(), world.registry.clone(), world.audit());
        // As by a replica whose clock is behind.
        let limits = RestoreLimits { now: before, images_max: 100 };
        let restore =
            tokio::spawn(async move { undo.restore_image(&registry, &name("app"), &image, limits, audit).await });
        collect.await.unwrap().ok();
        let restored = restore.await.unwrap();
        let there = world.get("app", image).await.unwrap().is_some();
        assert_eq!(there, restored.is_ok(), "{restored:?}");
        world.check().await;
        if there {
            world.delete("app", image).await.unwrap();
        }
    }
}

async fn one_of_many_restores(world: World) {
    world.create("app").await;
    for round in 0..10 {
        let image = world.push("app", 100 + round, &["a"]).await;
        world.delete("app", image).await.unwrap();
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (undo, registry, audit) = (world.undo.clone(), world.registry.clone(), world.audit());
                let limits = RestoreLimits { now: world.now(), images_max: 100 };
                tokio::spawn(async move { undo.restore_image(&registry, &name("app"), &image, limits, audit).await })
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => won += 1,
                other => refused(other, Refusal::NotDeleted),
            }
        }
        assert_eq!(won, 1);
        assert_eq!(world.all_images("app").await, [image]);
        world.delete("app", image).await.unwrap();
        world.clock.advance(SECOND);
    }
    world.check().await;
}
