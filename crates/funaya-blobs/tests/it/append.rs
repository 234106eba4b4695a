//! Writing: in pieces of every size, over several requests, with crashes between (D2, D4).

use std::{fs::OpenOptions, io::Write as _, os::unix::fs::PermissionsExt as _};

use bytes::Bytes;
use funaya_ports::{
    StoreError,
    blobs::{BlobStore as _, Progress},
};
use funaya_types::Algorithm;

use crate::shelf::{PLAIN, SEALED, Shelf, bytes, damaged, feed, key, registry, sha256, sha512};

/// Bytes on disk of so many plain bytes.
fn sealed(plain: usize) -> usize {
    plain + plain.div_ceil(PLAIN) * 28
}

#[tokio::test]
async fn every_size_in_pieces_of_every_size() {
    let shelf = Shelf::new();
    let mut number = 0;
    for size in [0, 1, 2, PLAIN - 1, PLAIN, PLAIN + 1, 8 * PLAIN, 8 * PLAIN + 1, 5_000_000] {
        for piece in [1, 4096, PLAIN - 1, PLAIN, PLAIN + 1, 300_000, usize::MAX] {
            if size / piece > 100_000 {
                continue;
            }
            number += 1;
            let (key, bytes) = (key(number), bytes(size));
            let blob = shelf.put(&key, &bytes, piece).await;
            assert_eq!(shelf.read_all(&blob).await.unwrap(), bytes, "{size} by {piece}");
            if size > 0 {
                assert_eq!(shelf.file(&key).len(), sealed(size), "{size} by {piece}");
            }
        }
    }
}

#[tokio::test]
async fn paused_at_every_boundary() {
    let cuts = [
        0,
        1,
        PLAIN - 1,
        PLAIN,
        PLAIN + 1,
        2 * PLAIN,
        4 * PLAIN,
        4 * PLAIN + 5,
        8 * PLAIN - 1,
        8 * PLAIN,
        8 * PLAIN + 1,
        20 * PLAIN,
    ];
    let all = bytes(20 * PLAIN + 77);
    for (number, cut) in cuts.into_iter().enumerate() {
        let mut shelf = Shelf::new();
        let key = key(number as u8);
        let first = shelf.part(&key, &shelf.begin(&key), &all[..cut], 10_000).await;
        assert_eq!(first.tail.is_empty(), cut % PLAIN == 0);
        shelf.reopen();
        // One more byte, nothing, and the rest.
        let second = shelf.part(&key, &first, &all[cut..=cut], 1).await;
        let third = shelf.part(&key, &second, &[], 1).await;
        assert_eq!(third.received, cut as u64 + 1);
        let mut appender = shelf.appender(&key, &third);
        feed(&mut *appender, &all[cut + 1..], 99_999).await.unwrap();
        let blob = shelf.blob(&key, appender.finish(Algorithm::Sha256).await.unwrap());
        assert_eq!(blob.digest, sha256(&all), "cut at {cut}");
        assert_eq!(shelf.read_all(&blob).await.unwrap(), all, "cut at {cut}");
        assert_eq!(shelf.file(&key).len(), sealed(all.len()));
    }
}

#[tokio::test]
async fn paused_after_every_part_and_finished_without_one() {
    let mut shelf = Shelf::new();
    let all = bytes(7 * 50_000);
    let mut progress = shelf.begin(&key(1));
    for part in all.chunks(50_000) {
        progress = shelf.part(&key(1), &progress, part, 7_777).await;
        shelf.reopen();
    }
    let finished = shelf.appender(&key(1), &progress).finish(Algorithm::Sha256).await.unwrap();
    let blob = shelf.blob(&key(1), finished);
    assert_eq!((blob.digest, shelf.read_all(&blob).await.unwrap()), (sha256(&all), all));
    // At a segment's end nothing is left to write.
    let all = bytes(3 * PLAIN);
    let progress = shelf.part(&key(2), &shelf.begin(&key(2)), &all, 1000).await;
    let finished = shelf.appender(&key(2), &progress).finish(Algorithm::Sha256).await.unwrap();
    let blob = shelf.blob(&key(2), finished);
    assert_eq!((blob.digest, shelf.read_all(&blob).await.unwrap()), (sha256(&all), all));
}

/// The process dies after bytes were written that no row knows of.
#[tokio::test]
async fn goes_on_after_a_crash() {
    let (all, lost) = (bytes(40 * PLAIN + 9), bytes(30 * PLAIN));
    for (number, cut) in [0, 9, 12 * PLAIN, 12 * PLAIN + 9].into_iter().enumerate() {
        for torn in [&[][..], &[0; 5], &[1; SEALED + 3]] {
            let mut shelf = Shelf::new();
            let key = key(number as u8);
            let paused = shelf.part(&key, &shelf.begin(&key), &all[..cut], 50_000).await;
            let mut appender = shelf.appender(&key, &paused);
            feed(&mut *appender, &lost, 50_000).await.unwrap();
            drop(appender.pause().await.unwrap());
            OpenOptions::new().append(true).open(shelf.path(&key)).unwrap().write_all(torn).unwrap();
            assert!(shelf.file(&key).len() > sealed(cut));
            shelf.reopen();
            let mut appender = shelf.appender(&key, &paused);
            feed(&mut *appender, &all[cut..28 * PLAIN], 50_000).await.unwrap();
            let paused = appender.pause().await.unwrap();
            assert_eq!(shelf.file(&key).len(), sealed(28 * PLAIN));
            let mut appender = shelf.appender(&key, &paused);
            feed(&mut *appender, &all[28 * PLAIN..], 50_000).await.unwrap();
            let blob = shelf.blob(&key, appender.finish(Algorithm::Sha256).await.unwrap());
            assert_eq!(blob.digest, sha256(&all));
            assert_eq!(shelf.read_all(&blob).await.unwrap(), all);
            assert_eq!(shelf.file(&key).len(), sealed(all.len()));
        }
    }
}

/// What an earlier request was told is durable has gone: better an error than a hole.
#[tokio::test]
async fn never_goes_on_over_lost_bytes() {
    let shelf = Shelf::new();
    let all = bytes(12 * PLAIN);
    for (number, left) in [(1, Some(0)), (2, Some(12 * SEALED as u64 - 1)), (3, None)] {
        let key = key(number);
        let paused = shelf.part(&key, &shelf.begin(&key), &all, 50_000).await;
        match left {
            Some(length) => OpenOptions::new().write(true).open(shelf.path(&key)).unwrap().set_len(length).unwrap(),
            None => std::fs::remove_file(shelf.path(&key)).unwrap(),
        }
        damaged(shelf.appender(&key, &paused).finish(Algorithm::Sha256).await);
        let mut appender = shelf.appender(&key, &paused);
        // The first writes may still be on their way.
        let fed = feed(&mut *appender, &all, 50_000).await;
        assert!(fed.is_err() || appender.pause().await.is_err());
    }
}

#[tokio::test]
async fn both_algorithms_also_named_late() {
    let shelf = Shelf::new();
    let all = bytes(5 * PLAIN + 3);
    let cases = [
        (Algorithm::Sha256, Algorithm::Sha256),
        (Algorithm::Sha256, Algorithm::Sha512),
        (Algorithm::Sha512, Algorithm::Sha256),
        (Algorithm::Sha512, Algorithm::Sha512),
    ];
    for (number, (begun, ended)) in cases.into_iter().enumerate() {
        for (at, length) in [(0, 0), (1, all.len())] {
            let (key, all) = (key(2 * number as u8 + at), &all[..length]);
            let progress = shelf.store.begin(&shelf.registry, &key, begun).unwrap();
            let progress = shelf.part(&key, &progress, &all[..length / 2], 1000).await;
            assert_eq!(progress.algorithm, begun);
            let mut appender = shelf.appender(&key, &progress);
            feed(&mut *appender, &all[length / 2..], 1000).await.unwrap();
            let blob = shelf.blob(&key, appender.finish(ended).await.unwrap());
            assert_eq!(blob.digest, if ended == Algorithm::Sha256 { sha256(all) } else { sha512(all) });
            assert_eq!(shelf.read_all(&blob).await.unwrap(), all);
        }
    }
}

/// A request that has lost its client may still write; it must not write over its successor.
#[tokio::test]
async fn a_newer_writer_shuts_out_the_older() {
    let shelf = Shelf::new();
    let (all, other) = (bytes(20 * PLAIN), bytes(20 * PLAIN + 1));
    let begun = shelf.begin(&key(1));
    let mut older = shelf.appender(&key(1), &begun);
    feed(&mut *older, &other[..9 * PLAIN], 10_000).await.unwrap();
    let mut newer = shelf.appender(&key(1), &begun);
    let late = feed(&mut *older, &other[9 * PLAIN..], 10_000).await;
    feed(&mut *newer, &all, 10_000).await.unwrap();
    let ended = match late {
        Ok(()) => older.pause().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(matches!(ended, Err(StoreError::Busy(_))), "{ended:?}");
    let blob = shelf.blob(&key(1), newer.finish(Algorithm::Sha256).await.unwrap());
    assert_eq!(blob.digest, sha256(&all));
    assert_eq!(shelf.read_all(&blob).await.unwrap(), all);
}

/// After a failure nothing is promised, even if the next write would do.
#[tokio::test]
async fn a_failed_writer_stays_failed() {
    let shelf = Shelf::new();
    std::fs::write(shelf.folder.path().join("blobs").join(&key(1).as_str()[24..]), "in the way").unwrap();
    let mut appender = shelf.appender(&key(1), &shelf.begin(&key(1)));
    let fed = feed(&mut *appender, &bytes(30 * PLAIN), 100_000).await;
    assert!(fed.is_err(), "the error comes while there is more to write");
    std::fs::remove_file(shelf.folder.path().join("blobs").join(&key(1).as_str()[24..])).unwrap();
    let more = appender.append(Bytes::from_static(b"more")).await;
    assert!(more.is_err() || appender.pause().await.is_err());
}

#[tokio::test]
async fn an_upload_belongs_to_its_key_and_registry() {
    let shelf = Shelf::new();
    let progress = shelf.part(&key(1), &shelf.begin(&key(1)), &bytes(10), 10).await;
    damaged(shelf.store.appender(&shelf.registry, &key(2), progress.clone()).map(drop));
    damaged(shelf.store.appender(&registry("eu-west-1"), &key(1), progress.clone()).map(drop));
    let changes: [fn(&mut Progress); 8] = [
        |progress| progress.tail[20] ^= 1,
        |progress| progress.tail.truncate(5),
        |progress| progress.tail.clear(),
        |progress| progress.received += PLAIN as u64,
        |progress| progress.received = 3,
        |progress| progress.hash_state.truncate(3),
        |progress| progress.wrapped_key[30] ^= 1,
        |progress| progress.wrapped_key.clear(),
    ];
    for change in changes {
        let mut progress = progress.clone();
        change(&mut progress);
        damaged(shelf.store.appender(&shelf.registry, &key(1), progress).map(drop));
    }
}

/// D7: nothing plain is ever written, not even of an unfinished upload; and only the owner may look.
#[tokio::test]
async fn nothing_plain_is_written() {
    let shelf = Shelf::new();
    let plain = b"plain text, ".repeat(40_000);
    let paused = shelf.part(&key(1), &shelf.begin(&key(1)), &plain, 50_000).await;
    assert!(!paused.tail.is_empty());
    let holds = |bytes: &[u8]| bytes.windows(6).any(|window| b"plain text, plain".windows(6).any(|w| w == window));
    assert!(!holds(&paused.tail) && !holds(&shelf.file(&key(1))) && !holds(&paused.hash_state));
    // The same bytes sealed twice differ.
    let again = shelf.part(&key(2), &shelf.begin(&key(2)), &plain, 50_000).await;
    assert_ne!(again.tail, paused.tail);
    assert_ne!(shelf.file(&key(2)), shelf.file(&key(1)));
    shelf.appender(&key(1), &paused).finish(Algorithm::Sha256).await.unwrap();
    assert!(!holds(&shelf.file(&key(1))));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o77;
    let path = shelf.path(&key(1));
    assert_eq!((mode(&path), mode(path.parent().unwrap()), mode(&shelf.folder.path().join("blobs"))), (0, 0, 0));
}
