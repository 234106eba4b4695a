//! Uploads, from the first byte to the layer (D4).

use std::time::Duration;

use funaya_ports::meta::{AdvanceUpload, Refusal, Upload};
use funaya_types::Algorithm;

use crate::world::{HOUR, SECOND, World, digest, name, refused, size_of};

contract!(
    opened_and_found,
    moved_on_by_one,
    completed_once,
    refused_if_the_layer_exists,
    canceled,
    expired_only_when_due,
    an_equal_blob_is_stored_once,
);

fn step(world: &World, upload: &Upload) -> AdvanceUpload {
    AdvanceUpload {
        registry: world.registry.clone(),
        upload: upload.clone(),
        expires_at: world.now().plus(24 * HOUR),
        audit: None,
    }
}

async fn opened_and_found(world: World) {
    refused(world.try_open_upload("app").await, Refusal::NoRepository);
    world.create("app").await;
    world.create("other").await;
    let upload = world.open_upload("app").await;
    assert_eq!(world.store.upload(&world.registry, &name("app"), &upload.id).await.unwrap(), upload);
    assert!(world.owned(&upload.key).await);
    refused(world.store.upload(&world.registry, &name("other"), &upload.id).await, Refusal::UploadGone);
    refused(world.store.upload(&world.registry, &name("nope"), &upload.id).await, Refusal::NoRepository);
    refused(world.store.upload(&world.registry, &name("app"), &world.new_upload().id).await, Refusal::UploadGone);
    assert!(!world.owned(&world.new_upload().key).await);
}

async fn moved_on_by_one(world: World) {
    world.create("app").await;
    let mut upload = world.open_upload("app").await;
    let stale = upload.clone();
    upload.progress.received = 70_000;
    upload.progress.algorithm = Algorithm::Sha512;
    upload.progress.hash_state = vec![1; 200];
    upload.progress.tail = vec![2; 65_000];
    upload.progress.wrapped_key = vec![3; 60];
    upload.parts = 3;
    upload.last_part_short = true;
    upload.part_too_short = true;
    world.store.advance_upload(step(&world, &upload)).await.unwrap();
    upload.version = 2;
    assert_eq!(world.store.upload(&world.registry, &name("app"), &upload.id).await.unwrap(), upload);
    refused(world.store.advance_upload(step(&world, &stale)).await, Refusal::UploadGone);
    assert_eq!(world.store.upload(&world.registry, &name("app"), &upload.id).await.unwrap(), upload);
}

async fn completed_once(world: World) {
    world.create("app").await;
    world.create("other").await;
    let mut upload = world.open_upload("app").await;
    world.store.advance_upload(step(&world, &upload)).await.unwrap();
    refused(world.store.complete_upload(world.completion("app", &upload, digest(1))).await, Refusal::UploadGone);
    upload.version = 2;
    refused(world.store.complete_upload(world.completion("other", &upload, digest(1))).await, Refusal::UploadGone);
    refused(world.store.complete_upload(world.completion("nope", &upload, digest(1))).await, Refusal::NoRepository);
    assert_eq!(world.layer("app", digest(1)).await.unwrap(), None);

    let command = world.completion("app", &upload, digest(1));
    world.store.complete_upload(command.clone()).await.unwrap();
    let layer = world.layer("app", digest(1)).await.unwrap().unwrap();
    assert_eq!((layer.blob, layer.media_type), (command.blob.clone(), None));
    assert_eq!(world.store.blob(&world.registry, &digest(1)).await.unwrap(), Some(command.blob.clone()));
    assert_eq!(world.layer("other", digest(1)).await.unwrap(), None);

    refused(world.store.complete_upload(command).await, Refusal::UploadGone);
    refused(world.store.advance_upload(step(&world, &upload)).await, Refusal::UploadGone);
    refused(world.store.upload(&world.registry, &name("app"), &upload.id).await, Refusal::UploadGone);
    world.check().await;
}

async fn refused_if_the_layer_exists(world: World) {
    world.create("app").await;
    world.push_layer("app", digest(1)).await;
    let upload = world.open_upload("app").await;
    let mut command = world.completion("app", &upload, digest(1));
    command.refuse_existing = true;
    refused(world.store.complete_upload(command.clone()).await, Refusal::LayerExists);
    world.store.upload(&world.registry, &name("app"), &upload.id).await.unwrap();
    world.delete_layer("app", digest(1)).await.unwrap();
    world.store.complete_upload(command).await.unwrap();
    world.check().await;
}

async fn canceled(world: World) {
    world.create("app").await;
    let upload = world.open_upload("app").await;
    let after = world.now().plus(HOUR);
    let mut stale = upload.clone();
    stale.version = 7;
    refused(world.store.cancel_upload(&world.registry, &stale, after, world.audit()).await, Refusal::UploadGone);
    world.store.cancel_upload(&world.registry, &upload, after, world.audit()).await.unwrap();
    refused(world.store.cancel_upload(&world.registry, &upload, after, world.audit()).await, Refusal::UploadGone);
    refused(world.store.upload(&world.registry, &name("app"), &upload.id).await, Refusal::UploadGone);
    world.check().await;
    world.clock.advance(HOUR);
    assert_eq!(world.due_trash().await, []);
    world.clock.advance(SECOND);
    assert_eq!(world.due_trash().await, std::slice::from_ref(&upload.key));
    assert!(world.owned(&upload.key).await);
    world.store.forget_trash(vec![upload.key.clone()]).await.unwrap();
    assert!(!world.owned(&upload.key).await);
}

async fn expired_only_when_due(world: World) {
    world.create("app").await;
    let idle = world.open_upload("app").await;
    let alive = world.open_upload("app").await;
    world.clock.advance(12 * HOUR);
    world.store.advance_upload(step(&world, &alive)).await.unwrap();
    world.clock.advance(12 * HOUR);
    assert_eq!(world.collect().await.uploads, 0);
    world.clock.advance(SECOND);
    assert_eq!(world.collect().await.uploads, 1);
    world.check().await;
    refused(world.store.upload(&world.registry, &name("app"), &idle.id).await, Refusal::UploadGone);
    refused(world.store.complete_upload(world.completion("app", &idle, digest(1))).await, Refusal::UploadGone);
    world.store.upload(&world.registry, &name("app"), &alive.id).await.unwrap();
    world.clock.advance(world.spans.trash - SECOND);
    assert_eq!(world.due_trash().await, []);
    world.clock.advance(2 * SECOND);
    assert_eq!(world.due_trash().await, [idle.key]);
}

async fn an_equal_blob_is_stored_once(world: World) {
    world.create("app").await;
    world.create("other").await;
    let first = world.push_layer("app", digest(1)).await;
    let second = world.push_layer("other", digest(1)).await;
    let third = world.push_layer("app", digest(1)).await;
    for at in ["app", "other"] {
        let layer = world.layer(at, digest(1)).await.unwrap().unwrap();
        assert_eq!((layer.blob.key, layer.blob.size), (first.clone(), size_of(&digest(1))));
    }
    assert_eq!(world.blobs().await, 1);
    world.check().await;
    assert_eq!(world.due_trash().await, []);
    world.clock.advance(world.spans.trash + Duration::from_millis(1));
    let mut want = vec![second, third];
    let mut due = world.due_trash().await;
    want.sort();
    due.sort();
    assert_eq!(due, want);
}
