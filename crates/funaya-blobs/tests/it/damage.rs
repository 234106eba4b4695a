//! Damaged bytes and rows: an error, never other bytes (D7).

use std::{fs::OpenOptions, os::unix::fs::FileExt as _, sync::LazyLock};

use funaya_ports::blobs::StoredBlob;
use funaya_types::{Algorithm, Digest};
use futures_util::StreamExt as _;
use proptest::prelude::*;

use crate::shelf::{Outcome, PLAIN, SEALED, Shelf, bytes, damaged, key, registry, sha256};

const SIZE: usize = 9 * PLAIN + 100;

/// A stream may end with an error; what came before must be right.
async fn right_or_error(shelf: &Shelf, blob: &StoredBlob, all: &[u8], offset: usize) -> Outcome<()> {
    let funaya_store = &shelf.store;
    let mut stream = funaya_ports::blobs::BlobStore::read(funaya_store, blob, offset as u64, u64::MAX).await?;
    let mut at = offset;
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        assert!(all[at..].starts_with(&piece), "wrong bytes at {at}");
        at += piece.len();
    }
    assert_eq!(at, all.len(), "the end came early, without an error");
    Ok(())
}

struct Stored {
    runtime: tokio::runtime::Runtime,
    shelf: Shelf,
    blob: StoredBlob,
    all: Vec<u8>,
}

static STORED: LazyLock<std::sync::Mutex<Stored>> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let (shelf, all) = (Shelf::new(), bytes(SIZE));
    let blob = runtime.block_on(shelf.put(&key(1), &all, 50_000));
    std::sync::Mutex::new(Stored { runtime, shelf, blob, all })
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any byte of the file, changed in any way, read from any offset before it.
    #[test]
    fn a_flipped_byte_of_the_file(at in 0..SIZE + 10 * 28, flip in 1_u8.., offset in 0..SIZE) {
        let stored = STORED.lock().unwrap();
        let Stored { runtime, shelf, blob, all } = &*stored;
        let file = OpenOptions::new().read(true).write(true).open(shelf.path(&blob.key)).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at as u64).unwrap();
        file.write_all_at(&[byte[0] ^ flip], at as u64).unwrap();
        let outcome = runtime.block_on(right_or_error(shelf, blob, all, offset));
        file.write_all_at(&byte, at as u64).unwrap();
        // Segments before the offset are not read; all others are.
        if at / SEALED >= offset / PLAIN {
            damaged(outcome);
        } else {
            outcome.unwrap();
        }
    }

    /// Any byte of what the row says.
    #[test]
    fn a_flipped_byte_of_the_row(field in 0..3, at in 0..60_usize, flip in 1_u8..) {
        let stored = STORED.lock().unwrap();
        let Stored { runtime, shelf, blob, all } = &*stored;
        let mut wrong = blob.clone();
        match field {
            0 => {
                let at = at % wrong.wrapped_key.len();
                wrong.wrapped_key[at] ^= flip;
            }
            1 => {
                let mut hash = wrong.digest.hash().to_vec();
                hash[at % 32] ^= flip;
                wrong.digest = Digest::from_hash(Algorithm::Sha256, &hash).unwrap();
            }
            _ => wrong.size ^= u64::from(flip) << (8 * (at % 8)),
        }
        damaged(runtime.block_on(right_or_error(shelf, &wrong, all, 0)));
    }
}

#[tokio::test]
async fn another_row() {
    let shelf = Shelf::new();
    let all = bytes(3 * PLAIN);
    let (one, two) = (shelf.put(&key(1), &all, 50_000).await, shelf.put(&key(2), &all, 50_000).await);
    let empty = shelf.put(&key(3), b"", 1).await;
    let changed = |change: &dyn Fn(&mut StoredBlob)| {
        let mut blob = one.clone();
        change(&mut blob);
        blob
    };
    let wrong = [
        changed(&|blob| blob.key = two.key.clone()),
        changed(&|blob| blob.wrapped_key = two.wrapped_key.clone()),
        changed(&|blob| blob.registry = registry("eu-west-1")),
        changed(&|blob| blob.size = 0),
        changed(&|blob| blob.size -= 1),
        changed(&|blob| blob.size = 2 * PLAIN as u64),
        changed(&|blob| blob.size = u64::MAX),
        changed(&|blob| blob.digest = sha256(b"")),
        changed(&|blob| blob.digest = Digest::from_hash(Algorithm::Sha512, &[1; 64]).unwrap()),
        changed(&|blob| blob.wrapped_key.clear()),
        StoredBlob { size: 5, ..empty.clone() },
        StoredBlob { digest: one.digest, ..empty.clone() },
    ];
    for blob in wrong {
        damaged(shelf.read_all(&blob).await);
        damaged(shelf.read(&blob, 0, 0).await);
    }
    assert_eq!(shelf.read_all(&empty).await.unwrap(), b"");
}

#[tokio::test]
async fn cut_short_or_missing() {
    let shelf = Shelf::new();
    let all = bytes(SIZE);
    let blob = shelf.put(&key(1), &all, 50_000).await;
    let whole = shelf.file(&key(1));
    let cuts = [0, 1, SEALED - 1, SEALED, SEALED + 1, 4 * SEALED, 8 * SEALED, 9 * SEALED, whole.len() - 1];
    for length in cuts {
        std::fs::write(shelf.path(&key(1)), &whole[..length]).unwrap();
        damaged(right_or_error(&shelf, &blob, &all, 0).await);
        damaged(right_or_error(&shelf, &blob, &all, SIZE - 1).await);
    }
    std::fs::remove_file(shelf.path(&key(1))).unwrap();
    damaged(shelf.read_all(&blob).await);
    // More than there should be does no harm.
    std::fs::write(shelf.path(&key(1)), [&whole[..], b"more"].concat()).unwrap();
    assert!(shelf.read_all(&blob).await.unwrap() == all);
}

#[tokio::test]
async fn segments_that_changed_places() {
    let shelf = Shelf::new();
    let all = bytes(SIZE);
    let blob = shelf.put(&key(1), &all, 50_000).await;
    shelf.put(&key(2), &all, 50_000).await;
    let (whole, other) = (shelf.file(&key(1)), shelf.file(&key(2)));
    let segment = |bytes: &[u8], number: usize| bytes[number * SEALED..(number + 1) * SEALED].to_vec();
    for (to, from) in
        [(0, segment(&whole, 1)), (1, segment(&whole, 0)), (8, segment(&whole, 3)), (2, segment(&other, 2))]
    {
        let mut mixed = whole.clone();
        mixed[to * SEALED..(to + 1) * SEALED].copy_from_slice(&from);
        std::fs::write(shelf.path(&key(1)), mixed).unwrap();
        damaged(right_or_error(&shelf, &blob, &all, 0).await);
        damaged(right_or_error(&shelf, &blob, &all, to * PLAIN).await);
    }
    // An upload's sealed tail is no segment.
    let paused = shelf.part(&key(3), &shelf.begin(&key(3)), b"tail", 4).await;
    let finished = shelf.appender(&key(3), &paused).finish(Algorithm::Sha256).await.unwrap();
    std::fs::write(shelf.path(&key(3)), &paused.tail).unwrap();
    damaged(shelf.read_all(&shelf.blob(&key(3), finished)).await);
}

/// A damaged object does not go out with another digest either.
#[tokio::test]
async fn damaged_before_its_algorithm_was_named() {
    let shelf = Shelf::new();
    let paused = shelf.part(&key(1), &shelf.begin(&key(1)), &bytes(3 * PLAIN), 1000).await;
    let mut file = shelf.file(&key(1));
    file[SEALED + 100] ^= 1;
    std::fs::write(shelf.path(&key(1)), file).unwrap();
    damaged(shelf.appender(&key(1), &paused).finish(Algorithm::Sha512).await);
}
