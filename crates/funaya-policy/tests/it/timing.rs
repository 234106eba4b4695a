//! What a decision costs. Prints, asserts nothing of time:
//! `cargo test --release -p funaya-policy --test it -- --ignored --nocapture timing`

use std::{hint::black_box, time::Instant};

use funaya_policy::Context;
use serde_json::{Map, Value, json};

use crate::world::{Scene, principal};

#[test]
#[ignore = "a measurement"]
fn timing() {
    context();
    usual_decision();
    worst_wildcards();
}

/// Filling a context with what a usual request has.
fn context() {
    let alice = principal("alice");
    let start = Instant::now();
    const ROUNDS: u32 = 20_000;
    for _ in 0..ROUNDS {
        let mut context = Context::new();
        alice.context_keys(&mut context);
        for key in ["aws:SourceIp", "aws:SecureTransport", "aws:CurrentTime", "aws:EpochTime", "aws:RequestedRegion"] {
            context.set(key, "2020-07-01T00:00:00Z");
        }
        context.set_tag("ecr:ResourceTag", "environment", "dev");
        context.set_all("aws:TagKeys", &["environment", "owner"]);
        black_box(&context);
    }
    println!("context of 12 keys: {:.2} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
}

/// Ten identity policies, a repository policy and a boundary.
fn usual_decision() {
    let team = json!({ "Version": "2012-10-17", "Statement": [
        {
            "Effect": "Allow",
            "Action": ["ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability", "ecr:PutImage"],
            "Resource": "arn:aws:ecr:*:111122223333:repository/${aws:PrincipalTag/team}/*",
            "Condition": { "IpAddress": { "aws:SourceIp": ["10.0.0.0/8", "192.168.0.0/16"] } },
        },
        {
            "Effect": "Deny",
            "Action": "*",
            "Resource": "*",
            "Condition": { "StringEquals": { "ecr:ResourceTag/environment": "prod" } },
        },
    ] });
    let identity = json!([
        "AmazonEC2ContainerRegistryPowerUser",
        "IAMReadOnlyAccess",
        "ReadOnlyAccess",
        "SecurityAudit",
        "PowerUserAccess",
        "IAMUserChangePassword",
        "AWSCloudTrail_FullAccess",
        "CloudWatchFullAccess",
        team,
        team,
    ]);
    let case = json!({
        "context": {
            "aws:SourceIp": "10.1.2.3",
            "aws:SecureTransport": "true",
            "aws:CurrentTime": "2020-07-01T00:00:00Z",
            "aws:EpochTime": "1593561600",
            "aws:RequestedRegion": "us-east-1",
            "aws:UserAgent": "docker/19.03",
            "aws:PrincipalTag/team": "blue",
            "ecr:ResourceTag/environment": "dev",
        },
        "policies": {
            "identity": identity,
            "boundary": "PowerUserAccess",
            "repository": { "Version": "2012-10-17", "Statement": {
                "Effect": "Allow", "Principal": { "AWS": ["111122223333", "444455556666"] }, "Action": "ecr:*",
            } },
        },
    });
    let scene = Scene::read(case.as_object().unwrap(), &Value::Null).unwrap();
    println!("usual decision: {:?}, {}", scene.decide(), cost(&scene, 20_000));
}

/// As much of a bad pattern as a repository policy can hold, against 2,048 characters. The search never succeeds, or
/// only at the end.
fn worst_wildcards() {
    let text = format!("arn:aws:ecr:us-east-1:111122223333:repository/{}", "a".repeat(2_002));
    let bodies = [
        ("many stars", "a*".repeat(4_000)),
        ("many stars and question marks", "?a*".repeat(3_000)),
        ("one long literal", "a".repeat(1_000)),
        ("one long literal with a question mark", format!("{}?{}", "a".repeat(500), "a".repeat(500))),
        ("every other a question mark", "?a".repeat(500)),
        ("longer than the text", "?a".repeat(4_500)),
        ("literals between stars", format!("{}*", "a".repeat(100)).repeat(19)),
    ];
    for (name, body) in bodies {
        let pattern = format!("arn:aws:ecr:*:*:*{body}b*");
        let count = (10_000 / (pattern.len() + 3)).max(1);
        report(&format!("{count} × {name}"), &json!(vec![pattern; count]), &text);
    }
    // Compiled anew for each decision.
    let pattern = format!("arn:aws:ecr:*:*:*{}b*", "a?".repeat(250));
    report("with a variable", &json!(vec![format!("{pattern}${{aws:username}}"); 18]), &text);
}

fn report(name: &str, resources: &Value, text: &str) {
    let statement = json!({ "Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": resources });
    let size = statement.to_string().len();
    let mut case = Map::new();
    case.insert("resource".into(), text.into());
    case.insert("policies".into(), json!({ "repository": { "Version": "2012-10-17", "Statement": statement } }));
    let scene = Scene::read(&case, &Value::Null).unwrap();
    println!("wildcards {name}, {size} characters: {:?}, {}", scene.decide(), cost(&scene, 200));
}

fn cost(scene: &Scene, rounds: u32) -> String {
    scene.with(|request, policies| {
        let start = Instant::now();
        for _ in 0..rounds {
            black_box(funaya_policy::decide(black_box(request), black_box(policies)));
        }
        format!("{:.2} µs", start.elapsed().as_secs_f64() * 1e6 / f64::from(rounds))
    })
}
