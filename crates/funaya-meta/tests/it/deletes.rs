//! Deleting images and tags.

use std::sync::{Arc, Mutex};

use funaya_ports::meta::{DeleteOutcome, DeleteTarget, Refusal};
use funaya_types::Digest;

use crate::world::{World, digest, name, refused, tag, target};

contract!(
    outcomes,
    the_last_tag_takes_the_image,
    untagged_images_stay_when_asked,
    an_index_holds_its_children,
    several_at_once,
    the_audit_entry_sees_the_outcomes,
);

fn gone(digest: Digest, tags: &[&str], image: bool) -> DeleteOutcome {
    DeleteOutcome::Deleted { digest, tags: tags.iter().map(|text| tag(text)).collect(), image }
}

async fn outcomes(world: World) {
    refused(world.delete("app", "v").await, Refusal::NoRepository);
    world.create("app").await;
    let one = world.push("app", 1, &["v", "w"]).await;
    let two = world.push("app", 2, &["x"]).await;
    let both = |digest, text| DeleteTarget { digest: Some(digest), tag: Some(tag(text)) };
    let cases = [
        (DeleteTarget { digest: None, tag: None }, DeleteOutcome::NotFound),
        (target("nope"), DeleteOutcome::NotFound),
        (target(digest(5)), DeleteOutcome::NotFound),
        (both(digest(5), "v"), DeleteOutcome::NotFound),
        (both(one, "nope"), DeleteOutcome::NotFound),
        (both(two, "v"), DeleteOutcome::TagMismatch),
        (both(one, "w"), gone(one, &["w"], false)),
        (both(one, "w"), DeleteOutcome::NotFound),
        (target(two), gone(two, &["x"], true)),
        (target(two), DeleteOutcome::NotFound),
        (target("x"), DeleteOutcome::NotFound),
    ];
    for (target, want) in cases {
        let got = world.store.delete_images(world.removal("app", vec![target.clone()])).await.unwrap();
        assert_eq!(got, [want], "{target:?}");
        world.check().await;
    }
    assert_eq!(world.all_images("app").await, [one]);
    assert_eq!(world.all_tags("app").await, [("v".into(), one)]);
}

async fn the_last_tag_takes_the_image(world: World) {
    world.create("app").await;
    let one = world.push("app", 1, &["v", "w"]).await;
    assert_eq!(world.delete("app", "v").await.unwrap(), gone(one, &["v"], false));
    world.get("app", one).await.unwrap().unwrap();
    assert_eq!(world.delete("app", "w").await.unwrap(), gone(one, &["w"], true));
    assert_eq!(world.get("app", one).await.unwrap(), None);
    world.check().await;
}

async fn untagged_images_stay_when_asked(world: World) {
    world.create("app").await;
    let one = world.push("app", 1, &["v"]).await;
    let mut removal = world.removal("app", vec![target("v")]);
    removal.keep_untagged = true;
    assert_eq!(world.store.delete_images(removal).await.unwrap(), [gone(one, &["v"], false)]);
    world.get("app", one).await.unwrap().unwrap();
    assert_eq!(world.get("app", "v").await.unwrap(), None);
    world.check().await;
}

async fn an_index_holds_its_children(world: World) {
    world.create("app").await;
    let child = world.push("app", 1, &["child"]).await;
    let mut index = world.image("app", digest(9), &[], &["v"]);
    index.children = vec![child];
    world.store.put_image(index).await.unwrap();
    assert_eq!(world.delete("app", child).await.unwrap(), DeleteOutcome::Referenced(digest(9)));
    // The last tag would take the image with it.
    assert_eq!(world.delete("app", "child").await.unwrap(), DeleteOutcome::Referenced(digest(9)));
    world.get("app", "child").await.unwrap().unwrap();
    world.delete("app", "v").await.unwrap();
    assert_eq!(world.delete("app", child).await.unwrap(), gone(child, &["child"], true));
    world.check().await;
}

async fn several_at_once(world: World) {
    world.create("app").await;
    let (one, two) = (world.push("app", 1, &["a", "b"]).await, world.push("app", 2, &[]).await);
    let targets = vec![target("a"), target("nope"), target(two), target("b"), target(one)];
    let got = world.store.delete_images(world.removal("app", targets)).await.unwrap();
    let want = [
        gone(one, &["a"], false),
        DeleteOutcome::NotFound,
        gone(two, &[], true),
        gone(one, &["b"], true),
        DeleteOutcome::NotFound,
    ];
    assert_eq!(got, want);
    assert_eq!(world.all_images("app").await, []);
    world.check().await;
    world.delete_repository("app", false).await.unwrap();
}

async fn the_audit_entry_sees_the_outcomes(world: World) {
    world.create("app").await;
    let one = world.push("app", 1, &["v"]).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (copy, batch) = (seen.clone(), world.audit());
    let mut removal = world.removal("app", vec![target("v")]);
    removal.audit = Arc::new(move |outcomes| {
        *copy.lock().unwrap() = outcomes.to_vec();
        batch.clone()
    });
    world.store.delete_images(removal).await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [gone(one, &["v"], true)]);

    let (copy, batch) = (Arc::new(Mutex::new(None)), world.audit());
    let (deleted, id) = (copy.clone(), batch.id.clone());
    let mut deletion = world.deletion("app", false);
    deletion.audit = Arc::new(move |repository| {
        *copy.lock().unwrap() = Some(repository.name.clone());
        batch.clone()
    });
    world.store.delete_repository(deletion).await.unwrap();
    assert_eq!(*deleted.lock().unwrap(), Some(name("app")));
    let rows = world.store.audit((0, String::new()), 100).await.unwrap();
    assert!(rows.iter().any(|(_, (_, row), _)| *row == id));
}
