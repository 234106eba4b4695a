//! Lifecycle policies (06-lifecycle-policies).

use std::{path::Path, time::Duration};

use funaya_testkit::operator;
use serde_json::{Value, json};

use crate::{BIN, House, IMAGE, image};

const DAY: i64 = 86_400;
const TOKEN: &str = "x-funaya-lifecycle-token";

fn house(name: &str) -> House {
    let house = House::new(name, &[("FUNAYA_TEST_CLOCK", "1")]);
    house.create("team/web");
    house
}

/// Lets time pass, and logs in again as registry tokens end.
fn pass(house: &mut House, seconds: i64) {
    house.client.advance(seconds).unwrap();
    house.client.log_in().unwrap();
}

fn call(house: &House, operation: &str, more: Value) -> (u16, Value) {
    let mut input = json!({"repositoryName": "team/web"});
    input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    house.client.ecr(operation, &input).unwrap()
}

fn rule(priority: u64, selection: Value) -> Value {
    json!({"rulePriority": priority, "selection": selection, "action": {"type": "expire"}})
}

/// A policy of at least 100 characters (LIFE-20).
fn policy(rules: &[Value]) -> String {
    format!("{:100}", json!({"rules": rules}).to_string())
}

/// Pushes an image with these tags; returns its digest.
fn push(house: &House, tags: &[&str], content: &str) -> String {
    let (config, layer) = (house.push_blob("team/web", b"{}"), house.push_blob("team/web", content.as_bytes()));
    put(house, tags, &image(&config, 2, &layer, content.len()))
}

fn put(house: &House, tags: &[&str], manifest: &str) -> String {
    let digest = funaya_testkit::digest(manifest.as_bytes());
    let references: &[&str] = if tags.is_empty() { &[digest.as_str()] } else { tags };
    for reference in references {
        let path = format!("/v2/team/web/manifests/{reference}");
        let put = house.client.registry("PUT", &path, &[IMAGE], manifest.as_bytes()).unwrap();
        assert_eq!(put.status, 201, "{}", put.text());
    }
    digest
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..100 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{what} did not come");
}

/// The digests that a finished preview shows, with the priorities of their rules, and its token.
fn preview(house: &House, text: Option<&str>) -> (Vec<(String, u64)>, String) {
    let start = text.map_or(json!({}), |text| json!({"lifecyclePolicyText": text}));
    let (status, started) = call(house, "StartLifecyclePolicyPreview", start);
    assert_eq!((status, started["status"].as_str()), (200, Some("IN_PROGRESS")), "{started}");
    wait_for("the preview", || {
        let input = json!({"repositoryName": "team/web"});
        let answer = house.client.ecr_with("GetLifecyclePolicyPreview", &input, &[]).unwrap();
        let shown: Value = serde_json::from_slice(&answer.body).unwrap();
        if shown["status"] != "COMPLETE" {
            return None;
        }
        let results = shown["previewResults"].as_array().unwrap();
        assert_eq!(shown["summary"]["expiringImageTotalCount"], results.len());
        let marked = results.iter().map(|result| {
            assert_eq!(result["action"]["type"], "EXPIRE");
            (result["imageDigest"].as_str().unwrap().to_owned(), result["appliedRulePriority"].as_u64().unwrap())
        });
        Some((marked.collect(), answer.header(TOKEN).to_owned()))
    })
}

fn digests(house: &House) -> Vec<String> {
    let (_, images) = call(house, "DescribeImages", json!({}));
    let images = images["imageDetails"].as_array().unwrap();
    images.iter().map(|image| image["imageDigest"].as_str().unwrap().to_owned()).collect()
}

/// LIFE-03, LIFE-41, LIFE-42, LIFE-46, LIFE-47: what there is not, and what is refused.
#[test]
fn policies_are_put_and_taken_away() {
    let house = house("lifecycle-api");
    let refused = |operation: &str, more: Value, error: &str, text: &str| {
        let (status, answer) = call(&house, operation, more);
        assert_eq!((status, answer["__type"].as_str()), (400, Some(error)), "{operation}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(text), "{operation}: {answer}");
    };
    let none = "Lifecycle policy does not exist for the repository with name 'team/web'";
    refused("GetLifecyclePolicy", json!({}), "LifecyclePolicyNotFoundException", none);
    refused("DeleteLifecyclePolicy", json!({}), "LifecyclePolicyNotFoundException", none);
    refused("StartLifecyclePolicyPreview", json!({}), "LifecyclePolicyNotFoundException", none);
    refused("GetLifecyclePolicyPreview", json!({}), "LifecyclePolicyPreviewNotFoundException", "does not exist");
    let kept = policy(&[rule(7, json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 9}))]);
    assert_eq!(call(&house, "PutLifecyclePolicy", json!({"lifecyclePolicyText": kept})).0, 200);
    for (text, reason) in [
        (policy(&[json!({})]), "object has missing required properties"),
        ("x".repeat(100), "Could not map policyString into LifecyclePolicy."),
        ("x".repeat(30_721), "must have length less than or equal to 30720"),
        (policy(&vec![rule(1, json!({})); 51]), "at most 50 elements"),
        ("{}".into(), "must have length greater than or equal to 100"),
    ] {
        refused("PutLifecyclePolicy", json!({"lifecyclePolicyText": text}), "InvalidParameterException", reason);
        refused(
            "StartLifecyclePolicyPreview",
            json!({"lifecyclePolicyText": text}),
            "InvalidParameterException",
            reason,
        );
    }
    let (_, found) = call(&house, "GetLifecyclePolicy", json!({}));
    assert_eq!(found["lifecyclePolicyText"], kept);
    wait_for("the first run", || {
        let (_, found) = call(&house, "GetLifecyclePolicy", json!({}));
        (found["lastEvaluatedAt"].as_f64().unwrap() > 0.0).then_some(())
    });
    let (status, deleted) = call(&house, "DeleteLifecyclePolicy", json!({}));
    assert_eq!((status, deleted["lifecyclePolicyText"].as_str()), (200, Some(kept.as_str())));
    refused("GetLifecyclePolicy", json!({}), "LifecyclePolicyNotFoundException", none);
}

/// LIFE-02, LIFE-04, LIFE-48, LIFE-57, TRAIL-20 to TRAIL-24: the guide's last example, previewed
/// and run; both mark the same images, and each removal is on record.
#[test]
fn a_run_does_what_its_preview_showed() {
    let mut house = house("lifecycle-run");
    let ages: [&[&str]; 5] = [&["alpha-1", "beta-1"], &[], &["alpha-2"], &["git-hash"], &[]];
    let mut pushed = Vec::new();
    for (number, tags) in ages.iter().enumerate() {
        pushed.push(push(&house, tags, &format!("layer {number}")));
        pass(&mut house, if number == 3 { 60 } else { DAY });
    }
    let text = policy(&[
        rule(
            1,
            json!({"tagStatus": "tagged", "tagPrefixList": ["alpha"], "countType": "imageCountMoreThan",
            "countNumber": 1}),
        ),
        rule(
            2,
            json!({"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days",
            "countNumber": 2}),
        ),
        rule(3, json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1})),
    ]);
    let (shown, _) = preview(&house, Some(&text));
    let want = [(pushed[0].clone(), 1), (pushed[1].clone(), 2), (pushed[3].clone(), 3)];
    assert_eq!(shown, want);
    assert_eq!(digests(&house).len(), 5, "a preview deletes nothing (LIFE-45)");
    let (_, filtered) = call(&house, "GetLifecyclePolicyPreview", json!({"filter": {"tagStatus": "UNTAGGED"}}));
    assert_eq!(filtered["previewResults"].as_array().unwrap().len(), 1);
    let (_, page) = call(&house, "GetLifecyclePolicyPreview", json!({"maxResults": 2}));
    let (_, rest) = call(&house, "GetLifecyclePolicyPreview", json!({"maxResults": 2, "nextToken": page["nextToken"]}));
    assert_eq!(rest["previewResults"][0]["imageDigest"], pushed[3]);
    assert_eq!(call(&house, "PutLifecyclePolicy", json!({"lifecyclePolicyText": text})).0, 200);
    wait_for("the run", || (digests(&house).len() == 2).then_some(()));
    assert_eq!(digests(&house), [pushed[2].clone(), pushed[4].clone()]);
    std::thread::sleep(Duration::from_millis(900));
    let log = operator(Path::new(BIN), &house.data(), "audit").unwrap();
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let runs: Vec<Value> = records.filter(|record| record["eventName"] == "PolicyExecutionEvent").collect();
    assert_eq!(runs.len(), 1);
    let run = &runs[0];
    assert_eq!(run["userIdentity"], json!({"accountId": "123456789012", "invokedBy": "AWS Internal"}));
    assert_eq!((run["eventType"].as_str(), run["readOnly"].as_bool()), (Some("AwsServiceEvent"), Some(true)));
    let details = &run["serviceEventDetails"];
    assert_eq!(
        details["lifecycleEventPolicy"]["lifecycleEventRules"][1]["lifecycleEventSelection"]["countType"],
        "Since image pushed"
    );
    let actions = details["lifecycleEventImageActions"].as_array().unwrap();
    let removed: Vec<(String, u64)> = actions
        .iter()
        .map(|action| {
            let digest = action["lifecycleEventImage"]["digest"].as_str().unwrap();
            (digest.to_owned(), action["rulePriority"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(removed, want);
    // The next evaluation comes by itself, a day later.
    let last = push(&house, &["v9"], "the last");
    assert_eq!(digests(&house).len(), 3);
    pass(&mut house, DAY + 60);
    wait_for("the next run", || (digests(&house) == [pushed[2].clone(), last.clone()]).then_some(()));
}

/// The preview's token: a policy is put only if it does what was shown.
#[test]
fn a_preview_is_a_contract() {
    let house = house("lifecycle-token");
    push(&house, &["v1"], "one");
    push(&house, &["v2"], "two");
    let text = policy(&[rule(1, json!({"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}))]);
    let (shown, token) = preview(&house, Some(&text));
    assert_eq!(shown.len(), 1);
    // Of single images (API-15): those that stay are not in it, each of the others is once.
    let asked = |ids: Value| call(&house, "GetLifecyclePolicyPreview", json!({"imageIds": ids}));
    let ids = json!([{"imageTag": "v2"}, {"imageTag": "v1"}, {"imageDigest": shown[0].0}, {"imageTag": "no such"}]);
    let (status, answer) = asked(ids);
    let results = answer["previewResults"].as_array().unwrap();
    assert_eq!((status, results.len()), (200, 1), "{answer}");
    assert_eq!((&results[0]["imageDigest"], &answer["nextToken"]), (&json!(shown[0].0), &Value::Null));
    assert_eq!(asked(json!([{}])).0, 400);
    let input = json!({"repositoryName": "team/web", "lifecyclePolicyText": text});
    let put = |token: &str| house.client.ecr_with("PutLifecyclePolicy", &input, &[(TOKEN, token)]).unwrap();
    push(&house, &["v3"], "three");
    let refused = put(&token);
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("not those of the preview"), "{}", refused.text());
    assert_eq!(call(&house, "GetLifecyclePolicy", json!({})).0, 400);
    let (shown, token) = preview(&house, Some(&text));
    assert_eq!((shown.len(), put(&token).status), (2, 200));
    wait_for("the run", || (digests(&house).len() == 1).then_some(()));
}

/// LIFE-39: what an index refers to stays, and what is attached to an image goes with it.
#[test]
fn families_stay_together() {
    let mut house = house("lifecycle-family");
    let child = push(&house, &[], "a platform");
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": IMAGE.1, "digest": child, "size": 0}],
    });
    let size = house.client.registry("GET", &format!("/v2/team/web/manifests/{child}"), &[], b"").unwrap().body.len();
    let index = index.to_string().replace("\"size\":0", &format!("\"size\":{size}"));
    let kind = ("Content-Type", "application/vnd.oci.image.index.v1+json");
    let pushed = house.client.registry("PUT", "/v2/team/web/manifests/multi", &[kind], index.as_bytes()).unwrap();
    assert_eq!(pushed.status, 201, "{}", pushed.text());
    let old = push(&house, &["old"], "old");
    let manifest = house.client.registry("GET", &format!("/v2/team/web/manifests/{old}"), &[], b"").unwrap();
    let empty = house.push_blob("team/web", b"{}");
    let signature = json!({
        "schemaVersion": 2, "mediaType": IMAGE.1, "artifactType": "application/vnd.example.signature",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2}],
        "subject": {"mediaType": IMAGE.1, "digest": old, "size": manifest.body.len()},
    });
    let signature = put(&house, &[], &signature.to_string());
    let text = policy(&[
        rule(1, json!({"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 1})),
        rule(
            2,
            json!({"tagStatus": "tagged", "tagPatternList": ["o*d"], "countType": "sinceImagePushed",
            "countUnit": "days", "countNumber": 1}),
        ),
    ]);
    assert_eq!(preview(&house, Some(&text)).0, []);
    pass(&mut house, 2 * DAY);
    assert_eq!(preview(&house, Some(&text)).0, [(old, 2), (signature, 2)]);
    assert_eq!(call(&house, "PutLifecyclePolicy", json!({"lifecyclePolicyText": text})).0, 200);
    wait_for("the run", || (digests(&house).len() == 2).then_some(()));
    assert!(digests(&house).contains(&child));
}
