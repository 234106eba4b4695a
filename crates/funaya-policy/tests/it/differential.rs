//! Random requests under random policies: the crate and the reference must agree, and the smallest grant must suffice.

use std::{cell::RefCell, collections::BTreeMap};

use funaya_policy::{Mismatch, Outcome, Principal, SmallestGrant};
use proptest::{
    prelude::*,
    sample::{select, subsequence},
    test_runner::{Config, TestRunner},
};
use serde_json::{Map, Value, json};

use crate::world::{ABROAD, HOME, NAMES, REPOSITORY, Scene, principal};

const ROLE: &str = "arn:aws:iam::111122223333:role/ci/deploy";
const KEY: &str = "arn:aws:kms:us-west-2:111122223333:key/1";
const FOLDER: &str = "arn:aws:ecr:us-east-1:111122223333:repository/alice/app";
const ACTIONS: [&str; 4] = ["ecr:BatchGetImage", "ecr:PutImage", "sts:AssumeRole", "kms:Decrypt"];
const OPERATORS: [&str; 28] = [
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "Bool",
    "BinaryEquals",
    "IpAddress",
    "NotIpAddress",
    "ArnEquals",
    "ArnLike",
    "ArnNotEquals",
    "ArnNotLike",
    "Null",
    "Null",
];

/// Keys, values of requests, values of policies.
fn pools(operator: &str) -> (Vec<&'static str>, Vec<&'static str>) {
    match operator {
        _ if operator.starts_with("Numeric") => (vec!["test:Number"], vec!["1", "2", "2.5", "-3", "1e1"]),
        _ if operator.starts_with("Date") => (
            vec!["aws:CurrentTime", "aws:EpochTime"],
            vec![
                "2020-07-01T00:00:00Z",
                "2020-07-01",
                "2020-06-30T23:00:00-02:00",
                "1593561600",
                "2020-02-29T12:30Z",
                "1999-12-31T23:59:59Z",
            ],
        ),
        "Bool" => (vec!["aws:SecureTransport", "aws:MultiFactorAuthPresent"], vec!["true", "false", "TRUE"]),
        "BinaryEquals" => (vec!["test:Binary"], vec!["QQ==", "QUI=", "QUJD"]),
        "IpAddress" | "NotIpAddress" => (
            vec!["aws:SourceIp"],
            vec![
                "10.0.0.0/8",
                "10.1.2.3",
                "0.0.0.0/0",
                "::/0",
                "2001:db8::/33",
                "::ffff:10.1.0.0/112",
                "10.1.2.9/29",
                "::fffe:0:0/90",
            ],
        ),
        _ if operator.starts_with("Arn") => (
            vec!["aws:SourceArn", "aws:PrincipalArn"],
            vec![
                "*",
                "arn:aws:iam::*:user/*",
                "arn:aws:iam::111122223333:user/${aws:username}",
                "arn:*:*:*:*:*",
                "arn:aws:events:us-?ast-1:111122223333:rule/nightly",
                "${aws:PrincipalArn}",
                "arn:aws:sns:*:${aws:PrincipalTag/team, '111122223333'}:*",
                "arn:aws:iam::111122223333:role/ci/${*}",
            ],
        ),
        "Null" => (vec!["aws:TagKeys", "aws:username", "aws:PrincipalTag/team"], vec!["true", "false"]),
        _ => (
            vec!["aws:PrincipalTag/team", "aws:ResourceTag/owner", "aws:username", "aws:TagKeys", "AWS:principaltype"],
            vec![
                "blue",
                "BLUE",
                "b*",
                "?lue",
                "*",
                "alice",
                "User",
                "${aws:username}",
                "${aws:PrincipalTag/team}",
                "${aws:ResourceTag/owner, 'blue'}",
                "${*}",
                "${aws:TagKeys}",
                "${aws:username}-${$}*",
                "",
            ],
        ),
    }
}

fn context() -> impl Strategy<Value = Value> {
    let value = |key: &'static str, values: Vec<&'static str>| {
        prop::option::weighted(0.7, select(values).prop_map(Value::from)).prop_map(move |v| (key, v))
    };
    let tags = subsequence(vec!["blue", "alice", "b*", "User"], 0..4).prop_map(|tags| json!(tags));
    let tag_keys = prop::option::weighted(0.7, tags).prop_map(|v| ("aws:TagKeys", v));
    let all = (
        value("test:Number", vec!["1", "2", "2.50", "-3", "10", "x"]),
        value("aws:CurrentTime", vec!["2020-07-01T00:00:00Z", "2020-07-01T01:00:00Z", "2020-02-29T12:30:00Z", "soon"]),
        value("aws:EpochTime", vec!["1593561600", "1593565200", "946684799"]),
        value("aws:SecureTransport", vec!["true", "false", "maybe"]),
        value("aws:MultiFactorAuthPresent", vec!["true", "false"]),
        value("test:Binary", vec!["QQ==", "QUI=", "not base64"]),
        value("aws:SourceIp", vec!["10.1.2.3", "10.1.2.15", "8.8.8.8", "2001:db8::1", "::ffff:10.1.0.9", "host"]),
        value(
            "aws:SourceArn",
            vec![
                "arn:aws:events:us-east-1:111122223333:rule/nightly",
                "arn:aws:iam::111122223333:user/alice",
                "arn:aws:sns:us-east-1:111122223333:a:b",
                "arn:aws:iam::111122223333:role/ci/*",
                "nightly",
            ],
        ),
        value("aws:PrincipalTag/team", vec!["blue", "Blue", "*", "alice", "444455556666", ""]),
        value("aws:ResourceTag/owner", vec!["alice", "blue", "b*", "alice-$x", "*"]),
        tag_keys,
    );
    all.prop_map(|(a, b, c, d, e, f, g, h, i, j, k)| {
        let entries = [a, b, c, d, e, f, g, h, i, j, k];
        let present = entries.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?)));
        Value::Object(present.collect::<Map<_, _>>())
    })
}

/// One operator with one key.
fn condition() -> impl Strategy<Value = (String, Value)> {
    let operator =
        (select(OPERATORS.to_vec()), select(vec!["", "", "", "ForAllValues:", "ForAnyValue:"]), any::<bool>());
    operator.prop_flat_map(|(base, set, if_exists)| {
        let suffix = if if_exists && base != "Null" { "IfExists" } else { "" };
        let operator = format!("{set}{base}{suffix}");
        let (keys, values) = pools(base);
        let values = prop_oneof![
            select(values.clone()).prop_map(Value::from),
            subsequence(values.clone(), 0..=3.min(values.len())).prop_map(|values| json!(values)),
        ];
        (select(keys), values).prop_map(move |(key, values)| (operator.clone(), json!({ key: values })))
    })
}

fn one_or_more(values: Vec<&'static str>) -> impl Strategy<Value = Value> {
    let several = 1..=3.min(values.len());
    prop_oneof![
        3 => select(values.clone()).prop_map(Value::from),
        1 => subsequence(values, several).prop_map(|values| json!(values)),
    ]
}

fn effect() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just("Allow"), 1 => Just("Deny")]
}

fn element(name: &'static str, value: impl Strategy<Value = Value>) -> impl Strategy<Value = (String, Value)> {
    let negated = prop::bool::weighted(0.15);
    (negated, value).prop_map(move |(no, value)| (if no { format!("Not{name}") } else { name.into() }, value))
}

fn actions(trust: bool) -> impl Strategy<Value = (String, Value)> {
    let all = if trust {
        vec!["sts:AssumeRole", "sts:*", "STS:assume*", "sts:TagSession"]
    } else {
        vec!["*", "ecr:*", "ecr:Batch*", "ECR:?utImage", "sts:*", "kms:De*", "ecr:PutImage", "ecr:*Image", "kms:*"]
    };
    element("Action", one_or_more(all))
}

fn resources() -> impl Strategy<Value = (String, Value)> {
    let all = vec![
        "*",
        "*",
        "*",
        REPOSITORY,
        "arn:aws:ecr:*:*:repository/*",
        "arn:aws:ecr:*:111122223333:repository/${aws:username}/*",
        "arn:aws:ecr:us-east-?:*:*/${aws:PrincipalTag/team, 'alice'}*",
        "arn:aws:iam::*:role/*",
        "arn:aws:kms:*:*:key/1",
        "arn:aws:ecr:*:*:repository/my${*}",
    ];
    element("Resource", one_or_more(all))
}

fn principals() -> impl Strategy<Value = Value> {
    let aws = vec![
        "*",
        HOME,
        "arn:aws:iam::111122223333:root",
        ABROAD,
        "arn:aws:iam::111122223333:user/alice",
        "arn:aws:iam::111122223333:user/bob",
        "arn:aws:iam::444455556666:user/mallory",
        ROLE,
        "arn:aws:sts::111122223333:assumed-role/deploy/build-7",
        "arn:aws:sts::111122223333:federated-user/visitor",
        "arn:aws:sts::111122223333:federated-user/guest",
        "AIDAALICE00000000001",
        "AROADEPLOY0000000002",
    ];
    prop_oneof![
        2 => Just(json!("*")),
        5 => one_or_more(aws).prop_map(|aws| json!({ "AWS": aws })),
        1 => select(vec!["codebuild.amazonaws.com", "ecs.amazonaws.com"]).prop_map(|name| json!({ "Service": name })),
        1 => select(vec!["saml-provider/Corp", "oidc-provider/token.actions.githubusercontent.com"])
            .prop_map(|name| json!({ "Federated": format!("arn:aws:iam::{HOME}:{name}"), "AWS": HOME })),
    ]
}

/// A document with principals for `who`, with resources unless it is a trust policy.
fn document(who: bool, trust: bool) -> impl Strategy<Value = Value> {
    let conditions = prop::collection::vec(condition(), 0..3);
    let statement = (effect(), actions(trust), resources(), principals(), prop::bool::weighted(0.15), conditions);
    let statement = statement.prop_map(move |(effect, actions, resources, principals, not, conditions)| {
        let mut statement = Map::new();
        statement.insert("Effect".into(), effect.into());
        statement.extend([actions]);
        if !trust {
            statement.extend([resources]);
        }
        if who {
            let name = if not && effect == "Deny" { "NotPrincipal" } else { "Principal" };
            statement.insert(name.into(), principals);
        }
        let conditions: Map<String, Value> = conditions.into_iter().collect();
        if !conditions.is_empty() {
            statement.insert("Condition".into(), Value::Object(conditions));
        }
        Value::Object(statement)
    });
    let version = prop_oneof![5 => Just("2012-10-17"), 1 => Just("2008-10-17")];
    (version, prop::collection::vec(statement, 1..4)).prop_map(|(version, statements)| {
        // Without variables this one is no ARN and refused.
        let needs_variables = json!(statements).to_string().contains("\"${aws:PrincipalArn}\"");
        let version = if needs_variables { "2012-10-17" } else { version };
        json!({ "Version": version, "Statement": statements })
    })
}

fn policies() -> impl Strategy<Value = Value> {
    let level = || prop::collection::vec(prop_oneof![Just(json!("AdministratorAccess")), document(false, false)], 0..3);
    let resource = prop_oneof![
        4 => document(true, false).prop_map(|d| ("repository", d)),
        1 => document(true, false).prop_map(|d| ("registry", d)),
        2 => document(true, true).prop_map(|d| ("trust", d)),
        2 => document(true, false).prop_map(|d| ("key", d)),
    ];
    let bindings = select(vec![
        json!({}),
        json!({ "arn:aws:iam::111122223333:user/alice": "AIDAALICE00000000001", ROLE: "AROADEPLOY0000000001" }),
        json!({ "arn:aws:iam::111122223333:user/alice": "AIDAALICE00000000002", ROLE: "AROADEPLOY0000000002" }),
    ]);
    let endpoint = prop_oneof![
        Just(json!({
            "Statement": { "Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*" }
        })),
        document(true, false)
    ];
    let all = (
        prop::option::weighted(0.2, prop::collection::vec(level(), 0..3)),
        prop::option::weighted(0.2, endpoint),
        prop::option::weighted(0.7, resource),
        prop::option::weighted(0.3, bindings),
        prop::collection::vec(document(false, false), 0..4),
        prop::option::weighted(0.25, document(false, false)),
        prop::option::weighted(0.25, prop::collection::vec(document(false, false), 0..3)),
    );
    all.prop_map(|(service_control, endpoint, resource, bind, identity, boundary, session)| {
        let mut policies = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            value.map(|value| policies.insert(name.into(), value));
        };
        put("service_control", service_control.map(|levels| json!(levels)));
        put("endpoint", endpoint);
        let bind = bind.filter(|_| resource.is_some());
        resource.into_iter().for_each(|(name, document)| put(name, Some(document)));
        put("bind", bind);
        put("identity", Some(json!(identity)));
        put("boundary", boundary);
        put("session", session.map(|list| json!(list)));
        Value::Object(policies)
    })
}

fn case() -> impl Strategy<Value = Map<String, Value>> {
    let owner = prop_oneof![6 => Just(json!(HOME)), 1 => Just(json!(ABROAD)), 1 => Just(Value::Null)];
    let callers: Vec<&str> = NAMES.into_iter().chain(["alice", "alice", "deploy", "deploy"]).collect();
    let resource = prop_oneof![5 => select(vec![REPOSITORY, FOLDER, ROLE, KEY]), 1 => Just("*")];
    (select(callers), select(ACTIONS.to_vec()), resource, owner, context(), policies()).prop_map(
        |(principal, action, resource, owner, context, policies)| {
            let case = json!({
                "principal": principal, "action": action, "resource": resource, "owner": owner,
                "context": context, "policies": policies,
            });
            let Value::Object(case) = case else { unreachable!() };
            case
        },
    )
}

#[derive(Default)]
struct Tally {
    outcomes: BTreeMap<String, u64>,
    /// How often each operator held and did not.
    operators: BTreeMap<String, [u64; 2]>,
    grants: u64,
}

#[test]
fn as_the_reference() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4_000, ..Config::default() };
    let mut runner = match std::env::var("FUNAYA_RANDOM") {
        Ok(_) => TestRunner::new(config),
        Err(_) => TestRunner::new_with_rng(
            config,
            proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
        ),
    };
    let tally = RefCell::new(Tally::default());
    let result = runner.run(&case(), |case| check(&case, &mut tally.borrow_mut()));
    let tally = tally.into_inner();
    println!("outcomes: {:#?}", tally.outcomes);
    println!("operators (held, did not): {:#?}", tally.operators);
    println!("{} smallest grants tried", tally.grants);
    if let Err(fault) = result {
        panic!("{fault}");
    }
    assert_coverage(&tally);
}

fn assert_coverage(tally: &Tally) {
    let types = ["ServiceControl", "Endpoint", "Resource", "Trust", "Key", "Identity", "Boundary", "Session"];
    let denials = types.iter().flat_map(|t| [format!("ExplicitDeny by {t}"), format!("ImplicitDeny missing {t}")]);
    for outcome in denials.chain(["Allowed".into()]) {
        assert!(tally.outcomes.contains_key(&outcome), "never {outcome}");
    }
    for operator in OPERATORS {
        let [held, did_not] = tally.operators[operator];
        assert!(held > 0 && did_not > 0, "{operator}: held {held}, did not {did_not}");
    }
}

fn check(case: &Map<String, Value>, tally: &mut Tally) -> Result<(), TestCaseError> {
    let scene = Scene::read(case, &Value::Null).map_err(TestCaseError::fail)?;
    let outcome = scene.decide();
    prop_assert_eq!(outcome, scene.reference(), "the reference on the right");
    let name = match outcome {
        Outcome::Allowed => "Allowed".into(),
        Outcome::ExplicitDeny { by } => format!("ExplicitDeny by {by:?}"),
        Outcome::ImplicitDeny { missing } => format!("ImplicitDeny missing {missing:?}"),
    };
    *tally.outcomes.entry(name).or_default() += 1;

    let explanation = scene.explain();
    prop_assert_eq!(explanation.outcome, outcome);
    for statement in explanation.policies.iter().flat_map(|policy| &policy.statements) {
        prop_assert_eq!(statement.applies, statement.mismatches.is_empty());
    }
    count_operators(&case["policies"], tally);
    for mismatch in explanation.policies.iter().flat_map(|p| &p.statements).flat_map(|s| &s.mismatches) {
        if let Mismatch::Condition { operator, .. } = mismatch {
            let [held, did_not] = tally.operators.entry(base(operator)).or_default();
            *held = held.saturating_sub(1);
            *did_not += 1;
        }
    }
    if let SmallestGrant::Add(grants) = explanation.smallest_grant {
        tally.grants += 1;
        let mut granted = case.clone();
        for grant in grants {
            apply(&mut granted, grant.policy_type, grant.statement);
        }
        let scene = Scene::read(&granted, &Value::Null).map_err(TestCaseError::fail)?;
        prop_assert_eq!(scene.decide(), Outcome::Allowed, "with the smallest grant: {:?}", granted);
    }
    Ok(())
}

/// Every condition of the case, as if it held.
fn count_operators(value: &Value, tally: &mut Tally) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| count_operators(item, tally)),
        Value::Object(members) => {
            for (name, value) in members {
                if name == "Condition" {
                    let operators = value.as_object().unwrap().keys();
                    operators.for_each(|operator| tally.operators.entry(base(operator)).or_default()[0] += 1);
                } else {
                    count_operators(value, tally);
                }
            }
        }
        _ => {}
    }
}

fn base(operator: &str) -> String {
    operator.rsplit(':').next().unwrap().trim_end_matches("IfExists").into()
}

/// Adds a granted statement to the policies of its type.
fn apply(case: &mut Map<String, Value>, policy_type: funaya_policy::PolicyType, mut statement: Value) {
    use funaya_policy::PolicyType::{Boundary, Endpoint, Identity, Key, Resource, ServiceControl, Session, Trust};
    let caller = principal(case["principal"].as_str().unwrap());
    // In a bound document the ARN may stand for somebody else or nobody; the id is what storing it would bind.
    if case["policies"].get("bind").is_some() && statement["Principal"].get("AWS").is_some() {
        match &caller {
            Principal::User { id, .. } | Principal::AssumedRole { role_id: id, .. } => {
                statement["Principal"]["AWS"] = json!(id);
            }
            _ => {}
        }
    }
    let document = json!({ "Version": "2012-10-17", "Statement": [statement.clone()] });
    let policies = case["policies"].as_object_mut().unwrap();
    let slot = match policy_type {
        ServiceControl => {
            let levels = policies["service_control"].as_array_mut().unwrap();
            levels.iter_mut().for_each(|level| level.as_array_mut().unwrap().push(document.clone()));
            return;
        }
        Identity => return policies["identity"].as_array_mut().unwrap().push(document),
        Session => return policies["session"].as_array_mut().unwrap().push(document),
        Endpoint => "endpoint",
        Boundary => "boundary",
        Trust => "trust",
        Key => "key",
        Resource if policies.contains_key("registry") => "registry",
        Resource => "repository",
    };
    match policies.get_mut(slot) {
        Some(existing) => match &mut existing["Statement"] {
            Value::Array(statements) => statements.push(statement),
            one => *one = json!([one.clone(), statement]),
        },
        None => {
            policies.insert(slot.into(), document);
        }
    }
}
