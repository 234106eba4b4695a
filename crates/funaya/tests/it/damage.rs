//! Bit rot and full disks.

use std::{path::PathBuf, process::Command};

use funaya_testkit::{Client, Dice, Scratch, Server, digest};
use serde_json::json;

use crate::{BIN, House, start};

fn objects(folder: &std::path::Path) -> Vec<PathBuf> {
    let shards = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    shards.flat_map(|shard| std::fs::read_dir(shard).unwrap().map(|entry| entry.unwrap().path())).collect()
}

/// D7, D13: a flipped byte, wherever it is, is never delivered as success, and `scrub` names the blob.
#[test]
fn flipped_bytes_are_never_served() {
    let house = House::new("rot", &[("FUNAYA_LOG", "off")]);
    house.create("team/web");
    let bytes = Dice::new(3).bytes(150_000);
    let digest = house.push_blob("team/web", &bytes);
    let [object] = &objects(&house.data().join("blobs"))[..] else { panic!("one object") };
    let stored = std::fs::read(object).unwrap();
    let path = format!("/v2/team/web/blobs/{digest}");
    let mut dice = Dice::new(4);
    for _ in 0..60 {
        let mut damaged = stored.clone();
        let at = dice.below(stored.len() as u64) as usize;
        damaged[at] ^= 1 << dice.below(8);
        std::fs::write(object, &damaged).unwrap();
        if let Ok(read) = house.client.registry("GET", &path, &[], b"") {
            assert!(read.status == 500, "byte {at}: status {}, {} bytes", read.status, read.body.len());
        }
    }
    for command in ["scrub", "verify"] {
        let out = Command::new(BIN).arg(command).arg("--data").arg(house.data()).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(!out.status.success() && text.contains(&digest), "{command}: {text}");
    }
    std::fs::write(object, &stored[..stored.len() - 1]).unwrap();
    assert!(house.client.registry("GET", &path, &[], b"").map_or(true, |read| read.status == 500), "cut short");
    std::fs::remove_file(object).unwrap();
    assert_eq!(house.client.registry("GET", &path, &[], b"").unwrap().status, 500, "gone");
    std::fs::write(object, &stored).unwrap();
    let read = house.client.registry("GET", &path, &[], b"").unwrap();
    assert!(read.status == 200 && read.body == bytes);
    let out = Command::new(BIN).arg("verify").arg("--data").arg(house.data()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
}

/// D13: the server finds a flipped byte by itself, and the next push mends it.
#[test]
fn a_scrub_in_the_background() {
    let house = House::new("background", &[("FUNAYA_LOG", "off"), ("FUNAYA_SCRUB_INTERVAL", "1s")]);
    house.create("team/web");
    let bytes = Dice::new(8).bytes(100_000);
    house.push_image("team/web", "v1", &bytes);
    let path = format!("/v2/team/web/blobs/{}", digest(&bytes));
    let object = objects(&house.data().join("blobs")).into_iter().max_by_key(|o| o.metadata().unwrap().len()).unwrap();
    let mut stored = std::fs::read(&object).unwrap();
    stored[50_000] ^= 1;
    std::fs::write(&object, &stored).unwrap();
    let status = || house.client.registry("HEAD", &path, &[], b"").unwrap().status;
    let found = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        status() == 404
    });
    assert!(found, "what is damaged counts as missing");
    house.push_image("team/web", "v1", &bytes);
    assert_eq!(house.client.registry("GET", &path, &[], b"").unwrap().body, bytes);
}

/// D5, D13: a blob that is collected while a scrub is on its way to it is not damaged.
#[test]
fn a_scrub_comes_too_late() {
    let scratch = Scratch::new("late").unwrap();
    let (data, log) = (scratch.path().join("data"), scratch.path().join("log"));
    let settings = [
        ("FUNAYA_LOG", "info"),
        ("FUNAYA_SCRUB_INTERVAL", "1s"),
        ("FUNAYA_SCRUB_RATE", "1"),
        ("FUNAYA_GC_INTERVAL", "1h"),
        ("FUNAYA_GC_GRACE", "1s"),
        ("FUNAYA_GC_TRASH", "0s"),
    ];
    let to_log = std::fs::File::create(&log).unwrap();
    let server = Server::start_with_log(std::path::Path::new(BIN), &data, &settings, to_log.into()).unwrap();
    let house = House { client: Client::new(&server.url).unwrap(), server, scratch };
    house.create("team/web");
    // Six seconds at that rate, then the one that goes.
    house.push_image("team/web", "v1", &Dice::new(9).bytes(6 << 20));
    house.push_blob("team/web", b"goes");
    let scrubs = || {
        let told = std::fs::read_to_string(&log).unwrap();
        assert!(!told.contains("ERROR"), "{told}");
        told.lines().filter(|line| line.contains("scrubbed blobs=3") || line.contains("scrubbed blobs=2")).count()
    };
    let wait_for = |count| {
        let reached = (0..600).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            scrubs() >= count
        });
        assert!(reached, "{} of {count} scrubs", scrubs());
    };
    wait_for(1);
    // The next has begun by then, and knows three blobs.
    std::thread::sleep(std::time::Duration::from_secs(2));
    for removed in [", 1 blobs, 0 uploads, 0 objects", ", 0 blobs, 0 uploads, 1 objects"] {
        let done = Command::new(BIN).arg("gc").env("FUNAYA_DATA", house.data()).output().unwrap();
        assert!(String::from_utf8_lossy(&done.stdout).contains(removed), "{done:?}");
    }
    wait_for(3);
}

/// A damaged layer counts as missing, and pushing it again puts it right.
#[test]
fn a_push_mends_a_damaged_layer() {
    let house = House::new("mend", &[("FUNAYA_LOG", "off"), ("FUNAYA_GC_TRASH", "0s")]);
    house.create("team/web");
    house.create("team/api");
    let bytes = Dice::new(6).bytes(100_000);
    house.push_image("team/web", "v1", &bytes);
    let digest = digest(&bytes);
    let path = format!("/v2/team/web/blobs/{digest}");
    let object = objects(&house.data().join("blobs")).into_iter().max_by_key(|o| o.metadata().unwrap().len()).unwrap();
    let mut stored = std::fs::read(&object).unwrap();
    stored[90_000] ^= 1;
    std::fs::write(&object, &stored).unwrap();
    assert_eq!(house.client.registry("HEAD", &path, &[], b"").unwrap().status, 200, "not noticed yet");
    let out = Command::new(BIN).arg("scrub").arg("--data").arg(house.data()).output().unwrap();
    let key = object.file_name().unwrap().to_str().unwrap();
    assert!(String::from_utf8_lossy(&out.stdout).contains(key), "scrub names the object");
    assert_eq!(house.client.registry("HEAD", &path, &[], b"").unwrap().status, 404);
    let input = json!({"repositoryName": "team/web", "layerDigests": [digest]});
    let (_, answer) = house.client.ecr("BatchCheckLayerAvailability", &input).unwrap();
    assert_eq!(answer["layers"][0]["layerAvailability"], "UNAVAILABLE");
    let mount = format!("/v2/team/api/blobs/uploads/?mount={digest}&from=team/web");
    assert_eq!(house.client.registry("POST", &mount, &[], b"").unwrap().status, 202);
    // From whichever repository it comes: the bytes are the registry's.
    house.push_blob("team/api", &bytes);
    for name in ["team/web", "team/api"] {
        let read = house.client.registry("GET", &format!("/v2/{name}/blobs/{digest}"), &[], b"").unwrap();
        assert!(read.status == 200 && read.body == bytes, "{name}: {}", read.status);
    }
    for command in ["gc", "verify"] {
        let out = Command::new(BIN).arg(command).arg("--data").arg(house.data()).output().unwrap();
        assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stdout));
    }
    assert!(!object.exists(), "the damaged object is gone");
}

/// D13, MAN-17: what a manifest was converted to is verified as well.
#[test]
fn a_damaged_conversion_is_found() {
    let house = House::new("converted", &[("FUNAYA_LOG", "off")]);
    house.create("team/web");
    house.push_image("team/web", "v1", b"a layer");
    let docker = ("accept", "application/vnd.docker.distribution.manifest.v2+json");
    let converted = house.client.registry("GET", "/v2/team/web/manifests/v1", &[docker], b"").unwrap();
    assert_eq!((converted.status, converted.header("content-type")), (200, docker.1));
    let (data, House { scratch: _scratch, server, .. }) = (house.data(), house);
    drop(server);
    let verify = || {
        let out = Command::new(BIN).arg("verify").arg("--data").arg(&data).output().unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let (well, told) = verify();
    assert!(well, "{told}");
    let database = data.join("meta.db");
    let mut bytes = std::fs::read(&database).unwrap();
    let at = bytes.windows(converted.body.len()).position(|piece| piece == converted.body).unwrap();
    bytes[at + converted.body.len() / 2] ^= 1;
    std::fs::write(&database, bytes).unwrap();
    let (well, told) = verify();
    let fault = format!("damaged: {} (a manifest converted", converted.header("docker-content-digest"));
    assert!(!well && told.contains(&fault) && told.contains(": 1 damaged"), "{told}");
    // The next pull by tag makes it anew.
    let server = start(&data, &[("FUNAYA_LOG", "off")]);
    let client = Client::new(&server.url).unwrap();
    let again = client.registry("GET", "/v2/team/web/manifests/v1", &[docker], b"").unwrap();
    assert!(again.status == 200 && again.body == converted.body, "{}", again.status);
    drop((client, server));
    let (well, told) = verify();
    assert!(well, "{told}");
}

/// A small disk of its own, gone after the test.
struct SmallDisk(Scratch);

impl SmallDisk {
    fn new(size: &str) -> Self {
        let scratch = Scratch::new("disk").unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(scratch.path())
            .status()
            .unwrap();
        assert!(mounted.success(), "this test mounts a small tmpfs: run it as root");
        Self(scratch)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// A clear error; reads go on; nothing acknowledged is lost; and room helps.
#[test]
fn a_full_disk_loses_nothing() {
    let disk = SmallDisk::new("24m");
    let data = disk.0.path().join("data");
    let server = start(&data, &[("FUNAYA_LOG", "off"), ("FUNAYA_GC_INTERVAL", "1s"), ("FUNAYA_GC_TRASH", "0s")]);
    let client = Client::new(&server.url).unwrap();
    client.ecr("CreateRepository", &json!({"repositoryName": "team/web"})).unwrap();
    let mut kept = Vec::new();
    let mut refused = None;
    for seed in 0..40 {
        let bytes = Dice::new(seed).bytes(1_500_000);
        let path = format!("/v2/team/web/blobs/uploads/?digest={}", digest(&bytes));
        let pushed = client.registry("POST", &path, &[], &bytes).unwrap();
        if pushed.status == 201 {
            kept.push(bytes);
        } else {
            refused = Some(pushed);
            break;
        }
    }
    let refused = refused.expect("24 MiB can't hold 60 MB");
    assert!([500, 507].contains(&refused.status), "{}", refused.status);
    assert!(refused.text().contains("storage"), "{}", refused.text());
    assert!(kept.len() > 3, "{}", kept.len());
    all_there(&client, &kept);
    server.kill();
    let server = restart(&data);
    all_there(&Client::new(&server.url).unwrap(), &kept);
}

fn restart(data: &std::path::Path) -> Server {
    // A full disk may leave no room for the database's own files: make some.
    let grown = Command::new("mount").args(["-o", "remount,size=64m"]).arg(data.parent().unwrap()).status().unwrap();
    assert!(grown.success());
    start(data, &[])
}

fn all_there(client: &Client, kept: &[Vec<u8>]) {
    for bytes in kept {
        let read = client.registry("GET", &format!("/v2/team/web/blobs/{}", digest(bytes)), &[], b"").unwrap();
        assert!(read.status == 200 && read.body == *bytes, "status {}", read.status);
    }
}
