//! What is refused and with which words (IAM-27, POL-14), and what must be accepted in spite of appearances.

use std::{fs, path::Path};

use funaya_policy::{Document, Kind};
use proptest::prelude::*;
use serde_json::{Value, json};

pub const KINDS: [Kind; 9] = [
    Kind::Identity,
    Kind::Boundary,
    Kind::Session,
    Kind::ServiceControl,
    Kind::Repository,
    Kind::Registry,
    Kind::Trust,
    Kind::Key,
    Kind::Endpoint,
];

#[test]
fn every_malformed_document_is_refused_as_written() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/malformed.json");
    let cases: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut faults = Vec::new();
    for case in &cases {
        let kind: Kind = serde_json::from_value(case["kind"].clone()).unwrap();
        let stretch = case["stretch"].as_u64().unwrap_or_default() as usize;
        let text = case["text"].as_str().unwrap().replace("<stretch>", &"s".repeat(stretch));
        match Document::parse(&text, kind) {
            Ok(_) => faults.push(format!("{}: accepted", case["name"])),
            Err(fault) if fault.text() != case["expect"] => {
                faults.push(format!("{}: {} ({})", case["name"], fault.text(), fault.reason()));
            }
            Err(fault) => assert!(!fault.reason().is_empty(), "{}", case["name"]),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(cases.len() >= 80, "only {} cases", cases.len());
}

#[test]
fn what_looks_odd_is_accepted() {
    let own = json!({ "Effect": "Allow", "Action": "ecr:*", "Resource": "*" });
    let with = |name: &str, value: Value| {
        let mut statement = own.clone();
        statement[name] = value;
        statement
    };
    let cases = [
        (Kind::Identity, json!({ "Statement": own })),
        (Kind::Identity, json!({ "Version": "2008-10-17", "Id": "with spaces", "Statement": [own] })),
        (Kind::Identity, json!({ "Statement": with("Sid", json!("with spaces, and more")) })),
        (Kind::Identity, json!({ "Statement": [with("Sid", json!("")), with("Sid", json!(""))] })),
        (Kind::Identity, json!({ "Statement": with("Condition", json!({})) })),
        (Kind::Identity, json!({ "Statement": with("Condition", json!({ "Bool": { "aws:a": [true, false] } })) })),
        (Kind::Identity, json!({ "Statement": with("Condition", json!({ "NumericEquals": { "aws:a": 1.5 } })) })),
        (
            Kind::Identity,
            json!({ "Statement": with("Resource", json!("arn:aws-cn:ecr:*:*:repository/${aws:username}")) }),
        ),
        (Kind::Identity, json!({ "Statement": with("Resource", json!("arn:aws:iam::aws:policy/*")) })),
        (Kind::Repository, json!({ "Statement": { "Effect": "Allow", "Action": "ecr:*", "Principal": "*" } })),
        (
            Kind::Repository,
            json!({ "Statement": [
                { "Sid": "a", "Effect": "Allow", "Action": "ecr:*", "Principal": { "AWS": "111122223333" } },
                { "Sid": "a", "Effect": "Deny", "Action": "ecr:*", "NotPrincipal": { "AWS": "*" } },
            ] }),
        ),
        (
            Kind::Trust,
            json!({ "Statement": {
                "Effect": "Allow", "Action": "sts:*", "Principal": { "Federated": "cognito-identity.amazonaws.com" },
            } }),
        ),
    ];
    for (kind, document) in cases {
        let parsed = Document::parse(&document.to_string(), kind);
        assert!(parsed.is_ok(), "{document}: {:?}", parsed.err());
    }
}

/// White space does not count for IAM (COMP-905); the limit itself is allowed.
#[test]
fn sizes() {
    let document = |sid: usize| {
        let sid = "s".repeat(sid);
        format!(r#"{{ "Statement" : {{ "Sid": "{sid}", "Effect": "Allow", "Action": "ecr:*", "Resource": "*" }} }}"#)
    };
    let empty = Kind::Identity.size_of(&document(0));
    assert!(Document::parse(&document(6_144 - empty), Kind::Identity).is_ok());
    let fault = Document::parse(&document(6_145 - empty), Kind::Identity).unwrap_err();
    assert_eq!(fault.over_limit(), Some(6_144));
    assert!(Document::parse_within(&document(6_145 - empty), Kind::Identity, 10_240).is_ok());
    assert_eq!(Kind::Repository.size_of("{ }\n"), 4);
    assert_eq!(Kind::Trust.size_of("{ }\n"), 2);
    assert_eq!(Document::parse("{", Kind::Identity).unwrap_err().over_limit(), None);
}

/// JSON of all shapes, in which the words of the language occur.
fn json_value() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        "Version|Statement|Effect|Action|Resource|Principal|Condition|Sid|Id|NotAction|NotResource|NotPrincipal",
        "Allow|Deny|2012-10-17|2008-10-17|ecr:\\*|\\*|AWS|StringLike|IpAddress|DateEquals|Null|ForAnyValue:ArnLike",
        "[ -~é]{0,12}",
        "arn:aws:(iam|sts)::[0-9]{0,13}:(root|user/[a-z*$]{0,4})",
        "[$]\\{[a-z:,' *?$]{0,8}[}]?",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(7, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", kind in prop::sample::select(KINDS.to_vec())) {
        let _ = Document::parse(&text, kind);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::parse(&String::from_utf8_lossy(&bytes), Kind::Identity);
    }

    #[test]
    fn no_json_makes_it_panic(value in json_value(), kind in prop::sample::select(KINDS.to_vec())) {
        let _ = Document::parse(&value.to_string(), kind);
    }

    /// A statement with anything in place of one element.
    #[test]
    fn no_element_makes_it_panic(
        value in json_value(),
        element in prop::sample::select(vec!["Effect", "Action", "Resource", "Principal", "NotPrincipal", "Condition"]),
        kind in prop::sample::select(KINDS.to_vec()),
    ) {
        let mut statement = json!({ "Effect": "Deny", "Action": "sts:AssumeRole", "Resource": "*" });
        statement[element] = value;
        if let Ok(document) = Document::parse(&json!({ "Statement": statement }).to_string(), kind) {
            // What was accepted is accepted again as it reads back.
            let text = document.render(|_| None::<String>);
            prop_assert!(Document::parse(&text, kind).is_ok(), "{}", text);
        }
    }
}
