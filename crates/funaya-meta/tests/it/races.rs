//! Many at once, on both engines and at every isolation level.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use funaya_ports::{
    StoreError,
    meta::{AdvanceUpload, DeleteOutcome, Effort, Error, Refusal, Result},
};
use funaya_testkit::SeededRandom;
use funaya_types::{Digest, Mutability, StorageKey};
use tokio::sync::RwLock;

use crate::world::{HOUR, World, digest, name, size_of, tag, target};

races!(
    one_of_many_moves_an_upload_on,
    one_of_many_completes_an_upload,
    one_of_two_sets_an_immutable_tag,
    one_of_many_makes_a_repository,
    equal_layers_become_one,
    equal_images_become_one,
    a_deleted_image_comes_back_once,
    deleting_a_tag_spares_an_image_that_gets_another,
    a_layer_is_deleted_or_used,
    a_child_is_deleted_or_used,
    a_moving_tag_is_never_lost,
    the_image_quota_holds,
    many_do_everything,
);

/// Runs `count` of them at once, and gives what each returned.
async fn at_once<F, T>(count: usize, work: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|number| tokio::spawn(work(number))).collect();
    let mut out = Vec::with_capacity(count);
    for task in tasks {
        out.push(task.await.unwrap());
    }
    out
}

fn wins<T>(outcomes: &[Result<T>]) -> usize {
    outcomes.iter().filter(|outcome| outcome.is_ok()).count()
}

/// One won; the others were refused, and for this reason.
#[track_caller]
fn one_won<T: std::fmt::Debug>(outcomes: &[Result<T>], others: &Refusal) {
    assert_eq!(wins(outcomes), 1, "{outcomes:?}");
    for outcome in outcomes {
        assert!(outcome.is_ok() || matches!(outcome, Err(Error::Refused(why)) if why == others), "{outcome:?}");
    }
}

async fn one_of_many_moves_an_upload_on(world: World) {
    world.create("app").await;
    for racers in 2..=8 {
        let upload = world.open_upload("app").await;
        let step = AdvanceUpload {
            registry: world.registry.clone(),
            upload: upload.clone(),
            expires_at: world.now().plus(HOUR),
            audit: None,
        };
        let outcomes = at_once(racers, |number| {
            let (store, mut step) = (world.store.clone(), step.clone());
            step.upload.progress.received = number as u64 + 1;
            async move { store.advance_upload(step).await }
        })
        .await;
        one_won(&outcomes, &Refusal::UploadGone);
        let winner = outcomes.iter().position(Result::is_ok).unwrap() as u64;
        let now = world.store.upload(&world.registry, &name("app"), &upload.id).await.unwrap();
        assert_eq!((now.version, now.progress.received), (2, winner + 1));
    }
}

async fn one_of_many_completes_an_upload(world: World) {
    world.create("app").await;
    for racers in 2..=8 {
        let upload = world.open_upload("app").await;
        let outcomes = at_once(racers, |number| {
            let command = world.completion("app", &upload, digest(100 * racers as u64 + number as u64));
            let store = world.store.clone();
            async move { store.complete_upload(command).await }
        })
        .await;
        one_won(&outcomes, &Refusal::UploadGone);
        world.check().await;
    }
    assert_eq!(world.blobs().await, 7);
}

async fn one_of_two_sets_an_immutable_tag(world: World) {
    world.create("app").await;
    let immutable = Mutability::Immutable;
    world.store.set_mutability(&world.registry, &name("app"), immutable, world.audit()).await.unwrap();
    world.push_layer("app", digest(1)).await;
    for round in 0..8 {
        let text = format!("t{round}");
        let outcomes = at_once(2, |number| {
            let command = world.image("app", digest(1000 + 2 * round + number as u64), &[digest(1)], &[&text]);
            let store = world.store.clone();
            async move { store.put_image(command).await }
        })
        .await;
        one_won(&outcomes, &Refusal::TagImmutable(tag(&text)));
        let winner = outcomes.iter().position(Result::is_ok).unwrap() as u64;
        assert_eq!(world.get("app", text.as_str()).await.unwrap().unwrap().digest, digest(1000 + 2 * round + winner));
    }
    assert_eq!(world.all_images("app").await.len(), 8);
    world.check().await;
}

async fn one_of_many_makes_a_repository(world: World) {
    for round in 0..5 {
        let at = format!("app{round}");
        let outcomes = at_once(4, |_| {
            let (store, command) = (world.store.clone(), world.new_repository(&at));
            async move { store.create_repository(command).await }
        })
        .await;
        one_won(&outcomes, &Refusal::RepositoryExists);
        let outcomes = at_once(4, |_| {
            let (store, command) = (world.store.clone(), world.deletion(&at, false));
            async move { store.delete_repository(command).await }
        })
        .await;
        one_won(&outcomes, &Refusal::NoRepository);
    }
    world.check().await;
}

async fn equal_layers_become_one(world: World) {
    world.create("app").await;
    world.create("other").await;
    let mut uploads = Vec::new();
    for number in 0..6 {
        uploads.push(world.open_upload(["app", "other"][number % 2]).await);
    }
    let outcomes = at_once(6, |number| {
        let command = world.completion(["app", "other"][number % 2], &uploads[number], digest(1));
        let store = world.store.clone();
        async move { store.complete_upload(command).await }
    })
    .await;
    assert_eq!(wins(&outcomes), 6, "{outcomes:?}");
    assert_eq!(world.blobs().await, 1);
    let (one, two) = (world.layer("app", digest(1)).await.unwrap(), world.layer("other", digest(1)).await.unwrap());
    assert_eq!(one.unwrap().blob.key, two.unwrap().blob.key);
    world.clock.advance(world.spans.trash + Duration::from_millis(1));
    assert_eq!(world.due_trash().await.len(), 5);
    world.check().await;
}

async fn equal_images_become_one(world: World) {
    world.create("app").await;
    for round in 1..=5 {
        world.push_layer("app", digest(round)).await;
        let outcomes = at_once(4, |number| {
            let tags = [format!("t{round}"), format!("t{round}-{number}")];
            let tags = tags.each_ref().map(String::as_str);
            let command = world.image("app", digest(1000 + round), &[digest(round)], &tags);
            let store = world.store.clone();
            async move { store.put_image(command).await }
        })
        .await;
        assert_eq!(wins(&outcomes), 4, "{outcomes:?}");
        assert_eq!(world.all_tags("app").await.len() as u64, 5 * round);
        assert_eq!(world.all_images("app").await.len() as u64, round);
        world.check().await;
    }
}

/// Two pushes bring a deleted image back: it counts once.
async fn a_deleted_image_comes_back_once(world: World) {
    world.create("app").await;
    let image = world.push("app", 1, &["v"]).await;
    for _ in 0..8 {
        world.delete("app", image).await.unwrap();
        let outcomes = at_once(3, |_| {
            let (store, command) = (world.store.clone(), world.image("app", image, &[digest(1)], &["v"]));
            async move { store.put_image(command).await }
        })
        .await;
        assert_eq!(wins(&outcomes), 3, "{outcomes:?}");
        world.check().await;
    }
}

/// `delete a` and `push b` of one image: whatever comes first, b is there afterwards.
async fn deleting_a_tag_spares_an_image_that_gets_another(world: World) {
    world.create("app").await;
    world.push_layer("app", digest(1)).await;
    for round in 0..10 {
        let image = digest(1000 + round);
        world.put("app", image, &[digest(1)], &["a"]).await.unwrap();
        let (store, removal) = (world.store.clone(), world.removal("app", vec![target("a")]));
        let delete = tokio::spawn(async move { store.delete_images(removal).await });
        let (store, command) = (world.store.clone(), world.image("app", image, &[digest(1)], &["b"]));
        let put = tokio::spawn(async move { store.put_image(command).await });
        let outcome = delete.await.unwrap().unwrap().pop().unwrap();
        put.await.unwrap().unwrap();
        assert!(matches!(outcome, DeleteOutcome::Deleted { .. }), "{outcome:?}");
        assert_eq!(world.get("app", "b").await.unwrap().unwrap().digest, image);
        assert_eq!(world.get("app", "a").await.unwrap(), None);
        world.check().await;
        world.delete("app", image).await.unwrap();
    }
}

async fn a_layer_is_deleted_or_used(world: World) {
    world.create("app").await;
    for round in 1..=10 {
        let layer = digest(round);
        world.push_layer("app", layer).await;
        let (store, registry) = (world.store.clone(), world.registry.clone());
        let (now, audit) = (world.now(), world.audit());
        let delete = tokio::spawn(async move { store.delete_layer(&registry, &name("app"), &layer, now, audit).await });
        let (store, command) = (world.store.clone(), world.image("app", digest(1000 + round), &[layer], &[]));
        let put = tokio::spawn(async move { store.put_image(command).await });
        let (deleted, stored) = (delete.await.unwrap(), put.await.unwrap());
        assert_ne!(deleted.is_ok(), stored.is_ok(), "{deleted:?} {stored:?}");
        assert_eq!(world.layer("app", layer).await.unwrap().is_some(), stored.is_ok());
        world.check().await;
    }
}

async fn a_child_is_deleted_or_used(world: World) {
    world.create("app").await;
    for round in 1..=10 {
        let child = world.push("app", round, &[]).await;
        let (store, removal) = (world.store.clone(), world.removal("app", vec![target(child)]));
        let delete = tokio::spawn(async move { store.delete_images(removal).await });
        let mut index = world.image("app", digest(2000 + round), &[], &[]);
        index.children = vec![child];
        let store = world.store.clone();
        let put = tokio::spawn(async move { store.put_image(index).await });
        let outcome = delete.await.unwrap().unwrap().pop().unwrap();
        let stored = put.await.unwrap();
        assert_eq!(matches!(outcome, DeleteOutcome::Referenced(_)), stored.is_ok(), "{outcome:?} {stored:?}");
        world.check().await;
    }
}

/// A tag is pushed while it is deleted: an acknowledged push is there unless the deletion came later.
async fn a_moving_tag_is_never_lost(world: World) {
    world.create("app").await;
    let (one, two) = (world.push("app", 1, &[]).await, world.push("app", 2, &[]).await);
    for _ in 0..10 {
        world.put("app", one, &[digest(1)], &["v", "keep1"]).await.unwrap();
        world.put("app", two, &[digest(2)], &["keep2"]).await.unwrap();
        let (store, removal) = (world.store.clone(), world.removal("app", vec![target("v")]));
        let delete = tokio::spawn(async move { store.delete_images(removal).await });
        let (store, command) = (world.store.clone(), world.image("app", two, &[digest(2)], &["v"]));
        let put = tokio::spawn(async move { store.put_image(command).await });
        let outcome = delete.await.unwrap().unwrap().pop().unwrap();
        put.await.unwrap().unwrap();
        let DeleteOutcome::Deleted { digest, .. } = outcome else { panic!("{outcome:?}") };
        let tag = world.get("app", "v").await.unwrap();
        // Deleted from the first: the push came later. Deleted from the second: the push came before.
        assert_eq!(tag.map(|image| image.digest), (digest == one).then_some(two));
        world.check().await;
    }
}

async fn the_image_quota_holds(world: World) {
    world.create("app").await;
    world.push_layer("app", digest(1)).await;
    let outcomes = at_once(8, |number| {
        let mut command = world.image("app", digest(1000 + number as u64), &[digest(1)], &[]);
        command.images_max = 3;
        let store = world.store.clone();
        async move { store.put_image(command).await }
    })
    .await;
    assert_eq!(wins(&outcomes), 3, "{outcomes:?}");
    assert_eq!(world.all_images("app").await.len(), 3);
    world.check().await;
}

const TASKS: usize = 8;
const STEPS: usize = 60;
const REPOSITORIES: [&str; 2] = ["app", "other"];
const LAYERS: u64 = 4;

/// Pushes, deletions, mounts and collections in random order, with short
/// graces. Time moves only between operations: a transaction that outlives the
/// grace (a day in production) is not what this is about.
async fn many_do_everything(mut world: World) {
    let tick = Duration::from_millis(1);
    (world.spans.grace, world.spans.trash, world.spans.undo) = (20 * tick, 30 * tick, 10 * tick);
    for at in REPOSITORIES {
        world.create(at).await;
    }
    let world = Arc::new(world);
    let (time, busy) = (Arc::new(RwLock::new(())), Arc::new(AtomicU32::new(0)));
    let swept: Vec<BTreeSet<StorageKey>> = at_once(TASKS, |number| {
        let (world, time, busy) = (world.clone(), time.clone(), busy.clone());
        async move {
            let random = SeededRandom::new(number as u64);
            let mut swept = BTreeSet::new();
            for _ in 0..STEPS {
                if random.below(4) == 0 {
                    let _alone = time.write().await;
                    world.clock.advance(tick * random.below(8) as u32 + Duration::from_micros(1));
                }
                let _moment = time.read().await;
                match step(&world, &random, &mut swept).await {
                    Ok(()) | Err(Error::Refused(_)) => {}
                    Err(Error::Store(StoreError::Busy(_))) => {
                        busy.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
            swept
        }
    })
    .await;
    let busy = busy.load(Ordering::Relaxed);
    assert!(busy < (TASKS * STEPS / 20) as u32, "{busy} operations gave up");
    world.check().await;
    // No row lives on bytes that were swept, and every image is whole.
    let swept: BTreeSet<StorageKey> = swept.into_iter().flatten().collect();
    for (_, blob) in world.store.all_blobs((0, 0), 1000).await.unwrap() {
        assert!(!swept.contains(&blob.key), "{blob:?}");
    }
    for at in REPOSITORIES {
        for image in world.all_images(at).await {
            for layer in layers_of(image) {
                let layer = world.layer(at, layer).await.unwrap().unwrap();
                assert_eq!(layer.blob.size, size_of(&layer.blob.digest));
            }
        }
        let ids: Vec<_> = world.all_images(at).await.into_iter().map(target).collect();
        for target in ids {
            world.store.delete_images(world.removal(at, vec![target])).await.unwrap();
        }
    }
    // Nothing leaks: with all images gone, every row and every byte goes.
    world.collect_all().await;
    assert_eq!(world.blobs().await, 0);
    assert_eq!(world.store.all_manifests((0, 0, 0), 10).await.unwrap().len(), 0);
}

/// Image `1000 + bits` has the layers whose bits are set.
fn layers_of(image: Digest) -> Vec<Digest> {
    let bits = u64::from_be_bytes(image.hash()[..8].try_into().unwrap()) - 1000;
    (0..LAYERS).filter(|bit| bits >> bit & 1 == 1).map(digest).collect()
}

async fn step(world: &World, random: &SeededRandom, swept: &mut BTreeSet<StorageKey>) -> Result<()> {
    let pick = random.below(REPOSITORIES.len());
    let (at, from) = (REPOSITORIES[pick], REPOSITORIES[1 - pick]);
    let layer = digest(random.next() % LAYERS);
    let image = digest(1000 + 1 + random.next() % ((1 << LAYERS) - 1));
    let text = format!("t{}", random.below(3));
    match random.below(12) {
        0..=2 => world.try_push_layer(at, layer).await.map(drop),
        3 => world.mount(from, at, layer).await,
        4 | 5 => {
            // As a client does it: what is missing is uploaded, then the image is pushed.
            for layer in layers_of(image) {
                if world.promise(at, layer).await?.is_none() {
                    world.try_push_layer(at, layer).await?;
                }
            }
            world.put(at, image, &layers_of(image), &[&text]).await
        }
        6 => world.put(at, image, &layers_of(image), &[&text]).await,
        7 => world.delete(at, image).await.map(drop),
        8 => world.delete(at, text.as_str()).await.map(drop),
        9 => world.delete_layer(at, layer).await,
        10 => {
            world.store.collect(world.now(), world.spans, 1 + random.below(5) as u32, Effort::Brisk).await?;
            let due = world.due_trash().await;
            swept.extend(due.iter().cloned());
            world.store.forget_trash(due).await
        }
        _ => {
            let upload = world.try_open_upload(at).await?;
            let after = world.now().plus(world.spans.trash);
            world.store.cancel_upload(&world.registry, &upload, after, world.audit()).await
        }
    }
}
