//! The audit log (13-audit-log-cloudtrail).

use std::path::Path;

use funaya_testkit::operator;
use serde_json::{Value, json};

use crate::{BIN, House};

fn records(house: &House) -> Vec<Value> {
    let text = operator(Path::new(BIN), &house.data(), "audit").unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// TRAIL-01, TRAIL-05, TRAIL-06, TRAIL-11 to TRAIL-14: calls of both doors, failures too, without secrets.
#[test]
fn every_call_leaves_a_record() {
    let house = House::new("audit", &[]);
    house.create("team/web");
    house.push_image("team/web", "v1", b"the layer");
    let client = &house.client;
    assert_eq!(
        client.registry("GET", "/v2/team/web/manifests/v1", &[("Accept", "a/b, c/d")], b"").unwrap().status,
        200
    );
    assert_eq!(client.registry("GET", "/v2/nobody/manifests/v1", &[], b"").unwrap().status, 404);
    let input = json!({"repositoryName": "team/web", "registryId": "210987654321"});
    assert_eq!(client.ecr("ListImages", &input).unwrap().0, 400);
    assert_eq!(client.ecr("PutReplicationConfiguration", &json!({})).unwrap().0, 400);
    // ERR-22: what is wrong with a call matters only to who may make it; both are recorded.
    let wrong = json!({"repositoryName": "team/web", "maxResults": 0});
    assert_eq!(client.ecr("DescribeImages", &wrong).unwrap().1["__type"], "InvalidParameterException");
    let wrong = json!({"repositoryName": "team/web", "maxResults": 0, "registryId": "210987654321"});
    assert_eq!(client.ecr("DescribeImages", &wrong).unwrap().1["__type"], "AccessDeniedException");
    let wrong = json!({"repositoryName": ["team/web"], "registryId": "210987654321"});
    assert_eq!(client.ecr("DescribeImages", &wrong).unwrap().1["__type"], "SerializationException");
    let arn = "arn:aws:ecr:us-east-1:123456789012:repository/team/web";
    let wrong = json!({"resourceArn": arn, "tags": [{"Key": "aws:x", "Value": ""}]});
    assert_eq!(client.ecr("TagResource", &wrong).unwrap().1["__type"], "InvalidTagParameterException");
    // Reads are written within a quarter of a second.
    std::thread::sleep(std::time::Duration::from_millis(900));
    let records = records(&house);
    let named = |name: &str| records.iter().filter(|record| record["eventName"] == name).collect::<Vec<_>>();
    for name in [
        "GetAuthorizationToken",
        "CreateRepository",
        "InitiateLayerUpload",
        "UploadLayerPart",
        "CompleteLayerUpload",
        "PutImage",
        "BatchGetImage",
    ] {
        assert!(!named(name).is_empty(), "{name}");
    }
    let created = named("CreateRepository")[0];
    assert_eq!(created["userIdentity"]["type"], "Root");
    assert_eq!(created["userIdentity"]["arn"], "arn:aws:iam::123456789012:root");
    assert_eq!(created["sourceIPAddress"], "127.0.0.1");
    assert_eq!(created["requestParameters"]["repositoryName"], "team/web");
    let arn = "arn:aws:ecr:us-east-1:123456789012:repository/team/web";
    assert_eq!(created["responseElements"]["repository"]["repositoryArn"], arn);
    assert_eq!(created["resources"], json!([{"ARN": arn, "accountId": "123456789012"}]));
    let pulled = named("BatchGetImage");
    assert_eq!(pulled[0]["requestParameters"]["imageIds"], json!([{"imageTag": "v1"}]));
    assert_eq!(pulled[0]["requestParameters"]["acceptedMediaTypes"], json!(["a/b", "c/d"]));
    assert_eq!(pulled[0]["responseElements"], Value::Null);
    assert!(pulled.iter().any(|record| record["errorCode"] == "RepositoryNotFoundException"));
    assert_eq!(named("PutReplicationConfiguration")[0]["errorCode"], "ValidationException");
    let mut codes: Vec<&str> =
        named("DescribeImages").iter().map(|record| record["errorCode"].as_str().unwrap()).collect();
    codes.sort_unstable();
    assert_eq!(codes, ["AccessDenied", "InvalidParameterException", "SerializationException"]);
    assert_eq!(named("TagResource")[0]["errorCode"], "InvalidTagParameterException");
    // A refusal stands in the log of the caller's account, whatever account it asked for.
    let denied = named("ListImages")[0];
    assert_eq!(denied["errorCode"], "AccessDenied");
    assert_eq!(denied["recipientAccountId"], "123456789012");
    let all = records.iter().map(ToString::to_string).collect::<String>();
    for secret in [funaya_testkit::SECRET_KEY, client.authorization().trim_start_matches("Basic ")] {
        assert!(!all.contains(secret), "a secret is in the log");
    }
    let ids: std::collections::HashSet<&str> = records.iter().filter_map(|record| record["eventID"].as_str()).collect();
    assert_eq!(ids.len(), records.len(), "event ids are unique");
}

/// A stop that was asked for loses no record.
#[test]
fn a_stop_writes_what_waits() {
    let house = House::new("auditstop", &[]);
    house.create("team/web");
    for _ in 0..200 {
        assert_eq!(house.client.registry("GET", "/v2/team/web/tags/list", &[], b"").unwrap().status, 200);
    }
    let House { scratch, server, .. } = house;
    assert!(server.terminate());
    let text = operator(Path::new(BIN), &scratch.path().join("data"), "audit").unwrap();
    assert_eq!(text.matches("\"eventName\":\"ListImages\"").count(), 200);
}
