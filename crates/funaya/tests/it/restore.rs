//! Bringing back what was deleted, as an operator does (D6).

use std::process::Command;

use serde_json::{Value, json};

use crate::{BIN, House};

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
