//! The collector: every stage fires when it is due and not before (D5, D6).

use std::time::Duration;

use funaya_ports::meta::{Collected, Effort};

use crate::world::{HOUR, SECOND, World, digest, target};

contract!(
    an_unreferenced_layer_goes_in_stages,
    a_referenced_layer_stays,
    a_deleted_image_goes_in_stages,
    a_shared_blob_stays_with_its_last_link,
    a_deleted_repository_goes,
    without_an_undo_window,
    rounds_are_limited,
);

const NONE: Collected = Collected { tombstones: 0, links: 0, blobs: 0, uploads: 0, more: false };

/// Collects at the moment before it is due and at the moment after.
async fn due_at(world: &World, wait: Duration, want: Collected) {
    world.clock.advance(wait);
    assert_eq!(world.collect().await, NONE, "too early");
    world.check().await;
    world.clock.advance(SECOND);
    assert_eq!(world.collect().await, want);
    world.check().await;
}

async fn an_unreferenced_layer_goes_in_stages(world: World) {
    world.create("app").await;
    let key = world.push_layer("app", digest(1)).await;
    due_at(&world, world.spans.grace, Collected { links: 1, ..NONE }).await;
    assert_eq!(world.layer("app", digest(1)).await.unwrap(), None);
    assert_eq!(world.blobs().await, 1);
    assert_eq!(world.collect().await, Collected { blobs: 1, ..NONE });
    assert_eq!(world.blobs().await, 0);
    assert_eq!(world.store.blob(&world.registry, &digest(1)).await.unwrap(), None);
    // I6: the bytes stay on after the row has gone.
    assert!(world.owned(&key).await);
    world.clock.advance(world.spans.trash);
    assert_eq!(world.due_trash().await, []);
    world.clock.advance(SECOND);
    assert_eq!(world.due_trash().await, std::slice::from_ref(&key));
    world.store.forget_trash(vec![key.clone()]).await.unwrap();
    assert!(!world.owned(&key).await);
    assert_eq!(world.collect().await, NONE);
    // The same bytes again get another key.
    assert_ne!(world.push_layer("app", digest(1)).await, key);
    world.check().await;
}

async fn a_referenced_layer_stays(world: World) {
    world.create("app").await;
    world.push("app", 1, &["v"]).await;
    for _ in 0..10 {
        world.clock.advance(5 * world.spans.grace);
        assert_eq!(world.collect().await, NONE);
    }
    world.layer("app", digest(1)).await.unwrap().unwrap();
    world.check().await;
}

async fn a_deleted_image_goes_in_stages(world: World) {
    world.create("app").await;
    world.push("app", 1, &["v"]).await;
    world.clock.advance(world.spans.grace + HOUR);
    assert_eq!(world.collect().await, NONE);
    world.delete("app", "v").await.unwrap();
    // Until the window has passed, everything is there for a restore.
    world.clock.advance(world.spans.undo - SECOND);
    assert_eq!(world.collect().await, NONE);
    assert_eq!(world.store.all_manifests((0, 0, 0), 10).await.unwrap().len(), 1);
    world.layer("app", digest(1)).await.unwrap().unwrap();
    due_at(&world, Duration::ZERO, Collected { tombstones: 1, ..NONE }).await;
    assert_eq!(world.store.all_manifests((0, 0, 0), 10).await.unwrap().len(), 0);
    world.layer("app", digest(1)).await.unwrap().unwrap();
    due_at(&world, world.spans.grace, Collected { links: 1, ..NONE }).await;
    assert_eq!(world.collect().await, Collected { blobs: 1, ..NONE });
    assert_eq!(world.blobs().await, 0);
}

async fn a_shared_blob_stays_with_its_last_link(world: World) {
    world.create("app").await;
    world.create("other").await;
    world.push_layer("app", digest(1)).await;
    world.clock.advance(HOUR);
    world.mount("app", "other", digest(1)).await.unwrap();
    due_at(&world, world.spans.grace - HOUR, Collected { links: 1, ..NONE }).await;
    due_at(&world, HOUR - SECOND, Collected { links: 1, ..NONE }).await;
    assert_eq!(world.collect().await, Collected { blobs: 1, ..NONE });
    // Linked again before the blob's turn: it stays.
    world.push_layer("app", digest(2)).await;
    due_at(&world, world.spans.grace, Collected { links: 1, ..NONE }).await;
    world.push_layer("other", digest(2)).await;
    world.clock.advance(SECOND);
    assert_eq!(world.collect().await, NONE);
    assert_eq!(world.blobs().await, 1);
    world.layer("other", digest(2)).await.unwrap().unwrap();
    world.check().await;
    world.collect_all().await;
    assert_eq!(world.blobs().await, 0);
}

async fn a_deleted_repository_goes(world: World) {
    world.create("app").await;
    world.create("other").await;
    for number in 1..=5 {
        world.push("app", number, &[&format!("t{number}")]).await;
    }
    world.mount("app", "other", digest(5)).await.unwrap();
    world.put("other", digest(55), &[digest(5)], &["v"]).await.unwrap();
    world.push_layer("app", digest(7)).await;
    let upload = world.open_upload("app").await;
    world.delete("app", "t1").await.unwrap();
    world.delete_repository("app", true).await.unwrap();
    world.clock.advance(SECOND);
    assert_eq!(world.collect().await, Collected { uploads: 1, ..NONE });
    world.clock.advance(world.spans.undo);
    world.push_layer("other", digest(8)).await;
    // More than one round, but never one that asks for more in vain.
    let mut rounds = 0;
    while world.store.collect(world.now(), world.spans, 2, Effort::Brisk).await.unwrap().more {
        world.check().await;
        rounds += 1;
        assert!(rounds < 20, "the collector spins");
    }
    let swept = world.collect_all().await;
    assert!(swept.contains(&upload.key));
    assert_eq!(world.store.all_manifests((0, 0, 0), 10).await.unwrap().len(), 1);
    assert_eq!(world.blobs().await, 1);
    world.layer("other", digest(5)).await.unwrap().unwrap();
    world.get("other", "v").await.unwrap().unwrap();
}

async fn without_an_undo_window(world: World) {
    world.create("app").await;
    let image = world.push("app", 1, &["v"]).await;
    let mut removal = world.removal("app", vec![target(image)]);
    removal.purge_at = world.now();
    world.store.delete_images(removal).await.unwrap();
    assert_eq!(world.collect().await, Collected { tombstones: 1, ..NONE });
    world.check().await;
    // Pushed again at once: a new row, the layer is still promised.
    world.put("app", image, &[digest(1)], &["v"]).await.unwrap();
    world.collect_all().await;
    world.get("app", "v").await.unwrap().unwrap();
    world.layer("app", digest(1)).await.unwrap().unwrap();
}

async fn rounds_are_limited(world: World) {
    world.create("app").await;
    for number in 1..=7 {
        world.push_layer("app", digest(number)).await;
        world.open_upload("app").await;
    }
    world.clock.advance(world.spans.grace + SECOND);
    let mut total = Collected::default();
    for _ in 0..100 {
        let done = world.store.collect(world.now(), world.spans, 3, Effort::Brisk).await.unwrap();
        assert!(done.links <= 3 && done.uploads <= 3 && done.blobs <= 3, "{done:?}");
        total.links += done.links;
        total.uploads += done.uploads;
        total.blobs += done.blobs;
        if !done.more {
            world.clock.advance(SECOND);
        }
        world.check().await;
    }
    assert_eq!((total.links, total.uploads, total.blobs), (7, 7, 7));
    assert_eq!(world.blobs().await, 0);
}
