//! Reasons: which statements decide, why the others do not apply, and what would have to be granted.

use funaya_policy::{Effect, Explanation, Mismatch, Outcome, PolicyType, SmallestGrant};
use serde_json::{Value, json};

use crate::world::Scene;

fn explain(case: Value) -> Explanation {
    Scene::read(case.as_object().unwrap(), &Value::Null).unwrap().explain()
}

fn document(statements: Value) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

#[test]
fn an_allow_names_its_statements() {
    let explanation = explain(json!({ "policies": { "identity": [
        document(json!([
            { "Sid": "push", "Effect": "Allow", "Action": "ecr:PutImage", "Resource": "*" },
            { "Sid": "pull", "Effect": "Allow", "Action": "ecr:BatchGet*", "Resource": "*" },
        ])),
        document(json!({ "Effect": "Allow", "Action": "ecr:*", "Resource": "*" })),
    ] } }));
    assert_eq!(explanation.outcome, Outcome::Allowed);
    let found: Vec<_> = explanation.deciding.iter().map(|s| (s.policy.as_str(), s.sid.as_deref(), s.index)).collect();
    assert_eq!(found, [("identity 0", Some("pull"), 1), ("identity 1", None, 0)]);
    assert_eq!(explanation.smallest_grant, SmallestGrant::Nothing);
}

#[test]
fn a_deny_names_what_must_change() {
    let explanation = explain(json!({ "policies": {
        "identity": ["AdministratorAccess"],
        "repository": document(json!([
            { "Sid": "no", "Effect": "Deny", "Principal": "*", "Action": "ecr:*" },
        ])),
    } }));
    assert_eq!(explanation.outcome, Outcome::ExplicitDeny { by: PolicyType::Resource });
    let SmallestGrant::ChangeDeny(denying) = &explanation.smallest_grant else { panic!("{explanation:?}") };
    assert_eq!(denying, &explanation.deciding);
    assert_eq!((denying[0].policy.as_str(), denying[0].sid.as_deref()), ("repository", Some("no")));
    assert_eq!(explanation.policies[0].effect, Some(Effect::Deny));
    assert_eq!(explanation.policies[1].effect, Some(Effect::Allow));
}

#[test]
fn every_mismatch_is_told() {
    let explanation = explain(json!({
        "context": { "aws:SourceIp": "10.0.0.1" },
        "policies": {
            "repository": document(json!([{
                "Effect": "Allow",
                "Principal": { "AWS": "444455556666" },
                "NotAction": "ecr:BatchGetImage",
                "Resource": ["arn:aws:ecr:*:*:repository/other"],
                "Condition": {
                    "IpAddress": { "aws:SourceIp": ["192.168.0.0/16"] },
                    "Bool": { "aws:SecureTransport": true },
                },
            }])),
        },
    }));
    let statement = &explanation.policies[0].statements[0];
    assert!(!statement.applies);
    assert_eq!(
        statement.mismatches,
        [
            Mismatch::Action { wanted: json!({ "NotAction": "ecr:BatchGetImage" }), had: "ecr:BatchGetImage".into() },
            Mismatch::Principal {
                wanted: json!({ "Principal": { "AWS": "444455556666" } }),
                had: "arn:aws:iam::111122223333:user/alice".into()
            },
            Mismatch::Resource {
                wanted: json!({ "Resource": ["arn:aws:ecr:*:*:repository/other"] }),
                had: "arn:aws:ecr:us-east-1:111122223333:repository/my-repo".into()
            },
            Mismatch::Condition {
                operator: "Bool".into(),
                key: "aws:SecureTransport".into(),
                wanted: vec!["true".into()],
                had: None
            },
            Mismatch::Condition {
                operator: "IpAddress".into(),
                key: "aws:SourceIp".into(),
                wanted: vec!["192.168.0.0/16".into()],
                had: Some(vec!["10.0.0.1".into()])
            },
        ]
    );
}

#[test]
fn missing_keys_are_those_of_this_action() {
    let explanation = explain(json!({ "policies": { "identity": [document(json!([
        {
            "Effect": "Allow",
            "Action": "ecr:BatchGetImage",
            "Resource": "arn:aws:ecr:*:*:repository/${aws:PrincipalTag/team}/${aws:PrincipalTag/unit, 'all'}",
            "Condition": {
                "StringEquals": { "aws:ResourceTag/owner": "${aws:username}", "aws:userid": "${aws:SourceIdentity}" },
            },
        },
        {
            "Effect": "Allow",
            "Action": "ecr:PutImage",
            "Resource": "*",
            "Condition": { "StringEquals": { "aws:RequestTag/owner": "x" } },
        },
    ]))] } }));
    assert_eq!(
        explanation.missing_context_keys,
        ["aws:PrincipalTag/team", "aws:ResourceTag/owner", "aws:SourceIdentity"]
    );
}

#[test]
fn the_smallest_grant_has_a_statement_for_each_policy_that_lacks_one() {
    let other = json!({ "Effect": "Allow", "Action": "ecr:PutImage", "Resource": "*" });
    let explanation = explain(json!({
        "principal": "mallory",
        "policies": {
            "service_control": [["AdministratorAccess"], [document(other.clone())]],
            "boundary": document(other),
            "repository": document(json!({ "Effect": "Allow", "Principal": "*", "Action": "ecr:PutImage" })),
        },
    }));
    let SmallestGrant::Add(grants) = explanation.smallest_grant else { panic!("{explanation:?}") };
    let on_resource = json!({
        "Effect": "Allow",
        "Action": "ecr:BatchGetImage",
        "Resource": "arn:aws:ecr:us-east-1:111122223333:repository/my-repo",
    });
    let found: Vec<_> = grants
        .iter()
        .map(|grant| (grant.policy_type, grant.policy.as_ref().map(|name| name.as_str()), &grant.statement))
        .collect();
    let on_repository = json!({
        "Effect": "Allow",
        "Action": "ecr:BatchGetImage",
        "Principal": { "AWS": "arn:aws:iam::444455556666:user/mallory" },
    });
    assert_eq!(
        found,
        [
            (PolicyType::ServiceControl, Some("SCP"), &on_resource),
            (PolicyType::Identity, None, &on_resource),
            (PolicyType::Boundary, Some("boundary"), &on_resource),
            (PolicyType::Resource, Some("repository"), &on_repository),
        ]
    );
}

#[test]
fn a_grant_names_the_resource_alone() {
    let explanation = explain(json!({ "resource": "arn:aws:ecr:us-east-1:111122223333:repository/*" }));
    let SmallestGrant::Add(grants) = explanation.smallest_grant else { panic!("{explanation:?}") };
    assert_eq!(grants[0].statement["Resource"], "arn:aws:ecr:us-east-1:111122223333:repository/${*}");
}

#[test]
fn nobody_can_be_granted_nothing() {
    let explanation = explain(json!({ "principal": "anonymous" }));
    assert_eq!(explanation.smallest_grant, SmallestGrant::Impossible);
}

#[test]
fn it_serialises() {
    let explanation = explain(json!({ "policies": { "identity": ["IAMReadOnlyAccess"] } }));
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["outcome"], json!({ "ImplicitDeny": { "missing": "Identity" } }));
    assert_eq!(json["policies"][0]["policy"], "identity 0");
    assert_eq!(json["policies"][0]["statements"][0]["mismatches"][0]["element"], "Action");
    assert_eq!(json["smallest_grant"]["Add"][0]["policy_type"], "Identity");
}
