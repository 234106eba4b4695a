//! Who may do what: IAM policies and policies of repositories, on both doors (03, 09).

use std::path::Path;

use funaya_testkit::{Client, Key, operator};
use serde_json::{Value, json};

use crate::{BIN, House, IMAGE, start};

const ACCOUNT: &str = "123456789012";

/// The guide's own policies, by their ids.
fn example(id: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../policies.json")).unwrap();
    all[id].clone()
}

pub(crate) fn iam(client: &Client, parameters: &[(&str, &str)]) -> String {
    let answer = client.query("iam", parameters).unwrap();
    assert_eq!(answer.status, 200, "{parameters:?}: {}", answer.text());
    answer.text()
}

pub(crate) fn element(xml: &str, name: &str) -> String {
    let start = xml.find(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name} in {xml}")) + name.len() + 2;
    let end = start + xml[start..].find(&format!("</{name}>")).unwrap();
    xml[start..end].to_owned()
}

/// Makes a user without rights and a key for it.
pub(crate) fn user(house: &House, name: &str) -> Client {
    iam(&house.client, &[("Action", "CreateUser"), ("UserName", name)]);
    house.client.of(key(house, name)).unwrap()
}

pub(crate) fn key(house: &House, name: &str) -> Key {
    let made = iam(&house.client, &[("Action", "CreateAccessKey"), ("UserName", name)]);
    Key { id: element(&made, "AccessKeyId"), secret: element(&made, "SecretAccessKey"), token: None }
}

pub(crate) fn put_user_policy(house: &House, name: &str, policy: &Value) {
    let text = policy.to_string();
    let parameters =
        [("Action", "PutUserPolicy"), ("UserName", name), ("PolicyName", "test"), ("PolicyDocument", text.as_str())];
    iam(&house.client, &parameters);
}

/// Lets a user get registry tokens, which no repository policy can (AUTH-18).
fn may_log_in(house: &House, name: &str, client: &mut Client) {
    let policy = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*",
    }});
    put_user_policy(house, name, &policy);
    client.log_in().unwrap();
}

fn set_policy(house: &House, repository: &str, policy: &Value) -> (u16, Value) {
    let input = json!({"repositoryName": repository, "policyText": policy.to_string(), "force": true});
    house.client.ecr("SetRepositoryPolicy", &input).unwrap()
}

/// Whether a call gets past the gate: every other error is one of what it asked for.
fn may(client: &Client, operation: &str, input: Value) -> bool {
    let (_, answer) = client.ecr(operation, &input).unwrap();
    let denied = answer["__type"] == "AccessDeniedException";
    if denied {
        // ERR-20
        let message = answer["message"].as_str().unwrap();
        assert!(message.starts_with("User: arn:aws:"), "{message}");
        assert!(message.contains(" is not authorized to perform: ecr:"), "{message}");
    }
    !denied
}

fn on(repository: &str) -> Value {
    json!({"repositoryName": repository})
}

fn pulls(client: &Client, repository: &str) -> bool {
    let answer = client.registry("GET", &format!("/v2/{repository}/manifests/v1"), &[], b"").unwrap();
    assert!([200, 401, 403].contains(&answer.status), "{}", answer.text());
    answer.status == 200
}

/// POL-40, POL-42, POL-44, POL-45, POL-46, POL-48, POL-49: each example is accepted and has its effect.
#[test]
fn example_policies_of_repositories() {
    let house = House::new("policies", &[]);
    house.create("app");
    house.push_image("app", "v1", b"a layer");
    house.create("other");
    let mut clients = Vec::new();
    for name in ["ann", "push-pull-user-1", "push-pull-user-2", "pull-user-1", "pull-user-2", "admin-user", "eve"] {
        let mut client = user(&house, name);
        may_log_in(&house, name, &mut client);
        clients.push((name, client));
    }
    let of = |name: &str| &clients.iter().find(|(known, _)| *known == name).unwrap().1;
    let describe = |client: &Client| may(client, "DescribeImages", on("app"));
    let download = |client: &Client| {
        let digest = funaya_testkit::digest(b"a layer");
        may(client, "GetDownloadUrlForLayer", json!({"repositoryName": "app", "layerDigest": digest}))
    };
    let start_upload = |client: &Client| {
        let answer = client.registry("POST", "/v2/app/blobs/uploads/", &[], b"").unwrap();
        assert!([202, 403].contains(&answer.status), "{}", answer.text());
        answer.status == 202
    };
    let delete = |client: &Client| {
        may(client, "BatchDeleteImage", json!({"repositoryName": "app", "imageIds": [{"imageTag": "nothing"}]}))
    };
    let set = |id: &str| {
        let (status, answer) = set_policy(&house, "app", &example(id));
        assert_eq!(status, 200, "{id}: {answer}");
        let (_, found) = house.client.ecr("GetRepositoryPolicy", &on("app")).unwrap();
        let text: Value = serde_json::from_str(found["policyText"].as_str().unwrap()).unwrap();
        assert_eq!(text, example(id), "POL-23");
    };
    // Without a policy nobody but the owner has access (POL-02, IAM-08).
    for (name, client) in &clients {
        assert!(!describe(client) && !pulls(client, "app") && !start_upload(client), "{name}");
    }
    set("POL-40");
    assert!(describe(of("ann")) && !pulls(of("ann"), "app") && !describe(of("eve")));
    assert!(!may(of("ann"), "DescribeImages", on("other")), "POL-03");
    set("POL-42");
    for name in ["push-pull-user-1", "push-pull-user-2"] {
        assert!(pulls(of(name), "app") && download(of(name)) && start_upload(of(name)), "{name}");
        assert!(!describe(of(name)) && !delete(of(name)), "{name}");
    }
    assert!(!describe(of("ann")) && !pulls(of("ann"), "app"), "POL-24: the old policy is gone at once");
    set("POL-44");
    assert!(pulls(of("pull-user-1"), "app") && !start_upload(of("pull-user-1")));
    assert!(pulls(of("admin-user"), "app") && start_upload(of("admin-user")) && delete(of("admin-user")));
    assert!(!may(of("admin-user"), "CreateRepository", on("new")));
    set("POL-45");
    for (name, client) in &clients {
        assert!(pulls(client, "app") && download(client) && !describe(client), "{name}");
    }
    assert!(!pulls(&house.client.showing(""), "app"), "POL-11: never an unauthenticated client");
    set("POL-46");
    assert!(!pulls(&house.client, "app") && !download(&house.client), "the administrators too");
    assert!(may(&house.client, "DescribeImages", on("app")));
    set("POL-48");
    assert!(pulls(&house.client, "app") && !pulls(of("ann"), "app"));
    let (_, removed) = house.client.ecr("DeleteRepositoryPolicy", &on("app")).unwrap();
    assert!(removed["policyText"].as_str().unwrap().contains("codebuild"));
    let (_, none) = house.client.ecr("GetRepositoryPolicy", &on("app")).unwrap();
    let text =
        "Repository policy does not exist for the repository with name 'app' in the registry with id '123456789012'";
    assert_eq!(none["message"], text, "POL-22");
}

/// POL-47, POL-49, IAM-51: by source address, as a trusted proxy tells it.
#[test]
fn addresses_are_told_apart() {
    let house = House::new("addresses", &[("FUNAYA_TRUSTED_PROXIES", "127.0.0.1")]);
    house.create("app");
    let ann = user(&house, "ann");
    assert_eq!(set_policy(&house, "app", &example("POL-47")).0, 200);
    let from = |address: &str| {
        let answer = ann.ecr_with("DescribeImages", &on("app"), &[("x-forwarded-for", address)]).unwrap();
        answer.status == 200
    };
    assert!(from("54.240.143.7"));
    assert!(!from("54.240.143.188"));
    assert!(!from("54.240.144.7"));
    assert!(!from("54.240.143.7, 203.0.113.9"), "what a client says before the proxy means nothing");
}

/// IAM-71, IAM-81 to IAM-83: policies of users, by repository and by labels.
#[test]
fn example_policies_of_users() {
    let house = House::new("labels", &[]);
    let mut ann = user(&house, "ann");
    for name in ["my-repo", "other"] {
        house.create(name);
        house.push_image(name, "v1", name.as_bytes());
    }
    put_user_policy(&house, "ann", &example("IAM-71"));
    ann.log_in().unwrap();
    assert!(pulls(&ann, "my-repo") && !pulls(&ann, "other"));
    let manifest = ann.registry("GET", "/v2/my-repo/manifests/v1", &[], b"").unwrap();
    let put = ann.registry("PUT", "/v2/my-repo/manifests/v2", &[IMAGE], &manifest.body).unwrap();
    assert_eq!(put.status, 201);
    assert!(!may(&ann, "BatchDeleteImage", json!({"repositoryName": "my-repo", "imageIds": [{"imageTag": "v2"}]})));
    // IAM-34: what may not be seen looks the same whether it is there or not.
    let ask = |name: &str| ann.ecr("ListImages", &on(name)).unwrap().1.to_string().replace(name, "x");
    assert_eq!(ask("other"), ask("nothing-here"));

    put_user_policy(&house, "ann", &example("IAM-81"));
    let create = |name: &str, tags: Value| may(&ann, "CreateRepository", json!({"repositoryName": name, "tags": tags}));
    assert!(create("dev", json!([{"Key": "environment", "Value": "dev"}])));
    assert!(!create("prod", json!([{"Key": "environment", "Value": "prod"}])));
    assert!(!create("none", json!([])));
    let tag = |value: &str| {
        let arn = format!("arn:aws:ecr:us-east-1:{ACCOUNT}:repository/my-repo");
        may(&ann, "TagResource", json!({"resourceArn": arn, "tags": [{"Key": "environment", "Value": value}]}))
    };
    assert!(tag("dev") && !tag("prod"));

    put_user_policy(&house, "ann", &example("IAM-82"));
    assert!(may(&ann, "ListImages", on("my-repo")) && tag("prod"));
    assert!(!may(&ann, "ListImages", on("my-repo")), "the label of the moment counts");
    assert!(may(&ann, "ListImages", on("other")));
    let untag = json!({"resourceArn": format!("arn:aws:ecr:us-east-1:{ACCOUNT}:repository/my-repo"),
        "tagKeys": ["environment"]});
    assert_eq!(house.client.ecr("UntagResource", &untag).unwrap().0, 200);
    assert!(may(&ann, "ListImages", on("my-repo")));
}

/// POL-14, POL-15, POL-20, POL-21: what can't be set, and principals that are gone.
#[test]
fn policies_name_principals_that_exist() {
    let house = House::new("principals", &[]);
    house.create("app");
    house.push_image("app", "v1", b"layer");
    let refused = |policy: &Value| {
        let (status, answer) = set_policy(&house, "app", policy);
        assert_eq!((status, answer["__type"].as_str()), (400, Some("InvalidParameterException")), "{answer}");
        answer["message"].as_str().unwrap().to_owned()
    };
    let text = "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided'";
    assert_eq!(refused(&example("POL-40")), text);
    assert_eq!(refused(&json!({"Statement": 5})), text);
    assert_eq!(refused(&json!("no policy")), text);
    assert!(refused(&json!("x".repeat(10_241))).contains("10240"));
    let mut ann = user(&house, "ann");
    may_log_in(&house, "ann", &mut ann);
    let pull = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:user/ann")},
        "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
    }});
    assert_eq!(set_policy(&house, "app", &pull).0, 200);
    assert!(pulls(&ann, "app"));
    // The user goes and comes again: another one, whom the policy does not mean.
    iam(&house.client, &[("Action", "DeleteUserPolicy"), ("UserName", "ann"), ("PolicyName", "test")]);
    let keys = iam(&house.client, &[("Action", "ListAccessKeys"), ("UserName", "ann")]);
    let id = element(&keys, "AccessKeyId");
    iam(&house.client, &[("Action", "DeleteAccessKey"), ("UserName", "ann"), ("AccessKeyId", &id)]);
    assert!(!pulls(&ann, "app"), "AUTH-19: the token ends with its key");
    iam(&house.client, &[("Action", "DeleteUser"), ("UserName", "ann")]);
    let mut ann = user(&house, "ann");
    may_log_in(&house, "ann", &mut ann);
    assert!(!pulls(&ann, "app"));
    let (_, found) = house.client.ecr("GetRepositoryPolicy", &on("app")).unwrap();
    assert!(found["policyText"].as_str().unwrap().contains("\"AIDA"), "{found}");
    // POL-21: a policy that locks the caller out needs `force`.
    let lock = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Deny", "Principal": "*", "Action": "ecr:SetRepositoryPolicy",
    }});
    let set = |force: bool| {
        let input = json!({"repositoryName": "app", "policyText": lock.to_string(), "force": force});
        house.client.ecr("SetRepositoryPolicy", &input).unwrap()
    };
    let (status, answer) = set(false);
    assert_eq!((status, answer["__type"].as_str()), (400, Some("InvalidParameterException")), "{answer}");
    assert_eq!(set(true).0, 200);
    assert!(!may(
        &house.client,
        "SetRepositoryPolicy",
        json!({"repositoryName": "app", "policyText": lock.to_string()})
    ));
}

/// A registry's own policy counts for all its repositories.
#[test]
fn registry_policies() {
    let house = House::new("registry-policy", &[]);
    house.create("app");
    let ann = user(&house, "ann");
    let (_, none) = house.client.ecr("GetRegistryPolicy", &json!({})).unwrap();
    assert_eq!(none["__type"], "RegistryPolicyNotFoundException");
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "see", "Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:user/ann")},
        "Action": "ecr:Describe*", "Resource": format!("arn:aws:ecr:us-east-1:{ACCOUNT}:repository/*"),
    }]});
    let put =
        |policy: &Value| house.client.ecr("PutRegistryPolicy", &json!({"policyText": policy.to_string()})).unwrap();
    assert!(!may(&ann, "DescribeImages", on("app")));
    assert_eq!(put(&policy).0, 200);
    assert!(may(&ann, "DescribeImages", on("app")) && !may(&ann, "ListImages", on("app")));
    assert_eq!(put(&json!({})).1["__type"], "InvalidParameterException");
    assert_eq!(house.client.ecr("DeleteRegistryPolicy", &json!({})).unwrap().0, 200);
    assert!(!may(&ann, "DescribeImages", on("app")));
}

/// D9: a refusal names its decision, and whoever runs the server may ask for the reasons.
#[test]
fn refusals_are_explained() {
    let house = House::new("explain", &[]);
    house.create("app");
    let mut ann = user(&house, "ann");
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "OnlyOther", "Effect": "Allow", "Action": "ecr:*",
        "Resource": format!("arn:aws:ecr:us-east-1:{ACCOUNT}:repository/other"),
    }, {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}]});
    put_user_policy(&house, "ann", &policy);
    ann.log_in().unwrap();
    let denied = ann.ecr_with("ListImages", &on("app"), &[]).unwrap();
    assert_eq!(denied.status, 400);
    let id = denied.header("x-funaya-decision").to_owned();
    let by_docker = ann.registry("GET", "/v2/app/manifests/v1", &[], b"").unwrap();
    assert_eq!(by_docker.status, 403);
    assert!(!by_docker.header("x-funaya-decision").is_empty());
    std::thread::sleep(std::time::Duration::from_millis(900));
    let explain = |arguments: &[&str]| {
        std::process::Command::new(BIN)
            .arg("explain")
            .args(arguments)
            .args(["--data", house.data().to_str().unwrap()])
            .output()
            .unwrap()
    };
    let told = explain(&[&id]);
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(told.status.success(), "{text}");
    for part in [
        "arn:aws:iam::123456789012:user/ann asked for ecr:ListImages",
        "no policy of type Identity allows it",
        "resource is",
        "the smallest grant",
        r#""Action":"ecr:ListImages""#,
        r#""Resource":"arn:aws:ecr:us-east-1:123456789012:repository/app""#,
    ] {
        assert!(text.contains(part), "no `{part}` in {text}");
    }
    let all: Value = serde_json::from_slice(&explain(&[&id, "--json"]).stdout).unwrap();
    assert_eq!(all["action"], "ecr:ListImages");
    assert_eq!(all["context"]["aws:SourceIp"], json!(["127.0.0.1"]));
    let unknown = explain(&["5f00-nothing"]);
    assert!(!unknown.status.success());
}

/// Recorded calls are judged against a changed policy, and exactly those that flip are told.
#[test]
fn a_changed_policy_is_tried_on_the_past() {
    let house = House::new("replay", &[]);
    house.create("app");
    house.create("other");
    let ann = user(&house, "ann");
    put_user_policy(
        &house,
        "ann",
        &json!({"Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Action": "ecr:*", "Resource": "*",
        }}),
    );
    assert!(may(&ann, "ListImages", on("app")) && may(&ann, "ListImages", on("other")));
    assert!(may(&ann, "DescribeImages", on("app")));
    std::thread::sleep(std::time::Duration::from_millis(900));
    let file = house.scratch.path().join("policy.json");
    let replay = |replace: &str, policy: &Value| {
        std::fs::write(&file, policy.to_string()).unwrap();
        let told = std::process::Command::new(BIN)
            .args(["policy", "replay", "--against", file.to_str().unwrap(), "--replace", replace])
            .args(["--data", house.data().to_str().unwrap()])
            .output()
            .unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        String::from_utf8(told.stdout).unwrap()
    };
    let deny = json!({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Principal": "*",
        "Action": "ecr:ListImages"}});
    let text = replay(&format!("arn:aws:ecr:us-east-1:{ACCOUNT}:repository/app"), &deny);
    assert!(text.contains("1 would be denied, 0 would be allowed"), "{text}");
    assert!(text.contains(":user/ann ecr:ListImages on arn:aws:ecr:us-east-1:123456789012:repository/app"), "{text}");
    let deny = json!({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "ecr:ListImages",
        "Resource": "*"}});
    let text = replay(&format!("arn:aws:iam::{ACCOUNT}:user/ann"), &deny);
    assert!(text.contains("2 would be denied, 0 would be allowed"), "{text}");
}

/// What was allowed or not survives a restart, and the log never holds a secret.
#[test]
fn rights_survive_a_restart() {
    let House { scratch, server, client } = House::new("restart-rights", &[]);
    let house = House { scratch, server, client };
    house.create("app");
    house.push_image("app", "v1", b"layer");
    let mut ann = user(&house, "ann");
    may_log_in(&house, "ann", &mut ann);
    assert_eq!(set_policy(&house, "app", &example("POL-45")).0, 200);
    let key = key(&house, "ann");
    let data = house.data();
    drop(house.server);
    let server = start(&data, &[]);
    let ann = Client::with_key(&server.url, "us-east-1", key.clone()).unwrap();
    assert!(pulls(&ann, "app") && !may(&ann, "ListImages", on("app")));
    let log = operator(Path::new(BIN), &data, "audit").unwrap();
    assert!(log.contains("CreateAccessKey") && !log.contains(&key.secret));
}
