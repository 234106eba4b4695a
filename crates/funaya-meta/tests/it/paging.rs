//! Lists by pages, while items come and go.

use funaya_ports::meta::ImagePlace;
use funaya_types::Digest;

use crate::world::{MANIFEST, SECOND, World, digest, name, tag};

contract!(images_by_push_time, images_filtered, tags_in_byte_order, referrers_by_row, whole_store);

/// All pages of the image list; `between` runs after the first.
async fn walk(world: &World, tagged: Option<bool>, limit: u32, between: impl AsyncFnOnce()) -> Vec<Digest> {
    let (mut seen, mut after, mut between) = (Vec::new(), None, Some(between));
    loop {
        let page = world.store.images(&world.registry, &name("app"), tagged, after, limit).await.unwrap();
        assert!(page.len() <= limit as usize);
        let Some(last) = page.last() else { return seen };
        after = Some(ImagePlace { pushed_at: last.pushed_at.micros(), row_id: last.row_id });
        seen.extend(page.iter().map(|image| image.digest));
        if let Some(between) = between.take() {
            between().await;
        }
    }
}

async fn images_by_push_time(world: World) {
    world.create("app").await;
    assert_eq!(walk(&world, None, 3, async || {}).await, []);
    let mut images = Vec::new();
    for number in 1..=8 {
        images.push(world.push("app", number, &[]).await);
        if number % 3 == 0 {
            world.clock.advance(SECOND);
        }
    }
    // Of one moment, by row id; of several, by time.
    let listed = walk(&world, None, 100, async || {}).await;
    assert_eq!(listed[..3].iter().max(), images[..3].iter().max());
    for limit in [1, 2, 3, 7, 8, 9] {
        assert_eq!(walk(&world, None, limit, async || {}).await, listed, "by {limit}");
    }
    // Deleted ones go, pushed ones come at the end, the rest is seen once.
    let (first, later) = (listed[0], listed[5]);
    let mut seen = walk(&world, None, 2, async || {
        world.delete("app", first).await.unwrap();
        world.delete("app", later).await.unwrap();
        world.clock.advance(SECOND);
        world.push("app", 9, &[]).await;
    })
    .await;
    let mut want: Vec<Digest> = listed.iter().copied().filter(|image| *image != later).collect();
    want.push(digest(1_000_009));
    assert_eq!(seen, want);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), want.len());
}

async fn images_filtered(world: World) {
    world.create("app").await;
    let (mut tagged, mut untagged) = (Vec::new(), Vec::new());
    for number in 1..=9 {
        world.clock.advance(SECOND);
        if number % 3 == 0 {
            tagged.push(world.push("app", number, &[&format!("t{number}"), &format!("u{number}")]).await);
        } else {
            untagged.push(world.push("app", number, &[]).await);
        }
    }
    for limit in [1, 2, 100] {
        assert_eq!(walk(&world, Some(true), limit, async || {}).await, tagged);
        assert_eq!(walk(&world, Some(false), limit, async || {}).await, untagged);
    }
    world.put("app", tagged[0], &[digest(3)], &["t9", "u9"]).await.unwrap();
    assert_eq!(walk(&world, Some(true), 1, async || {}).await, tagged[..2]);
}

async fn tags_in_byte_order(world: World) {
    world.create("app").await;
    let names = ["10", "9", "A", "B.1", "B_1", "_x", "a", "aa", "b"];
    world.push("app", 1, &["b", "a", "B_1", "_x", "9"]).await;
    world.push("app", 2, &["aa", "10", "A", "B.1"]).await;
    let (registry, app) = (&world.registry, name("app"));
    for limit in [1, 2, 4, 9, 10] {
        let (mut seen, mut plain, mut after) = (Vec::new(), Vec::new(), None::<String>);
        loop {
            let page = world.store.tags(registry, &app, after.as_deref(), limit).await.unwrap();
            plain.extend(world.store.tag_names(registry, &app, after.as_deref(), limit).await.unwrap());
            let Some((last, _)) = page.last() else { break };
            after = Some(last.to_string());
            seen.extend(page.into_iter().map(|(tag, digest)| (tag.to_string(), digest)));
        }
        assert_eq!(plain, names, "by {limit}");
        assert_eq!(seen, world.all_tags("app").await, "by {limit}");
    }
    // Goes on behind a name that has gone.
    world.delete("app", "B.1").await.unwrap();
    world.put("app", digest(1_000_001), &[digest(1)], &["B.2"]).await.unwrap();
    let page = world.store.tag_names(registry, &app, Some("B.1"), 2).await.unwrap();
    assert_eq!(page, ["B.2", "B_1"]);
}

async fn referrers_by_row(world: World) {
    world.create("app").await;
    world.create("other").await;
    let subject = world.push("app", 1, &["v"]).await;
    for (at, number) in [("app", 11), ("app", 12), ("app", 13), ("other", 14)] {
        let mut referrer = world.image(at, digest(number), &[], &[]);
        referrer.subject = Some(subject);
        referrer.artifact_type = Some(format!("application/{number}"));
        world.store.put_image(referrer).await.unwrap();
        world.clock.advance(SECOND);
    }
    world.delete("app", digest(12)).await.unwrap();
    let (registry, app) = (&world.registry, name("app"));
    let first = world.store.referrers(registry, &app, &subject, 0, 1).await.unwrap();
    let second = world.store.referrers(registry, &app, &subject, first[0].0.row_id, 1).await.unwrap();
    assert_eq!(world.store.referrers(registry, &app, &subject, second[0].0.row_id, 1).await.unwrap(), []);
    for (page, number) in [(first, 11), (second, 13)] {
        let (image, body) = &page[0];
        assert_eq!((image.digest, image.subject, image.media_type.as_str()), (digest(number), Some(subject), MANIFEST));
        assert_eq!(image.artifact_type, Some(format!("application/{number}")));
        assert_eq!(*body, digest(number).to_string().into_bytes());
    }
    // The subject may be missing.
    world.delete("app", subject).await.unwrap();
    assert_eq!(world.store.referrers(registry, &app, &subject, 0, 10).await.unwrap().len(), 2);
    assert_eq!(world.store.referrers(registry, &app, &digest(99), 0, 10).await.unwrap(), []);
}

async fn whole_store(world: World) {
    for at in ["app", "other"] {
        world.create(at).await;
        for number in 1..=5 {
            world.push(at, number, &[tag("t").as_str()]).await;
        }
    }
    let (mut blobs, mut after) = (Vec::new(), (0, 0));
    while let Some((place, _)) = world.store.all_blobs(after, 2).await.unwrap().last() {
        blobs.extend(world.store.all_blobs(after, 2).await.unwrap().into_iter().map(|(_, blob)| blob.digest));
        after = *place;
    }
    blobs.sort();
    assert_eq!(blobs, (1..=5).map(digest).collect::<Vec<_>>());
    let (mut manifests, mut after) = (0, (0, 0, 0));
    while let Some(last) = world.store.all_manifests(after, 3).await.unwrap().last() {
        manifests += world.store.all_manifests(after, 3).await.unwrap().len();
        after = last.place;
    }
    assert_eq!(manifests, 10);
}
