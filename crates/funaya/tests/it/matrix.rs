//! The permission matrix: every route and operation, asked by every kind of caller.
//!
//! The table is a golden file, so that a change of who may do what shows as a difference.
//! `FUNAYA_BLESS=1` writes it anew.

use std::path::Path;

use funaya_testkit::{Answer, Client, ECR_TARGET, Key, digest};
use serde_json::{Value, json};

use crate::{
    House, IMAGE,
    access::{element, iam, key, put_user_policy, user},
};

const HEAD: &str = "Who gets what answer. none: a user who may only get registry tokens. other: the root of another
account, who names this one. right: a user with AdministratorAccess. Generated; a test compares it.

";

/// Answers of 2xx to callers without a right that are meant to be.
const OPEN: [&str; 4] = ["ecr:GetAuthorizationToken", "sts:GetCallerIdentity", "sts:GetSessionToken", "GET /v2/"];

/// Operations on the caller's own registry alone.
const OWN: [&str; 7] = [
    "ecr:DeleteRegistryPolicy",
    "ecr:DeregisterPullTimeUpdateExclusion",
    "ecr:DescribeRegistry",
    "ecr:GetRegistryPolicy",
    "ecr:ListPullTimeUpdateExclusions",
    "ecr:PutRegistryPolicy",
    "ecr:RegisterPullTimeUpdateExclusion",
];

struct Callers {
    root: Client,
    unknown: Client,
    wrong: Client,
    late: Client,
    none: Client,
    other: Client,
    right: Client,
}

impl Callers {
    fn new(house: &House) -> Self {
        let mut none = user(house, "none");
        put_user_policy(
            house,
            "none",
            &json!({"Version": "2012-10-17", "Statement": {
                "Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}}),
        );
        none.log_in().unwrap();
        let mut right = user(house, "right");
        let arn = "arn:aws:iam::aws:policy/AdministratorAccess";
        iam(&house.client, &[("Action", "AttachUserPolicy"), ("UserName", "right"), ("PolicyArn", arn)]);
        right.log_in().unwrap();
        let wrong = Key { secret: "not/the/secret/of/this/key/0123456789abc".into(), ..key(house, "right") };
        let unknown = Key { id: "AKIANOBODYKNOWSTHIS0".into(), ..wrong.clone() };
        let late = house.client.of(key(house, "none")).unwrap().wrong_by(-1800);
        Self {
            root: house.client.clone(),
            unknown: house.client.of(unknown).unwrap(),
            wrong: house.client.of(wrong).unwrap(),
            late,
            none,
            other: other_account(house),
            right,
        }
    }

    /// One row of an API that speaks JSON.
    fn target_row(&self, name: &str, prefix: &str, operation: &str, input: &Value) -> String {
        let target = format!("{prefix}.{operation}");
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
        let unsigned = || self.root.unsigned(&headers, &input.to_string()).unwrap();
        self.row(name, unsigned, |client| client.target(&target, input, &[]).unwrap())
    }

    /// One row; `unsigned` and `ask` give the answers, `right` is asked last.
    /// What has no `registryId`, IAM and STS are asked for the caller's own account, so there is
    /// nothing to see of another.
    fn row(&self, name: &str, unsigned: impl Fn() -> Answer, ask: impl Fn(&Client) -> Answer) -> String {
        let own = name.starts_with("iam:") || name.starts_with("sts:") || OWN.contains(&name);
        let across = !own;
        let mut row = format!("{name}\n   ");
        let callers: [(&str, Option<&Client>); 7] = [
            ("anonymous", None),
            ("unknown", Some(&self.unknown)),
            ("wrong", Some(&self.wrong)),
            ("late", Some(&self.late)),
            ("none", Some(&self.none)),
            ("other", Some(&self.other)),
            ("right", Some(&self.right)),
        ];
        for (caller, client) in callers.into_iter().filter(|(caller, _)| across || *caller != "other") {
            let answer = client.map_or_else(&unsigned, &ask);
            let is_open = caller == "right" || OPEN.contains(&name);
            assert!(answer.status >= 300 || is_open, "{name} by {caller}: {}", answer.text());
            row.push_str(&format!(" {caller}={}", code(&answer)));
        }
        row.push('\n');
        row
    }
}

/// The root of another account.
fn other_account(house: &House) -> Client {
    let made = std::process::Command::new(crate::BIN)
        .args(["account", "create", "--name", "other", "--format", "json", "--data"])
        .arg(house.data())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    house.client.of(Key { id: text("accessKeyId"), secret: text("secretAccessKey"), token: None }).unwrap()
}

/// The error's code, or the status of an answer without one.
fn code(answer: &Answer) -> String {
    let text = answer.text();
    let json: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if answer.status < 400 {
        return answer.status.to_string();
    }
    let named = json["__type"].as_str().or(json["errors"][0]["code"].as_str()).map(str::to_owned);
    let code = named.unwrap_or_else(|| if text.contains("<Code>") { element(&text, "Code") } else { String::new() });
    format!("{} {code}", answer.status).trim().to_owned()
}

/// Every operation's parameters together: those that one does not know are ignored.
fn ecr_input(repository: &str) -> Value {
    let arn = format!("arn:aws:ecr:us-east-1:123456789012:repository/{repository}");
    json!({
        "registryId": "123456789012", "repositoryName": repository, "resourceArn": arn,
        "imageIds": [{"imageTag": "v1"}], "layerDigests": [digest(b"layer")], "layerDigest": digest(b"layer"),
        "imageManifest": "{}", "imageTag": "v9", "uploadId": "00000000-0000-4000-8000-000000000000",
        "partFirstByte": 0, "partLastByte": 0, "layerPartBlob": "YQ==", "tags": [{"Key": "a", "Value": "b"}],
        "tagKeys": ["a"], "imageTagMutability": "MUTABLE", "policyText": "{}", "lifecyclePolicyText": "x".repeat(100),
        "subjectId": {"imageDigest": digest(b"layer")}, "principalArn": "arn:aws:iam::123456789012:role/some-role",
    })
}

fn ecr_rows(house: &House, callers: &Callers) -> Vec<String> {
    let names = funaya_aws::route_table();
    let ecr = names.split("\n\n").next().unwrap_or_default();
    let operations = ecr.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    operations
        .map(|operation| {
            let repository = format!("m/{}", operation.to_lowercase());
            house.create(&repository);
            house.push_image(&repository, "v1", b"layer");
            let input = ecr_input(&repository);
            callers.target_row(&format!("ecr:{operation}"), ECR_TARGET, operation, &input)
        })
        .collect()
}

/// Our own API, on an image that was deleted.
fn funaya_rows(house: &House, callers: &Callers) -> Vec<String> {
    let inputs = |repository: &str, image: &str| {
        let tag = json!({"registryId": "123456789012", "repositoryName": repository, "imageTag": "v1", "at": "2100-01-01T00:00:00Z"});
        [
            ("ListDeleted", json!({"registryId": "123456789012"})),
            ("ResolveTag", tag.clone()),
            ("RestoreTag", tag),
            ("RestoreImage", json!({"registryId": "123456789012", "repositoryName": repository, "imageDigest": image})),
            ("RestoreRepository", json!({"registryId": "123456789012", "repositoryName": repository})),
        ]
    };
    house.create("m/funaya");
    let image = digest(house.push_image("m/funaya", "v1", b"layer").as_bytes());
    let ids = json!({"repositoryName": "m/funaya", "imageIds": [{"imageDigest": image}]});
    assert_eq!(house.client.ecr("BatchDeleteImage", &ids).unwrap().0, 200);
    let inputs = inputs("m/funaya", &image);
    inputs.iter().map(|(name, input)| callers.target_row(&format!("funaya:{name}"), "Funaya_V1", name, input)).collect()
}

fn query_rows(callers: &Callers, service: &str, operations: &[&str]) -> Vec<String> {
    let form = ("content-type", "application/x-www-form-urlencoded");
    let version = if service == "iam" { "2010-05-08" } else { "2011-06-15" };
    operations
        .iter()
        .map(|operation| {
            let parameters = [
                ("Action", *operation),
                ("UserName", "somebody"),
                ("GroupName", "some-group"),
                ("RoleName", "some-role"),
                ("PolicyName", "some-policy"),
                ("PolicyArn", "arn:aws:iam::123456789012:policy/some-policy"),
                ("InstanceProfileName", "some-profile"),
                ("AccessKeyId", "AKIASOMEBODYSKEY0000"),
                ("RoleArn", "arn:aws:iam::123456789012:role/some-role"),
                ("RoleSessionName", "session"),
            ];
            let body: String = parameters.iter().map(|(name, value)| format!("{name}={value}&")).collect();
            let unsigned = || callers.root.unsigned(&[form], &format!("{body}Version={version}")).unwrap();
            callers
                .row(&format!("{service}:{operation}"), unsigned, |client| client.query(service, &parameters).unwrap())
        })
        .collect()
}

fn registry_rows(house: &House, callers: &Callers) -> Vec<String> {
    let blob = digest(b"layer");
    let upload = "00000000-0000-4000-8000-000000000000";
    let routes = [
        ("GET", "/v2/".to_owned()),
        ("GET", "/v2/_catalog".to_owned()),
        ("GET", "/v2/m/registry/tags/list".to_owned()),
        ("HEAD", "/v2/m/registry/manifests/v1".to_owned()),
        ("GET", "/v2/m/registry/manifests/v1".to_owned()),
        ("PUT", "/v2/m/registry/manifests/v2".to_owned()),
        ("HEAD", format!("/v2/m/registry/blobs/{blob}")),
        ("GET", format!("/v2/m/registry/blobs/{blob}")),
        ("DELETE", format!("/v2/m/registry/blobs/{blob}")),
        ("POST", "/v2/m/registry/blobs/uploads/".to_owned()),
        ("POST", format!("/v2/m/registry/blobs/uploads/?mount={blob}&from=m/registry")),
        ("GET", format!("/v2/m/registry/blobs/uploads/{upload}")),
        ("PATCH", format!("/v2/m/registry/blobs/uploads/{upload}")),
        ("PUT", format!("/v2/m/registry/blobs/uploads/{upload}?digest={blob}")),
        ("DELETE", format!("/v2/m/registry/blobs/uploads/{upload}")),
        ("GET", format!("/v2/m/registry/referrers/{blob}")),
        ("DELETE", "/v2/m/registry/manifests/v1".to_owned()),
    ];
    house.create("m/registry");
    let manifest = house.push_image("m/registry", "v1", b"layer");
    routes
        .iter()
        .map(|(method, path)| {
            let body = if *method == "PUT" && path.contains("manifests") { manifest.as_bytes() } else { b"" };
            let ask = |client: &Client| client.registry(method, path, &[IMAGE], body).unwrap();
            let shown = path.replace(&blob, "<digest>").replace(upload, "<id>").replace("m/registry", "<name>");
            callers.row(&format!("{method} {shown}"), || ask(&callers.root.showing("")), ask)
        })
        .collect()
}

/// AUTH-02, IAM-08, IAM-33, IAM-34, POL-02, V2-02, V2-04: nobody gets in without a right.
#[test]
fn who_gets_what() {
    let house = House::new("matrix", &[]);
    let callers = Callers::new(&house);
    let mut table = HEAD.to_owned();
    let iam_table = funaya_aws::route_table();
    let named = |service: &str| -> Vec<String> {
        let lines = iam_table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let of_service = lines.filter(|(_, actions)| actions.contains(&format!("| {service}:")));
        of_service.map(|(operation, _)| operation.to_owned()).collect()
    };
    for row in [registry_rows(&house, &callers), ecr_rows(&house, &callers), funaya_rows(&house, &callers)].concat() {
        table.push_str(&row);
    }
    for service in ["iam", "sts"] {
        let names = named(service);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(names.len() > 5, "{service}");
        for row in query_rows(&callers, service, &names) {
            table.push_str(&row);
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/matrix.txt");
    if std::env::var_os("FUNAYA_BLESS").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    let changed = found.lines().zip(table.lines()).find(|(old, new)| old != new);
    assert!(found == table, "run with FUNAYA_BLESS=1 and look at the difference; the first: {changed:?}");
}
