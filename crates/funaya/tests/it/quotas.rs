//! Quotas of a registry (14-quotas-and-throttling).

use std::{path::Path, process::Command, time::Duration};

use funaya_testkit::{Client, Scratch, operator};
use serde_json::{Value, json};

use crate::{BIN, House, start};

const REPOSITORIES_MAX: usize = 10_000;
const WRITERS: usize = 8;

/// QUOTA-01, REPO-06: the 10,001st repository is refused, and a deleted one makes room.
#[test]
fn a_registry_holds_ten_thousand_repositories() {
    let house = House::new("repositories", &[]);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let client = Client::new(&house.server.url).unwrap();
            scope.spawn(move || {
                for number in (writer..REPOSITORIES_MAX).step_by(WRITERS) {
                    let input = json!({"repositoryName": format!("team/r{number}")});
                    let (status, answer) = client.ecr("CreateRepository", &input).unwrap();
                    assert_eq!(status, 200, "{answer}");
                }
            });
        }
    });
    let one_more = json!({"repositoryName": "team/more"});
    let (status, answer) = house.client.ecr("CreateRepository", &one_more).unwrap();
    assert_eq!((status, answer["__type"].as_str()), (400, Some("LimitExceededException")), "{answer}");
    assert_eq!(house.client.ecr("DeleteRepository", &json!({"repositoryName": "team/r7"})).unwrap().0, 200);
    assert_eq!(house.client.ecr("CreateRepository", &one_more).unwrap().0, 200);
}

/// What `funaya usage --json` tells of an action.
pub fn usage(data: &Path, action: &str) -> Value {
    let out = Command::new(BIN).args(["usage", "--json", "--data"]).arg(data).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.find(|line| line["action"] == action).unwrap_or_else(|| panic!("{action}: {text}"))
}

/// QUOTA-01, QUOTA-02, QUOTA-19, QUOTA-21, QUOTA-23, QUOTA-26: an operator's own quotas, for all and for one account.
#[test]
fn quotas_of_an_operator() {
    let scratch = Scratch::new("own-quotas").unwrap();
    let (data, file) = (scratch.path().join("data"), scratch.path().join("funaya.toml"));
    let settings = r#"
        images-per-repository = "7"
        rates.ListImages = { burst = 3, per-second = 1 }
        [accounts.123456789012]
        repositories-per-registry = 2
        rates = { DescribeRegistry = 2 }
        [accounts.999999999999]
        images-per-repository = 1
    "#;
    std::fs::write(&file, settings).unwrap();
    let server = start(&data, &[("FUNAYA_CONFIG", file.to_str().unwrap()), ("FUNAYA_RATE_QUOTAS", "ecr")]);
    let client = Client::new(&server.url).unwrap();
    let create = |name: &str| client.ecr("CreateRepository", &json!({"repositoryName": name})).unwrap();
    assert_eq!((create("aa").0, create("bb").0), (200, 200));
    let (status, answer) = create("cc");
    assert_eq!((status, answer["__type"].as_str()), (400, Some("LimitExceededException")));
    let text =
        "The registry with id '123456789012' already has the maximum allowed number of repositories which is '2'";
    assert_eq!(answer["message"], text);
    let manifest = |number: u32| json!({"schemaVersion": 2, "mediaType": crate::INDEX, "manifests": [], "annotations": {"n": number.to_string()}});
    let put = |number: u32| {
        let input = json!({"repositoryName": "aa", "imageManifest": manifest(number).to_string()});
        client.ecr("PutImage", &input).unwrap()
    };
    assert!((0..7).all(|number| put(number).0 == 200));
    let (status, answer) = put(7);
    assert_eq!((status, answer["__type"].as_str()), (400, Some("LimitExceededException")), "{answer}");
    assert!(answer["message"].as_str().unwrap().ends_with("number of images which is '7'"), "{answer}");
    // A bucket of three, and one that is refilled with two a second.
    let listed: Vec<u16> =
        (0..5).map(|_| client.ecr("ListImages", &json!({"repositoryName": "aa"})).unwrap().0).collect();
    assert_eq!(&listed[..3], [200, 200, 200]);
    assert!(listed[3..].contains(&400), "{listed:?}");
    let described: Vec<_> = (0..9).map(|_| client.ecr("DescribeRegistry", &json!({})).unwrap()).collect();
    let refused = described.iter().find(|(status, _)| *status == 400).expect("one is too many");
    assert_eq!((&refused.1["__type"], &refused.1["message"]), (&json!("ThrottlingException"), &json!("Rate exceeded")));
    let used = usage(&data, "ecr:ListImages");
    assert_eq!((&used["perSecond"], &used["burst"]), (&json!(1), &json!(3)));
    assert_eq!(used["calls"].as_u64().unwrap() + used["throttled"].as_u64().unwrap(), 5, "{used}");
    assert_eq!(usage(&data, "ecr:PutImage")["calls"], 8);
    // Refusals are written together, within a second.
    let recorded = (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        operator(Path::new(BIN), &data, "audit").unwrap().contains(r#""errorCode":"ThrottlingException""#)
    });
    assert!(recorded, "QUOTA-25");
}

/// A file that makes no sense is refused in one sentence.
#[test]
fn bad_quotas() {
    let scratch = Scratch::new("bad-quotas").unwrap();
    let file = scratch.path().join("funaya.toml");
    for (settings, says) in [
        ("rates.PutImages = 5", "`PutImages` is not an operation"),
        ("rates.PutImage = 0", "must let a call through"),
        ("rates.PutImage = { burst = 5 }", "not valid"),
        ("rates.PutImage = -1", "not valid"),
        ("accounts.12 = { images-per-repository = 1 }", "`12`"),
        ("accounts.123456789012.images = 1", "not valid"),
        ("repositories-per-registry = \"many\"", "`many`"),
        ("scrub-rate = \"0\"", "1 at least"),
    ] {
        std::fs::write(&file, settings).unwrap();
        let out = Command::new(BIN).args(["serve", "--config"]).arg(&file).arg("--data").arg(scratch.path()).output();
        let out = out.unwrap();
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && text.contains(says) && text.lines().count() == 1, "{settings}: {text}");
    }
}
