//! Starting, stopping, restarting.

use std::{
    path::Path,
    process::{Command, Output},
};

use funaya_testkit::{Client, Scratch, operator};
use serde_json::json;

use crate::{BIN, House, start};

fn run(args: &[&str], settings: &[(&str, &str)]) -> Output {
    Command::new(BIN).args(args).envs(settings.iter().copied()).output().unwrap()
}

/// A bad setting: one sentence, and an exit code that is not zero.
#[test]
fn bad_settings_are_refused_in_one_sentence() {
    let scratch = Scratch::new("settings").unwrap();
    let data = scratch.path().join("data");
    let cases: [&[(&str, &str)]; 16] = [
        &[("FUNAYA_LISTEN", "nowhere")],
        &[("FUNAYA_LISTEN", "192.0.2.1:1")],
        &[("FUNAYA_ACCOUNT", "12345")],
        &[("FUNAYA_REGION", "US EAST")],
        &[("FUNAYA_REGIONS", "us-east-1,?")],
        &[("FUNAYA_TLS_CERT", "/nothing")],
        &[("FUNAYA_TLS_CERT", "/nothing"), ("FUNAYA_TLS_KEY", "/nothing")],
        &[("FUNAYA_ROOT_ACCESS_KEY_ID", "AKIA")],
        &[("FUNAYA_DATABASE", "mysql://x")],
        &[("FUNAYA_BLOBS", "s3://bucket/prefix")],
        &[("FUNAYA_BLOB_REDIRECT", "sometimes")],
        &[("FUNAYA_GC_GRACE", "soon")],
        &[("FUNAYA_GC_INTERVAL", "0s")],
        &[("FUNAYA_LOG", "infoo")],
        &[("FUNAYA_ROOT_KEY_FILE", "/nothing")],
        &[("FUNAYA_TEST_CLOCK", "1"), ("FUNAYA_LISTEN", "0.0.0.0:0")],
    ];
    for settings in cases {
        let out = run(&["serve", "--data", data.to_str().unwrap()], settings);
        let text = String::from_utf8_lossy(&out.stderr);
        assert!(!out.status.success(), "{settings:?}");
        assert!(text.starts_with("funaya: ") && text.trim().lines().count() == 1, "{settings:?}: {text}");
    }
}

#[test]
fn settings_come_from_a_file_too() {
    let scratch = Scratch::new("file").unwrap();
    let data = scratch.path().join("data");
    let file = scratch.path().join("funaya.toml");
    std::fs::write(&file, format!("data = {:?}\naccount = \"210987654321\"\nregion = \"eu-west-1\"\n", data)).unwrap();
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("root.key"), [7; 32]).unwrap();
    let out = run(&["credentials", "--format", "json", "--config", file.to_str().unwrap()], &[]);
    let said: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&said["accountId"], &said["region"]), (&json!("210987654321"), &json!("eu-west-1")));
    std::fs::write(&file, "colour = 1\n").unwrap();
    let out = run(&["credentials", "--config", file.to_str().unwrap()], &[]);
    assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("colour"));
}

/// Two processes on one folder would each believe that it is theirs.
#[test]
fn a_second_process_on_the_folder_is_refused() {
    let house = House::new("second", &[]);
    let out = run(&["serve", "--data", house.data().to_str().unwrap(), "--listen", "127.0.0.1:0"], &[]);
    assert!(!out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("another process is using the data folder"));
}

/// OVW-07: all that was answered is there after a restart, also the account and the key.
#[test]
fn a_restart_keeps_everything() {
    let house = House::new("restart", &[]);
    house.create("team/web");
    let manifest = house.push_image("team/web", "v1", b"a layer");
    let before = operator(Path::new(BIN), &house.data(), "credentials").unwrap();
    assert!(before.contains("AWS_ACCESS_KEY_ID"));
    let House { scratch, server, .. } = house;
    assert!(server.terminate(), "SIGTERM ends the server well");
    let server = start(&scratch.path().join("data"), &[]);
    let client = Client::new(&server.url).unwrap();
    let read = client.registry("GET", "/v2/team/web/manifests/v1", &[], b"").unwrap();
    assert_eq!((read.status, read.text()), (200, manifest));
}

/// A mistyped folder must not come into being, nor look like a healthy one.
#[test]
fn operator_commands_make_no_folder() {
    let scratch = Scratch::new("mistyped").unwrap();
    let data = scratch.path().join("nothing");
    for command in ["credentials", "verify", "scrub", "gc", "audit"] {
        let out = run(&[command, "--data", data.to_str().unwrap()], &[]);
        assert!(!out.status.success() && String::from_utf8_lossy(&out.stderr).contains("holds no registry"));
        assert!(!data.exists(), "{command}");
    }
}

/// A socket's name may have 107 bytes only.
#[test]
fn a_long_path_is_no_trouble() {
    let scratch = Scratch::new("long").unwrap();
    let data = scratch.path().join("d".repeat(200));
    let server = start(&data, &[]);
    assert!(operator(Path::new(BIN), &data, "verify").unwrap().contains("0 damaged"));
    assert!(server.terminate());
}

/// A variable set to nothing is not set.
#[test]
fn empty_settings_count_as_not_set() {
    let scratch = Scratch::new("empty").unwrap();
    let empty = [
        "FUNAYA_TLS_CERT",
        "FUNAYA_TLS_KEY",
        "FUNAYA_SUFFIX",
        "FUNAYA_DATABASE",
        "FUNAYA_REGIONS",
        "FUNAYA_BLOBS",
        "FUNAYA_CREATE_ON_PUSH",
        "FUNAYA_LOG_FORMAT",
        "FUNAYA_GC_GRACE",
        "FUNAYA_CONFIG",
    ]
    .map(|name| (name, ""));
    drop(start(&scratch.path().join("data"), &empty));
}

/// Made at the first start and kept: account, access key.
#[test]
fn a_first_start_makes_what_was_not_set() {
    let scratch = Scratch::new("first").unwrap();
    let data = scratch.path().join("data");
    drop(start(&data, &[]));
    let said = || -> serde_json::Value {
        let out = run(&["credentials", "--format", "json", "--data", data.to_str().unwrap()], &[]);
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let (first, second) = (said(), said());
    for key in ["accessKeyId", "secretAccessKey", "accountId"] {
        assert_eq!(first[key], second[key], "{key}");
    }
    assert_eq!(first["accountId"].as_str().unwrap().len(), 12);
}

/// A root key of another installation must not quietly make everything unreadable.
#[test]
fn a_wrong_root_key_is_refused() {
    let house = House::new("rootkey", &[]);
    let House { scratch, server, .. } = house;
    server.kill();
    std::fs::write(scratch.path().join("data/root.key"), [7; 32]).unwrap();
    let data = scratch.path().join("data");
    let out = run(&["serve", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0"], &[]);
    assert!(!out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("root key is not the one"));
}

/// Files of the data folder are the owner's alone.
#[test]
fn the_folder_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let house = House::new("private", &[]);
    house.create("team/web");
    house.push_blob("team/web", b"bytes");
    let mut folders = vec![house.data()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} is {mode:o}", path.display());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
}

#[test]
fn health_needs_no_sign_in() {
    let house = House::new("health", &[]);
    for path in ["/healthz", "/readyz"] {
        let url = format!("{}{path}", house.server.url);
        let out = Command::new("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&out.stdout), "200", "{path}");
    }
}
