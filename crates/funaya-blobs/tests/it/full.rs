//! A disk without room: a clear error, and everything stored before stays readable.

use std::process::Command;

use funaya_ports::{StoreError, blobs::BlobStore as _};
use funaya_types::Algorithm;

use crate::shelf::{Outcome, PLAIN, Shelf, bytes, feed, key, sha256};

fn is_full<T>(outcome: &Outcome<T>) -> bool {
    matches!(outcome, Err(StoreError::Full(_)))
}

/// Every write to `/dev/full` finds no room; an object's file is made a link to it.
#[tokio::test]
async fn no_room_for_an_object() {
    let shelf = Shelf::new();
    let before = shelf.put(&key(1), &bytes(3 * PLAIN), 50_000).await;
    let all = bytes(30 * PLAIN + 5);
    let path = shelf.path(&key(2));
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    for length in [10, PLAIN, 9 * PLAIN, all.len()] {
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let begun = shelf.begin(&key(2));
        let mut appender = shelf.appender(&key(2), &begun);
        let fed = feed(&mut *appender, &all[..length], 50_000).await;
        let ended = match fed {
            Ok(()) => appender.finish(Algorithm::Sha256).await.map(drop),
            Err(error) => Err(error),
        };
        assert!(is_full(&ended), "{length}: {ended:?}");
        assert!(shelf.read_all(&before).await.unwrap() == bytes(3 * PLAIN));
        // There is room again: the upload goes on where its row stands.
        std::fs::remove_file(&path).unwrap();
        let mut appender = shelf.appender(&key(2), &begun);
        feed(&mut *appender, &all[..length], 50_000).await.unwrap();
        let blob = shelf.blob(&key(2), appender.finish(Algorithm::Sha256).await.unwrap());
        assert!(shelf.read_all(&blob).await.unwrap() == all[..length]);
        shelf.store.delete(&key(2)).await.unwrap();
    }
}

/// A small file system of our own, where we may mount one; elsewhere the test above has shown the same.
#[tokio::test]
async fn no_room_in_the_middle_of_an_upload() {
    let mut shelf = Shelf::new();
    let folder = shelf.folder.path().join("blobs");
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&folder).output();
    if !mount.is_ok_and(|output| output.status.success()) {
        return;
    }
    shelf.reopen();
    let all = bytes(5_000_000);
    let paused = shelf.part(&key(1), &shelf.begin(&key(1)), &all[..1_000_000], 50_000).await;
    let mut appender = shelf.appender(&key(1), &paused);
    let fed = feed(&mut *appender, &all[1_000_000..], 50_000).await;
    let ended = match fed {
        Ok(()) => appender.pause().await.map(drop),
        Err(error) => Err(error),
    };
    let goes_on = async {
        let mut appender = shelf.appender(&key(1), &paused);
        feed(&mut *appender, &all[1_000_000..1_500_000], 50_000).await?;
        let blob = shelf.blob(&key(1), appender.finish(Algorithm::Sha256).await?);
        Ok::<_, StoreError>((blob.digest, shelf.read_all(&blob).await?))
    };
    let went_on = goes_on.await;
    let unmounted = Command::new("umount").arg(&folder).status().unwrap();
    assert!(unmounted.success());
    assert!(is_full(&ended), "{ended:?}");
    let (digest, read) = went_on.unwrap();
    assert_eq!(digest, sha256(&all[..1_500_000]));
    assert!(read == all[..1_500_000]);
}
