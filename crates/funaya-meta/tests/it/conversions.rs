//! Conversions of manifests live and go with their images (MAN-17).

use funaya_ports::{
    meta::{Conversion, ConversionKey, Effort, Refusal},
    undo::RestoreLimits,
};
use funaya_types::Digest;

use crate::world::{HOUR, World, digest, name, refused, tag};

contract!(conversions_go_with_their_image, conversions_of_what_is_gone_are_not_stored);

mod at_once {
    use super::stored_or_purged;

    races!(stored_or_purged);
}

const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
const SCHEMA_2: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn conversion(image: i64, to: &str, of: Option<&str>, number: u64) -> Conversion {
    let key = ConversionKey { image, media_type: to.parse().unwrap(), tag: of.map(tag) };
    Conversion { key, digest: digest(number), body: number.to_string().into_bytes() }
}

async fn row_id(world: &World, image: Digest) -> i64 {
    world.get("app", image).await.unwrap().unwrap().row_id
}

async fn by_digest(world: &World, number: u64) -> Option<Conversion> {
    let found = world.store.conversion_by_digest(&world.registry, &name("app"), &digest(number)).await.unwrap();
    found.map(|(image, conversion)| {
        assert_eq!(image.row_id, conversion.key.image);
        conversion
    })
}

async fn put(world: &World, all: &[Conversion]) -> bool {
    world.store.put_conversions(&world.registry, &name("app"), all.to_vec()).await.unwrap()
}

async fn conversions_go_with_their_image(world: World) {
    world.create("app").await;
    let image = world.push("app", 1, &["v1", "v2"]).await;
    let id = row_id(&world, image).await;
    let all = [
        conversion(id, SCHEMA_1, Some("v1"), 101),
        conversion(id, SCHEMA_1, Some("v2"), 102),
        conversion(id, SCHEMA_2, None, 103),
    ];
    assert!(put(&world, &all).await);
    for one in &all {
        let found = world.store.conversion(&world.registry, &name("app"), &one.key).await.unwrap();
        assert_eq!(found.as_ref(), Some(one));
    }
    assert_eq!(by_digest(&world, 102).await.as_ref(), Some(&all[1]));
    // Each once, page by page, though two differ in the tag alone.
    let (mut after, mut seen) = (((0, 0, 0), String::new(), String::new()), Vec::new());
    while let [(place, row)] = &world.store.all_conversions(after.clone(), 1).await.unwrap()[..] {
        after = place.clone();
        seen.push((row.digest, row.media_type.clone(), row.body.clone()));
    }
    assert_eq!(seen, all.each_ref().map(|one| (one.digest, one.key.media_type.to_string(), one.body.clone())));
    // Made again, it takes the place of the one that stands there.
    let again = conversion(id, SCHEMA_2, None, 104);
    assert!(put(&world, std::slice::from_ref(&again)).await);
    assert_eq!((by_digest(&world, 103).await, by_digest(&world, 104).await), (None, Some(again)));
    // Conversions are no images.
    assert_eq!(world.all_images("app").await, [image]);
    assert_eq!(world.get("app", digest(102)).await.unwrap(), None);
    world.check().await;

    world.delete("app", image).await.unwrap();
    assert_eq!(by_digest(&world, 101).await, None);
    let limits = RestoreLimits { now: world.now(), images_max: 100 };
    world.undo.restore_image(&world.registry, &name("app"), &image, limits, world.audit()).await.unwrap();
    assert!(by_digest(&world, 101).await.is_some());
    world.delete("app", image).await.unwrap();
    world.clock.advance(HOUR * 24 * 30);
    world.collect_all().await;
    // A conversion that stayed behind would be a broken row.
    world.check().await;
    assert_eq!(by_digest(&world, 101).await, None);
}

async fn conversions_of_what_is_gone_are_not_stored(world: World) {
    world.create("app").await;
    let image = world.push("app", 1, &["v1"]).await;
    let id = row_id(&world, image).await;
    world.delete("app", image).await.unwrap();
    assert!(!put(&world, &[conversion(id, SCHEMA_2, None, 101)]).await);
    assert!(!put(&world, &[conversion(77, SCHEMA_2, None, 101)]).await);
    let one = vec![conversion(id, SCHEMA_2, None, 101)];
    refused(world.store.put_conversions(&world.registry, &name("other"), one).await, Refusal::NoRepository);
    world.check().await;
}

/// Pulls that convert meet the deletion and the purge of the image: nothing is left behind.
async fn stored_or_purged(world: World) {
    world.create("app").await;
    for round in 0..20 {
        let image = world.push("app", 1_000 + round, &["v1"]).await;
        let id = row_id(&world, image).await;
        let pulls: Vec<_> = (0..3)
            .map(|number| {
                let (store, registry) = (world.store.clone(), world.registry.clone());
                let all = vec![conversion(id, SCHEMA_1, Some("v1"), 5), conversion(id, SCHEMA_2, None, 6 + number)];
                tokio::spawn(async move { store.put_conversions(&registry, &name("app"), all).await })
            })
            .collect();
        world.delete("app", image).await.unwrap();
        world.clock.advance(world.spans.undo + HOUR);
        world.store.collect(world.now(), world.spans, 100, Effort::Brisk).await.ok();
        for pull in pulls {
            pull.await.unwrap().unwrap();
        }
        assert_eq!(by_digest(&world, 5).await, None);
        world.check().await;
    }
}
