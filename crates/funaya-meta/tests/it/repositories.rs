//! Repositories and their labels.

use funaya_ports::meta::{MetaStore as _, Refusal};
use funaya_types::{Mutability, Reference, ResourceTag};

use crate::world::{World, digest, name, refused, registry, tag};

contract!(
    settings_are_made_once,
    created_and_found,
    registries_are_apart,
    listed_in_byte_order,
    deleted_only_if_empty_or_forced,
    deleted_is_invisible_and_the_name_is_free,
    mutability_changes,
    labels_are_set_and_removed,
    labels_are_limited,
    rows_survive_a_restart,
);

async fn settings_are_made_once(world: World) {
    assert_eq!(world.store.setting("account").await.unwrap(), None);
    assert_eq!(world.store.settle("account", "1").await.unwrap(), "1");
    assert_eq!(world.store.settle("account", "2").await.unwrap(), "1");
    assert_eq!(world.store.setting("account").await.unwrap().as_deref(), Some("1"));
}

async fn created_and_found(world: World) {
    let mut command = world.new_repository("team/app");
    command.repository.mutability = Mutability::Immutable;
    command.repository.scan_on_push = true;
    command.tags = vec![ResourceTag::new("team", "a").unwrap()];
    world.store.create_repository(command.clone()).await.unwrap();
    let found = world.store.repository(&world.registry, &name("team/app")).await.unwrap();
    assert_eq!(found, command.repository);
    let tags = world.store.resource_tags(&world.registry, &name("team/app")).await.unwrap();
    assert_eq!(tags, command.tags);

    refused(world.store.create_repository(world.new_repository("team/app")).await, Refusal::RepositoryExists);
    refused(world.store.repository(&world.registry, &name("team/other")).await, Refusal::NoRepository);
    let mut command = world.new_repository("too/many");
    command.tags = (0..51).map(|n| ResourceTag::new(&format!("k{n}"), "").unwrap()).collect();
    refused(world.store.create_repository(command).await, Refusal::ResourceTagQuota);
    refused(world.store.repository(&world.registry, &name("too/many")).await, Refusal::NoRepository);
}

async fn registries_are_apart(world: World) {
    world.create("app").await;
    world.push("app", 1, &["latest"]).await;
    let other = registry("eu-west-1");
    refused(world.store.repository(&other, &name("app")).await, Refusal::NoRepository);
    let mut command = world.new_repository("app");
    command.registry = other.clone();
    world.store.create_repository(command).await.unwrap();
    let reference = Reference::Tag(tag("latest"));
    assert_eq!(world.store.image(&other, &name("app"), &reference).await.unwrap(), None);
    assert_eq!(world.store.layer(&other, &name("app"), &digest(1)).await.unwrap(), None);
    assert_eq!(world.store.blob(&other, &digest(1)).await.unwrap(), None);
    assert_eq!(world.store.repositories(&world.registry, None, 10).await.unwrap().len(), 1);
    world.check().await;
}

async fn listed_in_byte_order(world: World) {
    let names = ["0a", "a-b", "a.b", "a/b", "a_b", "aa", "ab", "b0", "zz"];
    for at in ["b0", "a_b", "aa", "0a", "zz", "a/b", "ab", "a-b", "a.b"] {
        world.create(at).await;
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = world.store.repositories(&world.registry, after.as_deref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.name.to_string());
        seen.extend(page.iter().map(|repository| repository.name.to_string()));
        if seen.len() == 2 {
            // Gone before and after the page's end, and one that comes: the list goes on right.
            world.delete_repository("a-b", false).await.unwrap();
            world.delete_repository("ab", false).await.unwrap();
            world.create("a-a").await;
        }
    }
    let want: Vec<_> = names.into_iter().filter(|at| *at != "ab").collect();
    assert_eq!(seen, want);
    for odd in ["", "!", "!1", "\u{1}"] {
        let page = world.store.repositories(&world.registry, Some(odd), 100).await.unwrap();
        assert_eq!(page.len(), 8, "after `{odd}`");
    }
}

async fn deleted_only_if_empty_or_forced(world: World) {
    refused(world.delete_repository("app", true).await, Refusal::NoRepository);
    world.create("app").await;
    world.push("app", 1, &["latest"]).await;
    refused(world.delete_repository("app", false).await, Refusal::RepositoryNotEmpty);
    world.get("app", "latest").await.unwrap().unwrap();
    world.delete("app", "latest").await.unwrap();
    // Deleted images can be restored, but do not count.
    let gone = world.delete_repository("app", false).await.unwrap();
    assert_eq!(gone.name, name("app"));
    world.create("app").await;
    world.push("app", 1, &["latest"]).await;
    world.delete_repository("app", true).await.unwrap();
    world.check().await;
}

async fn deleted_is_invisible_and_the_name_is_free(world: World) {
    world.create("app").await;
    let image = world.push("app", 1, &["latest"]).await;
    let upload = world.open_upload("app").await;
    let label = vec![ResourceTag::new("k", "v").unwrap()];
    world.store.tag_resource(&world.registry, &name("app"), label, world.audit()).await.unwrap();
    world.delete_repository("app", true).await.unwrap();

    let (registry, app) = (&world.registry, name("app"));
    refused(world.store.repository(registry, &app).await, Refusal::NoRepository);
    assert_eq!(world.store.repositories(registry, None, 10).await.unwrap(), []);
    refused(world.get("app", "latest").await, Refusal::NoRepository);
    refused(world.layer("app", digest(1)).await, Refusal::NoRepository);
    refused(world.promise("app", digest(1)).await, Refusal::NoRepository);
    refused(world.store.upload(registry, &app, &upload.id).await, Refusal::NoRepository);
    refused(world.store.tags(registry, &app, None, 10).await, Refusal::NoRepository);
    refused(world.store.images(registry, &app, None, None, 10).await, Refusal::NoRepository);
    refused(world.store.resource_tags(registry, &app).await, Refusal::NoRepository);
    refused(world.put("app", digest(9), &[], &["x"]).await, Refusal::NoRepository);
    refused(world.delete("app", "latest").await, Refusal::NoRepository);
    refused(world.delete_repository("app", true).await, Refusal::NoRepository);
    assert_eq!(world.store.layer_holders(registry, &digest(1), 10).await.unwrap(), []);

    world.create("app").await;
    assert_eq!(world.get("app", "latest").await.unwrap(), None);
    assert_eq!(world.get("app", image).await.unwrap(), None);
    assert_eq!(world.layer("app", digest(1)).await.unwrap(), None);
    assert_eq!(world.all_tags("app").await, []);
    assert_eq!(world.store.resource_tags(registry, &app).await.unwrap(), []);
    refused(world.store.upload(registry, &app, &upload.id).await, Refusal::UploadGone);
    refused(world.store.complete_upload(world.completion("app", &upload, digest(2))).await, Refusal::UploadGone);
    // The old one's purge leaves the new one alone.
    world.push("app", 1, &["latest"]).await;
    world.collect_all().await;
    world.get("app", "latest").await.unwrap().unwrap();
    world.layer("app", digest(1)).await.unwrap().unwrap();
}

async fn mutability_changes(world: World) {
    world.create("app").await;
    let (registry, app) = (&world.registry, name("app"));
    world.store.set_mutability(registry, &app, Mutability::Immutable, world.audit()).await.unwrap();
    assert_eq!(world.store.repository(registry, &app).await.unwrap().mutability, Mutability::Immutable);
    let unknown = world.store.set_mutability(registry, &name("nope"), Mutability::Mutable, world.audit()).await;
    refused(unknown, Refusal::NoRepository);
}

async fn labels_are_set_and_removed(world: World) {
    world.create("app").await;
    let (registry, app) = (&world.registry, name("app"));
    let labels = |pairs: &[(&str, &str)]| -> Vec<ResourceTag> {
        pairs.iter().map(|(key, value)| ResourceTag::new(key, value).unwrap()).collect()
    };
    let all = || async { world.store.resource_tags(registry, &app).await.unwrap() };
    world.store.tag_resource(registry, &app, labels(&[("b", "1"), ("a", "2")]), world.audit()).await.unwrap();
    world.store.tag_resource(registry, &app, labels(&[("B", "3"), ("b", "")]), world.audit()).await.unwrap();
    assert_eq!(all().await, labels(&[("B", "3"), ("a", "2"), ("b", "")]));
    world.store.untag_resource(registry, &app, vec!["a".into(), "x".into()], world.audit()).await.unwrap();
    assert_eq!(all().await, labels(&[("B", "3"), ("b", "")]));
    let unknown = world.store.untag_resource(registry, &name("nope"), vec!["a".into()], world.audit()).await;
    refused(unknown, Refusal::NoRepository);
}

async fn labels_are_limited(world: World) {
    world.create("app").await;
    let (registry, app) = (&world.registry, name("app"));
    let labels = |numbers: std::ops::Range<u32>| -> Vec<ResourceTag> {
        numbers.map(|number| ResourceTag::new(&format!("k{number}"), "v").unwrap()).collect()
    };
    world.store.tag_resource(registry, &app, labels(0..50), world.audit()).await.unwrap();
    world.store.tag_resource(registry, &app, labels(0..50), world.audit()).await.unwrap();
    let more = world.store.tag_resource(registry, &app, labels(49..51), world.audit()).await;
    refused(more, Refusal::ResourceTagQuota);
    assert_eq!(world.store.resource_tags(registry, &app).await.unwrap().len(), 50);
}

async fn rows_survive_a_restart(world: World) {
    world.create("app").await;
    let image = world.push("app", 1, &["latest"]).await;
    let again = world.reopened().await;
    let reference = Reference::Tag(tag("latest"));
    let found = again.image(&world.registry, &name("app"), &reference).await.unwrap().unwrap();
    assert_eq!(found.digest, image);
    let layer = again.layer(&world.registry, &name("app"), &digest(1)).await.unwrap().unwrap();
    assert_eq!(layer, world.layer("app", digest(1)).await.unwrap().unwrap());
}
