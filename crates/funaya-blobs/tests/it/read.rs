//! Reading: any range, and what is there to list and delete.

use funaya_ports::{Random as _, blobs::BlobStore as _};
use funaya_testkit::SeededRandom;

use crate::shelf::{PLAIN, Shelf, bytes, damaged, key};

#[tokio::test]
async fn any_range() {
    let shelf = Shelf::new();
    let size = 9 * PLAIN + 100;
    let all = bytes(size);
    let blob = shelf.put(&key(1), &all, 50_000).await;
    let plain = PLAIN as u64;
    let end = size as u64;
    let mut cases = vec![
        (0, 0),
        (0, 1),
        (0, end),
        (0, u64::MAX),
        (end - 1, 1),
        (end - 1, 100),
        (end, 1),
        (end + 1, 1),
        (u64::MAX, u64::MAX),
        (plain - 1, 2),
        (plain, plain),
        (plain + 1, 3 * plain),
        (4 * plain - 1, 2),
        (4 * plain, 1),
        (1, 8 * plain),
        (9 * plain, 100),
        (9 * plain - 1, 101),
    ];
    let random = SeededRandom::new(3);
    for _ in 0..300 {
        cases.push((random.below(size + 10) as u64, random.below(size) as u64));
    }
    for (offset, length) in cases {
        let from = usize::try_from(offset).unwrap_or(size).min(size);
        let to = usize::try_from(offset.saturating_add(length)).unwrap_or(size).min(size);
        let got = shelf.read(&blob, offset, length).await.unwrap();
        assert!(got == all[from..to], "{length} bytes from {offset}");
    }
}

#[tokio::test]
async fn many_at_once() {
    let shelf = Shelf::new();
    let (one, two) = (bytes(3_000_000), bytes(2_000_001));
    let (first, second) = (shelf.put(&key(1), &one, 50_000).await, shelf.put(&key(2), &two, 50_000).await);
    // Streams that are held open share the pool of buffers, not the buffers.
    let reads = (0..40).map(|number| shelf.read_all(if number % 2 == 0 { &first } else { &second }));
    for (number, got) in futures_util::future::join_all(reads).await.into_iter().enumerate() {
        assert!(got.unwrap() == if number % 2 == 0 { &one } else { &two }[..]);
    }
}

#[tokio::test]
async fn listed_and_deleted() {
    let shelf = Shelf::new();
    assert_eq!(shelf.store.shards().await.unwrap(), Vec::<String>::new());
    assert_eq!(shelf.store.list("aa").await.unwrap(), []);
    let random = SeededRandom::new(5);
    let mut keys: Vec<_> = (0..20).map(|_| random.storage_key(funaya_types::Timestamp::from_secs(1))).collect();
    let mut blobs = Vec::new();
    for key in &keys {
        blobs.push(shelf.put(key, b"some bytes", 4).await);
    }
    // What does not belong there is no object.
    std::fs::write(shelf.folder.path().join("blobs/readme.txt"), "").unwrap();
    std::fs::write(shelf.folder.path().join("blobs/zz"), "").unwrap();
    std::fs::create_dir(shelf.folder.path().join("blobs/lost+found")).unwrap();
    std::fs::write(shelf.path(&keys[0]).with_extension("tmp"), "").unwrap();
    let mut listed = Vec::new();
    for shard in shelf.store.shards().await.unwrap() {
        listed.extend(shelf.store.list(&shard).await.unwrap());
    }
    keys.sort();
    listed.sort();
    assert_eq!(listed, keys);

    let open = shelf.store.read(&blobs[0], 0, 100).await.unwrap();
    for _ in 0..2 {
        shelf.store.delete(&blobs[0].key).await.unwrap();
    }
    assert!(!shelf.path(&blobs[0].key).exists());
    damaged(shelf.read_all(&blobs[0]).await);
    // A reader that has begun goes on.
    let pieces: Vec<_> = futures_util::StreamExt::collect(open).await;
    assert_eq!(pieces.into_iter().map(Result::unwrap).collect::<Vec<_>>().concat(), b"some bytes");
    shelf.read_all(&blobs[1]).await.unwrap();
}
