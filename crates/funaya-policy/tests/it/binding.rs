//! Principals bound to unique ids (POL-15), and reading a document back (POL-23).

use funaya_policy::{Document, Kind};
use serde_json::{Value, json};

const ALICE: &str = "arn:aws:iam::111122223333:user/alice";
const DEPLOY: &str = "arn:aws:iam::111122223333:role/ci/deploy";

fn document() -> Document {
    let text = json!({
        "Version": "2012-10-17",
        "Id": "x",
        "Statement": [
            {
                "Sid": "a",
                "Effect": "Allow",
                "Principal": { "Service": "ecs.amazonaws.com", "AWS": [ALICE, "111122223333", DEPLOY] },
                "Action": "ecr:PutImage",
                "Condition": { "ArnEquals": { "aws:PrincipalArn": ALICE } },
            },
            { "Effect": "Deny", "NotPrincipal": { "AWS": ALICE }, "Action": ["ecr:*"] },
            { "Effect": "Deny", "Principal": { "AWS": "AIDABOB0000000000001" }, "Action": ["ecr:*"] },
            { "Effect": "Allow", "Principal": "*", "Action": "ecr:ListImages" },
        ],
    });
    Document::parse(&text.to_string(), Kind::Repository).unwrap()
}

fn rendered(document: &Document, arn_of: impl Fn(&str) -> Option<String>) -> Value {
    serde_json::from_str(&document.render(arn_of)).unwrap()
}

#[test]
fn it_lists_what_is_to_be_bound() {
    assert_eq!(document().principal_arns(), [DEPLOY, ALICE]);
    assert_eq!(document().principal_ids(), ["AIDABOB0000000000001"]);
}

#[test]
fn unbound_it_reads_back_as_written() {
    let text = r#"{
        "Statement": {
            "Sid": "über \u0041", "Action": ["ecr:*"], "Effect": "Deny", "Principal": {"AWS": "111122223333"},
            "Condition": {"NumericEquals": {"a:b": [1.50, 10000000000000000000]}, "Bool": {"a:c": true}}
        },
        "Id": "x"
    }"#;
    let document = Document::parse(text, Kind::Repository).unwrap();
    assert_eq!(
        document.render(|_| None::<String>),
        concat!(
            r#"{"Statement":{"Sid":"über A","Action":["ecr:*"],"Effect":"Deny","Principal":{"AWS":"111122223333"},"#,
            r#""Condition":{"NumericEquals":{"a:b":[1.5,10000000000000000000]},"Bool":{"a:c":true}}},"Id":"x"}"#
        )
    );
}

#[test]
fn bound_it_shows_arns_that_exist_and_ids_of_the_gone() {
    let ids = |arn: &str| match arn {
        ALICE => Some("AIDAALICE00000000001"),
        DEPLOY => Some("AROADEPLOY0000000001"),
        _ => None,
    };
    let bound = document().bind(ids);
    let moved = "arn:aws:iam::111122223333:user/staff/alice";
    let back = rendered(&bound, |id| (id == "AIDAALICE00000000001").then(|| moved.into()));
    let first = &back["Statement"][0];
    assert_eq!(first["Principal"]["AWS"], json!([moved, "111122223333", "AROADEPLOY0000000001"]));
    assert_eq!(first["Principal"]["Service"], "ecs.amazonaws.com");
    assert_eq!(first["Condition"]["ArnEquals"]["aws:PrincipalArn"], ALICE, "only principals are bound");
    assert_eq!(back["Statement"][1]["NotPrincipal"]["AWS"], moved);
    assert_eq!(back["Statement"][2]["Principal"]["AWS"], "AIDABOB0000000000001");
    assert_eq!(back["Statement"][3]["Principal"], "*");
}

#[test]
fn what_has_no_id_reads_back_by_its_arn() {
    let bound = document().bind(|_| None::<String>);
    let back = rendered(&bound, |_| None);
    assert_eq!(back["Statement"][1]["NotPrincipal"]["AWS"], ALICE);
    assert_eq!(bound.principal_arns(), [DEPLOY, ALICE]);
}
