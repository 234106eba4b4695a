//! The collector, as an operator sees it: what it would remove, and why something stays or went (D5).

use std::process::Command;

use funaya_testkit::digest;
use serde_json::json;

use crate::{BIN, House};

fn gc(house: &House, arguments: &[&str]) -> String {
    let done = Command::new(BIN).arg("gc").args(arguments).arg("--data").arg(house.data()).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{text}{}", String::from_utf8_lossy(&done.stderr));
    text
}

#[test]
fn removals_are_foretold_and_explained() {
    let spans = [
        ("FUNAYA_GC_INTERVAL", "1h"),
        ("FUNAYA_GC_GRACE", "1s"),
        ("FUNAYA_GC_TRASH", "1s"),
        ("FUNAYA_UNDO_WINDOW", "1s"),
    ];
    let house = House::new("gc", &spans);
    house.create("team/web");
    house.push_image("team/web", "v1", b"a layer that goes");
    house.push_image("team/web", "v2", b"a layer that stays");
    let (goes, stays) = (digest(b"a layer that goes"), digest(b"a layer that stays"));
    let explain = |digest: &str| gc(&house, &["explain", digest]);
    let told = explain(&stays);
    assert!(told.contains("stored, 18 bytes") && told.contains("held by team/web"), "{told}");
    assert!(told.contains("needed by sha256:"), "{told}");
    let manifest = house.client.registry("HEAD", "/v2/team/web/manifests/v1", &[], b"").unwrap();
    let image = manifest.header("docker-content-digest").to_owned();
    assert!(explain(&image).contains("an image of team/web"));
    let ids = json!({"repositoryName": "team/web", "imageIds": [{"imageTag": "v1"}]});
    assert_eq!(house.client.ecr("BatchDeleteImage", &ids).unwrap().0, 200);
    assert!(explain(&image).contains("deleted"), "{}", explain(&image));
    // Each stage waits for the one before: image, link with blob, bytes. What is foretold is what goes.
    let mut foretold = String::new();
    for removed in [
        "1 deleted images and repositories, 0 layer links, 0 blobs",
        "0 deleted images and repositories, 1 layer links, 1 blobs",
        "0 deleted images and repositories, 0 layer links, 0 blobs",
    ] {
        std::thread::sleep(std::time::Duration::from_millis(2100));
        foretold.push_str(&gc(&house, &["--dry-run"]));
        let done = gc(&house, &[]);
        assert!(done.contains(removed), "{done}");
    }
    assert!(foretold.contains(&format!("image {image} of team/web")), "{foretold}");
    assert!(foretold.contains(&format!("layer {goes} of team/web")), "{foretold}");
    assert!(foretold.contains(&format!("blob {goes}, 17 bytes")), "{foretold}");
    assert!(!foretold.contains(&stays), "{foretold}");
    let told = explain(&goes);
    // In this order, though one round removed both.
    let (layer, blob) = told.split_once('\n').unwrap();
    assert!(layer.contains("removed as a layer of team/web: no image of the repository needs it"), "{told}");
    assert!(blob.contains("removed as a blob: no repository holds it") && blob.contains("its bytes leave"), "{told}");
    assert!(explain(&image).contains("removed as an image of team/web: deleted "), "{}", explain(&image));
    assert!(!explain(&stays).contains("removed"));
    assert_eq!(gc(&house, &["--dry-run"]), "0 would be removed now, 0 bytes of blobs and uploads\n");
}
