//! Pushing images.

use funaya_ports::meta::{DeleteOutcome, Refusal};
use funaya_types::{Mutability, Reference};

use crate::world::{LAYER, MANIFEST, SECOND, World, digest, name, refused, size_of, tag};

contract!(
    stored_and_found,
    refused_without_its_layers,
    refused_without_its_children,
    tags_move,
    immutable_tags_stay,
    nothing_new_is_refused_when_asked,
    images_are_limited,
    tags_are_limited,
    a_deleted_image_comes_back,
    a_deleted_image_comes_back_only_whole,
    a_child_waits_for_its_index,
);

async fn stored_and_found(world: World) {
    refused(world.put("app", digest(2), &[], &["v1"]).await, Refusal::NoRepository);
    refused(world.get("app", "v1").await, Refusal::NoRepository);
    world.create("app").await;
    for number in [1, 3] {
        world.push_layer("app", digest(number)).await;
    }
    let mut command = world.image("app", digest(2), &[digest(1), digest(3)], &["v1", "latest"]);
    command.artifact_type = Some("application/example".into());
    command.subject = Some(digest(77));
    world.store.put_image(command.clone()).await.unwrap();
    let image = world.get("app", "v1").await.unwrap().unwrap();
    assert_eq!(world.get("app", "latest").await.unwrap().unwrap(), image);
    assert_eq!(world.get("app", digest(2)).await.unwrap().unwrap(), image);
    assert_eq!((image.digest, image.media_type.as_str()), (digest(2), MANIFEST));
    assert_eq!((image.artifact_type.as_deref(), image.subject), (Some("application/example"), Some(digest(77))));
    assert_eq!(image.image_bytes, size_of(&digest(1)) + size_of(&digest(3)));
    assert_eq!((image.manifest_bytes, image.pushed_at), (command.body.len() as u64, world.now()));
    for reference in [Reference::Tag(tag("v1")), Reference::Digest(digest(2))] {
        let found = world.store.manifest(&world.registry, &name("app"), &reference).await.unwrap().unwrap();
        assert_eq!(found, (image.clone(), command.body.clone()));
    }
    let tags = world.store.image_tags(&world.registry, &name("app"), image.row_id).await.unwrap();
    assert_eq!(tags, [tag("latest"), tag("v1")]);
    assert_eq!(world.layer("app", digest(3)).await.unwrap().unwrap().media_type.as_deref(), Some(LAYER));
    assert_eq!(world.get("app", "v2").await.unwrap(), None);
    assert_eq!(world.get("app", digest(5)).await.unwrap(), None);
    let all = world.store.all_manifests((0, 0, 0), 10).await.unwrap();
    assert_eq!((all.len(), all[0].digest, all[0].body.clone()), (1, digest(2), command.body));
    world.check().await;
}

async fn refused_without_its_layers(world: World) {
    world.create("app").await;
    world.create("other").await;
    world.push_layer("app", digest(1)).await;
    world.push_layer("other", digest(4)).await;
    let missing = Refusal::LayersMissing(vec![digest(2), digest(4)]);
    refused(world.put("app", digest(9), &[digest(4), digest(1), digest(2)], &["v1"]).await, missing);
    let mut wrong_size = world.image("app", digest(9), &[digest(1)], &["v1"]);
    wrong_size.blobs[0].2 = Some(1);
    refused(world.store.put_image(wrong_size.clone()).await, Refusal::LayerSize(digest(1)));
    assert_eq!(world.all_images("app").await, []);
    assert_eq!(world.all_tags("app").await, []);
    world.check().await;
    wrong_size.blobs[0].2 = None;
    world.store.put_image(wrong_size).await.unwrap();
    world.check().await;
}

async fn refused_without_its_children(world: World) {
    world.create("app").await;
    let (small, large) = (world.push("app", 1, &[]).await, world.push("app", 2, &[]).await);
    let mut index = world.image("app", digest(9), &[], &["v1"]);
    index.children = vec![digest(5), small, digest(2_000_000)];
    let missing = Refusal::ChildrenMissing(vec![digest(5), digest(2_000_000)]);
    refused(world.store.put_image(index.clone()).await, missing);
    world.delete("app", large).await.unwrap();
    index.children = vec![small, large];
    refused(world.store.put_image(index.clone()).await, Refusal::ChildrenMissing(vec![large]));
    assert_eq!(world.all_images("app").await, [small]);
    world.put("app", large, &[digest(2)], &[]).await.unwrap();
    world.store.put_image(index).await.unwrap();
    // The size of an index is that of its largest image.
    assert_eq!(world.get("app", "v1").await.unwrap().unwrap().image_bytes, size_of(&digest(2)));
    world.check().await;
}

async fn tags_move(world: World) {
    world.create("app").await;
    let (one, two) = (world.push("app", 1, &["v", "one"]).await, world.push("app", 2, &["v"]).await);
    assert_eq!(world.all_tags("app").await, [("one".into(), one), ("v".into(), two)]);
    // The same image again, with one tag more.
    world.clock.advance(SECOND);
    world.put("app", one, &[digest(1)], &["v", "x"]).await.unwrap();
    assert_eq!(world.all_tags("app").await, [("one".into(), one), ("v".into(), one), ("x".into(), one)]);
    assert_eq!(world.all_images("app").await.len(), 2);
    assert_ne!(world.get("app", one).await.unwrap().unwrap().pushed_at, world.now());
    world.check().await;
}

async fn immutable_tags_stay(world: World) {
    world.create("app").await;
    let one = world.push("app", 1, &["v"]).await;
    let immutable = Mutability::Immutable;
    world.store.set_mutability(&world.registry, &name("app"), immutable, world.audit()).await.unwrap();
    world.push_layer("app", digest(2)).await;
    let refusal = Refusal::TagImmutable(tag("v"));
    refused(world.put("app", digest(22), &[digest(2)], &["new", "v"]).await, refusal);
    assert_eq!(world.all_tags("app").await, [("v".into(), one)]);
    assert_eq!(world.all_images("app").await, [one]);
    // Another tag, and the same tag for the same image, are fine.
    world.put("app", one, &[digest(1)], &["v", "w"]).await.unwrap();
    // Once the tag is deleted it is free.
    world.delete("app", "v").await.unwrap();
    world.put("app", digest(22), &[digest(2)], &["v"]).await.unwrap();
    assert_eq!(world.all_tags("app").await, [("v".into(), digest(22)), ("w".into(), one)]);
    world.check().await;
}

async fn nothing_new_is_refused_when_asked(world: World) {
    world.create("app").await;
    let one = world.push("app", 1, &["v"]).await;
    let mut again = world.image("app", one, &[digest(1)], &["v"]);
    again.refuse_existing = true;
    refused(world.store.put_image(again.clone()).await, Refusal::NothingNew);
    again.tags.clear();
    refused(world.store.put_image(again.clone()).await, Refusal::NothingNew);
    again.tags = vec![tag("v"), tag("w")];
    world.store.put_image(again.clone()).await.unwrap();
    again.refuse_existing = false;
    world.store.put_image(again).await.unwrap();
    world.check().await;
}

async fn images_are_limited(world: World) {
    world.create("app").await;
    let one = world.push("app", 1, &["v"]).await;
    world.push_layer("app", digest(2)).await;
    let mut second = world.image("app", digest(22), &[digest(2)], &["w"]);
    second.images_max = 1;
    refused(world.store.put_image(second.clone()).await, Refusal::ImageQuota);
    // One that is there already needs no room; a deleted one does, but leaves some.
    let mut again = world.image("app", one, &[digest(1)], &["x"]);
    again.images_max = 1;
    world.store.put_image(again.clone()).await.unwrap();
    world.delete("app", one).await.unwrap();
    world.store.put_image(second).await.unwrap();
    refused(world.store.put_image(again).await, Refusal::ImageQuota);
    world.check().await;
}

async fn tags_are_limited(world: World) {
    world.create("app").await;
    let one = world.push("app", 1, &[]).await;
    let mut many = world.image("app", one, &[digest(1)], &[]);
    many.tags = (0..1000).map(|number| tag(&format!("t{number:04}"))).collect();
    world.store.put_image(many.clone()).await.unwrap();
    world.store.put_image(many).await.unwrap();
    refused(world.put("app", one, &[digest(1)], &["t1000"]).await, Refusal::TagQuota);
    let image = world.get("app", one).await.unwrap().unwrap();
    let tags = world.store.image_tags(&world.registry, &name("app"), image.row_id).await.unwrap();
    assert_eq!(tags.len(), 1000);
    // Another image takes one over; then there is room.
    world.push("app", 2, &["t0000"]).await;
    world.put("app", one, &[digest(1)], &["t1000"]).await.unwrap();
    world.check().await;
}

async fn a_deleted_image_comes_back(world: World) {
    world.create("app").await;
    let one = world.push("app", 1, &["v"]).await;
    let first = world.get("app", one).await.unwrap().unwrap();
    world.delete("app", one).await.unwrap();
    assert_eq!(world.get("app", one).await.unwrap(), None);
    world.clock.advance(SECOND);
    world.put("app", one, &[digest(1)], &["w"]).await.unwrap();
    let again = world.get("app", "w").await.unwrap().unwrap();
    assert_eq!((again.row_id, again.pushed_at), (first.row_id, world.now()));
    assert_eq!(world.all_tags("app").await, [("w".into(), one)]);
    world.check().await;
    // Its first tombstone is due; it stays.
    world.collect_all().await;
    assert_eq!(world.get("app", "w").await.unwrap(), Some(again));
    world.layer("app", digest(1)).await.unwrap().unwrap();
    // Deleted twice in its life, it goes for good.
    world.delete("app", one).await.unwrap();
    world.collect_all().await;
    assert_eq!(world.store.all_manifests((0, 0, 0), 10).await.unwrap().len(), 0);
    world.put("app", one, &[digest(1)], &["w"]).await.unwrap_err();
}

async fn a_deleted_image_comes_back_only_whole(world: World) {
    world.create("app").await;
    let child = world.push("app", 1, &[]).await;
    let mut index = world.image("app", digest(9), &[], &["v"]);
    index.children = vec![child];
    world.store.put_image(index.clone()).await.unwrap();
    world.delete("app", "v").await.unwrap();
    world.delete("app", child).await.unwrap();
    refused(world.store.put_image(index.clone()).await, Refusal::ChildrenMissing(vec![child]));
    world.check().await;
    world.put("app", child, &[digest(1)], &[]).await.unwrap();
    world.store.put_image(index).await.unwrap();
    assert_eq!(world.delete("app", child).await.unwrap(), DeleteOutcome::Referenced(digest(9)));
    world.check().await;
}

async fn a_child_waits_for_its_index(world: World) {
    world.create("app").await;
    let child = world.push("app", 1, &[]).await;
    let mut index = world.image("app", digest(9), &[], &["v"]);
    index.children = vec![child];
    world.store.put_image(index.clone()).await.unwrap();
    world.delete("app", "v").await.unwrap();
    // The child's time ends before its index's, as when the window was made shorter in between: it waits.
    let mut removal = world.removal("app", vec![crate::world::target(child)]);
    removal.purge_at = world.now();
    world.store.delete_images(removal).await.unwrap();
    world.clock.advance(SECOND);
    assert_eq!(world.collect().await.tombstones, 0);
    world.check().await;
    world.push("app", 1, &[]).await;
    world.store.put_image(index).await.unwrap();
    assert_eq!(world.delete("app", child).await.unwrap(), DeleteOutcome::Referenced(digest(9)));
    world.check().await;
}
