//! Bringing back what was deleted, as an operator does (D6).

use std::process::Command;

use funaya_testkit::{Key, operator};
use serde_json::{Value, json};

use crate::{BIN, House, iam};

/// What `funaya restore …` prints; `Err` if it fails.
fn restore(house: &House, arguments: &[&str]) -> Result<String, String> {
    let data = house.data();
    let done = Command::new(BIN)
        .arg("restore")
        .args(arguments)
        .env("FUNAYA_DATA", data)
        .env("FUNAYA_ACCOUNT", "123456789012")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    if done.status.success() { Ok(text) } else { Err(text + &String::from_utf8_lossy(&done.stderr)) }
}

fn digest_of(house: &House, reference: &str) -> String {
    let answer = house.client.registry("HEAD", &format!("/v2/team/web/manifests/{reference}"), &[], b"").unwrap();
    assert_eq!(answer.status, 200, "{reference}");
    answer.header("docker-content-digest").to_owned()
}

fn ecr(house: &House, operation: &str, input: &Value) {
    let (status, answer) = house.client.ecr(operation, input).unwrap();
    assert_eq!(status, 200, "{operation}: {answer}");
}

#[test]
fn deleted_things_come_back() {
    let house = House::new("restore", &[]);
    house.create("team/web");
    house.push_image("team/web", "v1", b"the first");
    let first = digest_of(&house, "v1");
    let ids = json!({"repositoryName": "team/web", "imageIds": [{"imageDigest": first}]});
    ecr(&house, "BatchDeleteImage", &ids);
    let pull = || house.client.registry("GET", "/v2/team/web/manifests/v1", &[], b"").unwrap().status;
    assert_eq!(pull(), 404);
    let listed = restore(&house, &["list"]).unwrap();
    assert!(listed.contains(&format!("team/web@{first} v1")), "{listed}");
    let line: Value = serde_json::from_str(&restore(&house, &["list", "--json"]).unwrap()).unwrap();
    assert_eq!((&line["imageDigest"], &line["imageTags"]), (&json!(first), &json!(["v1"])));
    let told = restore(&house, &["image", &format!("team/web@{first}")]).unwrap();
    assert!(told.contains("is back with v1"), "{told}");
    assert_eq!(pull(), 200);
    assert!(restore(&house, &["image", &format!("team/web@{first}")]).unwrap_err().contains("nothing of that name"));

    // A tag's earlier target; its image had gone with it.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let before = now();
    house.push_image("team/web", "v1", b"the second");
    ecr(&house, "BatchDeleteImage", &ids);
    assert_eq!(restore(&house, &["resolve", "team/web:v1", "--at", &before]).unwrap().trim(), first);
    let told = restore(&house, &["tag", "team/web:v1"]).unwrap();
    assert!(told.contains(&first), "{told}");
    assert_eq!(digest_of(&house, "v1"), first);

    // A whole repository, with its settings and policy.
    let policy = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": "*",
        "Action": "ecr:BatchGetImage"}});
    ecr(&house, "SetRepositoryPolicy", &json!({"repositoryName": "team/web", "policyText": policy.to_string()}));
    ecr(&house, "PutImageTagMutability", &json!({"repositoryName": "team/web", "imageTagMutability": "IMMUTABLE"}));
    ecr(&house, "DeleteRepository", &json!({"repositoryName": "team/web", "force": true}));
    assert_eq!(pull(), 404);
    assert!(restore(&house, &["list"]).unwrap().contains("team/web (repository, 2 images)"));
    assert!(restore(&house, &["repository", "team/web"]).unwrap().contains("is back"));
    assert_eq!(pull(), 200);
    let (_, found) = house.client.ecr("DescribeRepositories", &json!({"repositoryNames": ["team/web"]})).unwrap();
    assert_eq!(found["repositories"][0]["imageTagMutability"], "IMMUTABLE");
    ecr(&house, "GetRepositoryPolicy", &json!({"repositoryName": "team/web"}));
    let refused = restore(&house, &["repository", "team/web"]).unwrap_err();
    assert!(refused.contains("already exists"), "{refused}");
}

/// D6: the same over the API, for callers with a right to it; ECR's own actions do not give it.
#[test]
fn callers_bring_back_what_was_deleted() {
    let house = House::new("restore-api", &[]);
    house.create("team/web");
    house.push_image("team/web", "v1", b"the first");
    let first = digest_of(&house, "v1");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let before = now();
    house.push_image("team/web", "v1", b"the second");
    let second = digest_of(&house, "v1");
    let asked = |operation: &str, input: Value| house.client.funaya(operation, &input).unwrap();
    let tag = |more: Value| {
        let mut input = json!({"repositoryName": "team/web", "imageTag": "v1"});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let (status, found) = asked("ResolveTag", tag(json!({"at": before})));
    assert_eq!((status, &found["imageDigest"]), (200, &json!(first)), "{found}");
    let (_, found) = asked("ResolveTag", tag(json!({"at": "2001-01-01T00:00:00Z"})));
    assert!(found.get("imageDigest").is_none(), "{found}");
    let (status, back) = asked("RestoreTag", tag(json!({})));
    assert_eq!((status, &back["imageDigest"]), (200, &json!(first)), "{back}");
    assert_eq!(digest_of(&house, "v1"), first);
    for digest in [&first, &second] {
        ecr(&house, "BatchDeleteImage", &json!({"repositoryName": "team/web", "imageIds": [{"imageDigest": digest}]}));
    }
    let (mut seen, mut token) = (Vec::new(), Value::Null);
    for page in 0..3 {
        let mut input = json!({"maxResults": 1});
        if page > 0 {
            input["nextToken"] = token;
        }
        let (status, listed) = asked("ListDeleted", input);
        assert_eq!(status, 200, "{listed}");
        seen.extend(listed["deleted"].as_array().unwrap().clone());
        token = listed["nextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!((&seen[0]["imageDigest"], &seen[1]["imageDigest"]), (&json!(first), &json!(second)));
    assert_eq!((&seen[0]["imageTags"], &seen[0]["repositoryName"]), (&json!(["v1"]), &json!("team/web")));
    let image = json!({"repositoryName": "team/web", "imageDigest": first});
    let (status, back) = asked("RestoreImage", image.clone());
    assert_eq!((status, &back["imageTags"]), (200, &json!(["v1"])), "{back}");
    let (status, again) = asked("RestoreImage", image.clone());
    assert_eq!((status, &again["__type"]), (400, &json!("ImageNotFoundException")), "{again}");
    ecr(&house, "DeleteRepository", &json!({"repositoryName": "team/web", "force": true}));
    let (status, back) = asked("RestoreRepository", json!({"repositoryName": "team/web"}));
    assert_eq!(status, 200, "{back}");
    assert_eq!(digest_of(&house, "v1"), first);
    assert_eq!(
        asked("RestoreRepository", json!({"repositoryName": "team/web"})).1["__type"],
        "RepositoryAlreadyExistsException"
    );

    for (operation, input, code) in [
        ("RestoreImages", json!({}), "UnknownOperationException"),
        ("RestoreImage", json!({"repositoryName": "team/web"}), "InvalidParameterException"),
        ("RestoreImage", json!({"repositoryName": "Team", "imageDigest": first}), "InvalidParameterException"),
        ("RestoreImage", json!({"repositoryName": "team/web", "imageDigest": "sha256:0"}), "InvalidParameterException"),
        ("RestoreTag", tag(json!({"at": "yesterday"})), "InvalidParameterException"),
        ("RestoreTag", tag(json!({"force": true})), "InvalidParameterException"),
        ("ResolveTag", tag(json!({})), "InvalidParameterException"),
        ("ListDeleted", json!({"maxResults": 0}), "InvalidParameterException"),
        ("ListDeleted", json!({"nextToken": "x"}), "InvalidParameterException"),
        ("RestoreRepository", json!({"repositoryName": "team/none"}), "ImageNotFoundException"),
    ] {
        let (status, answer) = asked(operation, input);
        assert!(status >= 400, "{operation}: {answer}");
        assert_eq!(answer["__type"], code, "{operation}: {answer}");
    }

    // All rights on ECR do not suffice; this one does.
    let client = |name: &str, policy: &str| {
        let (id, secret) = iam::user_key(&house.client, name, policy);
        house.client.of(Key { id, secret, token: None }).unwrap()
    };
    let ecr_only = client("alice", r#"{"Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"*"}}"#);
    let (status, answer) = ecr_only.funaya("RestoreImage", &image).unwrap();
    assert_eq!((status, &answer["__type"]), (400, &json!("AccessDeniedException")));
    assert!(answer["message"].as_str().unwrap().contains("funaya:RestoreImage"), "{answer}");
    let right = r#"{"Statement":{"Effect":"Allow","Action":"funaya:Restore*",
        "Resource":"arn:aws:ecr:*:*:repository/team/*"}}"#;
    let bob = client("bob", right);
    ecr(&house, "BatchDeleteImage", &json!({"repositoryName": "team/web", "imageIds": [{"imageDigest": first}]}));
    assert_eq!(bob.funaya("RestoreImage", &image).unwrap().0, 200);
    assert_eq!(bob.funaya("ListDeleted", &json!({})).unwrap().1["__type"], "AccessDeniedException");
    let records_of = |who: &str| -> Vec<(Value, Value)> {
        let text = operator(std::path::Path::new(BIN), &house.data(), "audit").unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let arn = json!(format!("arn:aws:iam::123456789012:user/{who}"));
        let by = records.filter(|record| record["userIdentity"]["arn"] == arn);
        by.map(|record| (record["eventName"].clone(), record["errorCode"].clone())).collect()
    };
    // Refusals are written together, within a second.
    let refused = (0..50).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        records_of("bob").contains(&(json!("ListDeleted"), json!("AccessDenied")))
    });
    assert!(refused, "{:?}", records_of("bob"));
    assert!(records_of("alice").contains(&(json!("RestoreImage"), json!("AccessDenied"))), "{:?}", records_of("alice"));
    assert!(records_of("bob").contains(&(json!("RestoreImage"), Value::Null)), "{:?}", records_of("bob"));
}

fn now() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    funaya_types::Timestamp::from_secs(i64::try_from(seconds).unwrap()).iso8601()
}

/// IMG-80 to IMG-85: tags that stay, tags that move, and the exceptions of both.
#[test]
fn filters_except_tags_from_immutability() {
    let house = House::new("mutability", &[]);
    let create = |name: &str, setting: &str, filters: &[&str]| {
        let filters: Vec<Value> =
            filters.iter().map(|filter| json!({"filterType": "WILDCARD", "filter": filter})).collect();
        let mut input = json!({"repositoryName": name, "imageTagMutability": setting});
        if !filters.is_empty() {
            input["imageTagMutabilityExclusionFilters"] = json!(filters);
        }
        house.client.ecr("CreateRepository", &input).unwrap()
    };
    let (status, made) = create("staging", "IMMUTABLE_WITH_EXCLUSION", &["latest", "dev-*"]);
    assert_eq!(status, 200, "{made}");
    let filters = &made["repository"]["imageTagMutabilityExclusionFilters"];
    assert_eq!(filters[1], json!({"filterType": "WILDCARD", "filter": "dev-*"}));
    assert_eq!(create("release", "MUTABLE_WITH_EXCLUSION", &["v*"]).0, 200);
    for (name, setting, filters) in [
        ("a1", "IMMUTABLE_WITH_EXCLUSION", vec![]),
        ("a2", "IMMUTABLE", vec!["x"]),
        ("a3", "MUTABLE", vec!["x"]),
        ("a4", "IMMUTABLE_WITH_EXCLUSION", vec!["a*b*c*"]),
        ("a5", "IMMUTABLE_WITH_EXCLUSION", vec!["a", "b", "c", "d", "e", "f"]),
        ("a6", "SOMETIMES", vec![]),
    ] {
        let (status, answer) = create(name, setting, &filters);
        assert_eq!((status, answer["__type"].as_str()), (400, Some("InvalidParameterException")), "{name} {answer}");
    }
    let push = |name: &str, tag: &str, content: &str| {
        let (config, layer) = (house.push_blob(name, b"{}"), house.push_blob(name, content.as_bytes()));
        let manifest = crate::image(&config, 2, &layer, content.len());
        let path = format!("/v2/{name}/manifests/{tag}");
        house.client.registry("PUT", &path, &[crate::IMAGE], manifest.as_bytes()).unwrap().status
    };
    for (name, tag, moves) in [
        ("staging", "latest", true),
        ("staging", "dev-7", true),
        ("staging", "v1", false),
        ("release", "v1", false),
        ("release", "latest", true),
    ] {
        assert_eq!(push(name, tag, "one"), 201);
        assert_eq!(push(name, tag, "two"), if moves { 201 } else { 400 }, "{name}:{tag}");
    }
    let set = json!({"repositoryName": "staging", "imageTagMutability": "MUTABLE"});
    assert_eq!(house.client.ecr("PutImageTagMutability", &set).unwrap().0, 200);
    assert_eq!(push("staging", "v1", "two"), 201);
}
