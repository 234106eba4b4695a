//! Layers: who holds them, and how long they are promised.

use std::time::Duration;

use funaya_ports::meta::Refusal;

use crate::world::{HOUR, LAYER, SECOND, World, digest, name, refused};

contract!(
    mounted,
    found_by_holders,
    deleted_unless_in_use,
    promised_for_half_the_grace,
    a_promise_is_written_only_when_needed,
    not_promised_when_gone,
);

async fn mounted(world: World) {
    world.create("from").await;
    world.create("to").await;
    refused(world.mount("from", "to", digest(1)).await, Refusal::NoLayer);
    let key = world.push_layer("from", digest(1)).await;
    refused(world.mount("from", "nope", digest(1)).await, Refusal::NoRepository);
    refused(world.mount("nope", "to", digest(1)).await, Refusal::NoLayer);
    assert_eq!(world.layer("to", digest(1)).await.unwrap(), None);
    world.mount("from", "to", digest(1)).await.unwrap();
    world.mount("from", "to", digest(1)).await.unwrap();
    world.mount("to", "to", digest(1)).await.unwrap();
    assert_eq!(world.layer("to", digest(1)).await.unwrap().unwrap().blob.key, key);
    world.delete_layer("from", digest(1)).await.unwrap();
    refused(world.mount("from", "to", digest(1)).await, Refusal::NoLayer);
    world.check().await;
}

async fn found_by_holders(world: World) {
    for at in ["zz", "aa", "mm"] {
        world.create(at).await;
        world.push_layer(at, digest(1)).await;
    }
    let holders = |limit| world.store.layer_holders(&world.registry, &DIGEST, limit);
    static DIGEST: std::sync::LazyLock<funaya_types::Digest> = std::sync::LazyLock::new(|| digest(1));
    assert_eq!(holders(10).await.unwrap(), [name("aa"), name("mm"), name("zz")]);
    assert_eq!(holders(2).await.unwrap(), [name("aa"), name("mm")]);
    world.delete_layer("aa", digest(1)).await.unwrap();
    world.delete_repository("mm", true).await.unwrap();
    assert_eq!(holders(10).await.unwrap(), [name("zz")]);
}

async fn deleted_unless_in_use(world: World) {
    world.create("app").await;
    refused(world.delete_layer("app", digest(1)).await, Refusal::NoLayer);
    refused(world.delete_layer("nope", digest(1)).await, Refusal::NoRepository);
    world.push("app", 1, &["latest"]).await;
    let in_use = || async { world.store.layer_in_use(&world.registry, &name("app"), &digest(1)).await.unwrap() };
    assert!(in_use().await);
    refused(world.delete_layer("app", digest(1)).await, Refusal::LayerInUse);
    assert_eq!(world.layer("app", digest(1)).await.unwrap().unwrap().media_type.as_deref(), Some(LAYER));
    world.delete("app", "latest").await.unwrap();
    assert!(!in_use().await);
    world.delete_layer("app", digest(1)).await.unwrap();
    assert_eq!(world.layer("app", digest(1)).await.unwrap(), None);
    assert_eq!(world.promise("app", digest(1)).await.unwrap(), None);
    refused(world.delete_layer("app", digest(1)).await, Refusal::NoLayer);
    // The image can't come back without its layer, and can with it.
    let image = world.image("app", digest(1_000_001), &[digest(1)], &["latest"]);
    refused(world.store.put_image(image.clone()).await, Refusal::LayersMissing(vec![digest(1)]));
    world.push_layer("app", digest(1)).await;
    world.store.put_image(image).await.unwrap();
    world.check().await;
    world.collect_all().await;
    world.layer("app", digest(1)).await.unwrap().unwrap();
}

/// I4: after HEAD said yes, a push may rely on the layer for half the grace.
async fn promised_for_half_the_grace(world: World) {
    world.create("app").await;
    let (layer, half) = (digest(1), world.spans.grace / 2);
    world.push_layer("app", layer).await;
    for minutes in [0, 1, 11 * 60, 12 * 60 - 1, 12 * 60] {
        world.clock.advance(Duration::from_secs(minutes * 60));
        world.promise("app", layer).await.unwrap().unwrap();
        for _ in 0..4 {
            world.clock.advance(half / 4);
            for _ in 0..3 {
                world.collect().await;
            }
            world.check().await;
        }
        // The last moment: the push finds it.
        world.layer("app", layer).await.unwrap().unwrap();
    }
    world.put("app", digest(2), &[layer], &["latest"]).await.unwrap();
    world.collect_all().await;
    world.promise("app", layer).await.unwrap().unwrap();

    // The image goes: the promise holds from its purge on.
    world.delete("app", "latest").await.unwrap();
    world.clock.advance(world.spans.undo);
    assert_eq!(world.collect().await.tombstones, 1);
    world.promise("app", layer).await.unwrap().unwrap();
    world.clock.advance(half);
    world.collect().await;
    world.put("app", digest(2), &[layer], &["latest"]).await.unwrap();
    world.check().await;
}

async fn a_promise_is_written_only_when_needed(world: World) {
    world.create("app").await;
    world.push_layer("app", digest(1)).await;
    // Fresh: HEAD does not prolong it.
    world.clock.advance(world.spans.grace / 2);
    world.promise("app", digest(1)).await.unwrap().unwrap();
    world.clock.advance(world.spans.grace / 2 + SECOND);
    assert_eq!(world.collect().await.links, 1);
    // Past the half: HEAD prolongs it by a whole grace.
    world.push_layer("app", digest(1)).await;
    world.clock.advance(world.spans.grace / 2 + SECOND);
    world.promise("app", digest(1)).await.unwrap().unwrap();
    world.clock.advance(world.spans.grace);
    assert_eq!(world.collect().await.links, 0);
    world.clock.advance(SECOND);
    assert_eq!(world.collect().await.links, 1);
    world.check().await;
}

async fn not_promised_when_gone(world: World) {
    world.create("app").await;
    assert_eq!(world.promise("app", digest(1)).await.unwrap(), None);
    refused(world.promise("nope", digest(1)).await, Refusal::NoRepository);
    world.push_layer("app", digest(1)).await;
    world.clock.advance(world.spans.grace + HOUR);
    world.collect().await;
    assert_eq!(world.promise("app", digest(1)).await.unwrap(), None);
}
