//! When images were last pulled, and whose pulls do not count.

use std::{thread::sleep, time::Duration};

use funaya_testkit::{Client, Key};
use serde_json::{Value, json};

use crate::{House, iam};

fn call(client: &Client, operation: &str, input: &Value) -> Value {
    let (status, answer) = client.ecr(operation, input).unwrap();
    assert_eq!(status, 200, "{operation}: {answer}");
    answer
}

fn refused(client: &Client, operation: &str, input: &Value) -> String {
    let (status, answer) = client.ecr(operation, input).unwrap();
    assert_eq!(status, 400, "{operation}: {answer}");
    answer["__type"].as_str().unwrap_or_default().to_owned()
}

/// API-37, API-48, API-54: the list of principals, its pages and its faults.
#[test]
fn principals_are_excluded() {
    let house = House::new("exclusions", &[]);
    let arn = |name: &str| format!("arn:aws:iam::123456789012:{name}");
    let of = |name: &str| json!({"principalArn": arn(name)});
    let register = |name: &str| house.client.ecr("RegisterPullTimeUpdateExclusion", &of(name)).unwrap();
    let (status, made) = register("role/scanner");
    assert_eq!((status, &made["principalArn"]), (200, &json!(arn("role/scanner"))));
    assert!(made["createdAt"].as_f64().unwrap() > 1.0e9, "{made}");
    assert_eq!(
        refused(&house.client, "RegisterPullTimeUpdateExclusion", &of("role/scanner")),
        "ExclusionAlreadyExistsException"
    );
    for name in ["root", "user", "user/", "group/a", "role/a b", "role//a", "assumed-role/a/b"] {
        assert_eq!(
            refused(&house.client, "RegisterPullTimeUpdateExclusion", &of(name)),
            "InvalidParameterException",
            "{name}"
        );
    }
    for number in 1..100 {
        assert_eq!(register(&format!("user/path/u{number}")).0, 200);
    }
    assert_eq!(refused(&house.client, "RegisterPullTimeUpdateExclusion", &of("user/more")), "LimitExceededException");
    let (mut seen, mut token) = (Vec::new(), Value::Null);
    loop {
        let mut input = json!({"maxResults": 30});
        if !token.is_null() {
            input["nextToken"] = token.clone();
        }
        let page = call(&house.client, "ListPullTimeUpdateExclusions", &input);
        seen.extend(page["pullTimeUpdateExclusions"].as_array().unwrap().clone());
        token = page["nextToken"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(seen.len(), 100);
    assert!(seen.contains(&json!(arn("role/scanner"))) && seen.contains(&json!(arn("user/path/u99"))));
    call(&house.client, "DeregisterPullTimeUpdateExclusion", &of("role/scanner"));
    let again = refused(&house.client, "DeregisterPullTimeUpdateExclusion", &of("role/scanner"));
    assert_eq!(again, "ExclusionNotFoundException");
    let elsewhere = Client::in_region(&house.server.url, "eu-central-1");
    assert!(elsewhere.is_err() || elsewhere.unwrap().ecr("ListPullTimeUpdateExclusions", &json!({})).unwrap().0 != 200);
}

/// IMG-54: a pull by either API is noted within seconds; one by an excluded user is not, and counts again later.
#[test]
fn pulls_of_the_excluded_do_not_count() {
    let house = House::new("pull-times", &[]);
    house.create("app");
    house.push_image("app", "a", b"one");
    house.push_image("app", "b", b"two");
    let allow = r#"{"Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"*"}}"#;
    let (id, secret) = iam::user_key(&house.client, "scanner", allow);
    let mut scanner = house.client.of(Key { id, secret, token: None }).unwrap();
    scanner.log_in().unwrap();
    let of = json!({"principalArn": "arn:aws:iam::123456789012:user/scanner"});
    call(&house.client, "RegisterPullTimeUpdateExclusion", &of);
    let pulled_at = |tag: &str| {
        let input = json!({"repositoryName": "app", "imageIds": [{"imageTag": tag}]});
        call(&house.client, "DescribeImages", &input)["imageDetails"][0]["lastRecordedPullTime"].clone()
    };
    let pull = |tag: &str| {
        assert_eq!(scanner.registry("GET", &format!("/v2/app/manifests/{tag}"), &[], b"").unwrap().status, 200);
        call(&scanner, "BatchGetImage", &json!({"repositoryName": "app", "imageIds": [{"imageTag": tag}]}));
    };
    let wait_for = |tag: &str| {
        let seen = (0..60).any(|_| {
            sleep(Duration::from_millis(250));
            !pulled_at(tag).is_null()
        });
        assert!(seen, "{tag}");
    };
    pull("a");
    // Noted in the order of the pulls: when this one is, the other would be.
    let ids = json!({"repositoryName": "app", "imageIds": [{"imageTag": "b"}]});
    call(&house.client, "BatchGetImage", &ids);
    wait_for("b");
    assert!(pulled_at("a").is_null());
    call(&house.client, "DeregisterPullTimeUpdateExclusion", &of);
    pull("a");
    wait_for("a");
}
