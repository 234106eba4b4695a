//! Two servers on one PostgreSQL database.

use std::{
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use funaya_testkit::{Client, Key, Scratch, Server, start_postgres};
use serde_json::json;

use crate::{iam, quotas, start};

/// What a change of access may take to reach another replica (AUTH-19, V2-06).
const REACHES_ALL: Duration = Duration::from_secs(1);

/// Two servers, each with a folder of its own, with one key and one database.
struct Replicas {
    scratch: Scratch,
    _servers: [Server; 2],
    first: Client,
    second: Client,
}

impl Replicas {
    fn new(name: &str, more: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new(name).unwrap();
        let key: PathBuf = scratch.path().join("root.key");
        std::fs::write(&key, [7; 32]).unwrap();
        let database = start_postgres();
        let mut settings = vec![("FUNAYA_DATABASE", database.url()), ("FUNAYA_ROOT_KEY_FILE", key.to_str().unwrap())];
        settings.extend_from_slice(more);
        let server = |folder: &str| start(&Path::new(scratch.path()).join(folder), &settings);
        let servers = [server("first"), server("second")];
        let [first, second] = servers.each_ref().map(|server| Client::new(&server.url).unwrap());
        Self { scratch, _servers: servers, first, second }
    }
}

/// AUTH-14, AUTH-18, AUTH-19, IAM-36, V2-06: a right that one server takes away is gone on the other within a second,
/// for calls and for registry tokens alike, whichever server gave the token.
#[test]
fn a_change_of_access_reaches_all_replicas() {
    let replicas = Replicas::new("replicas", &[]);
    let (first, second) = (&replicas.first, &replicas.second);
    let (status, answer) = first.ecr("CreateRepository", &json!({"repositoryName": "app"})).unwrap();
    assert_eq!(status, 200, "{answer}");
    let allow = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"*"}}"#;
    let (id, secret) = iam::user_key(first, "alice", allow);
    let alice_at = |client: &Client| {
        let mut alice = client.of(Key { id: id.clone(), secret: secret.clone(), token: None }).unwrap();
        alice.log_in().unwrap();
        alice
    };
    sleep(REACHES_ALL);
    let (here, there) = (alice_at(first), alice_at(second));
    // A token of one server counts on the other.
    let elsewhere = second.showing(here.authorization());
    let described = |client: &Client| client.ecr("DescribeImages", &json!({"repositoryName": "app"})).unwrap().0;
    let tags = |client: &Client| client.registry("GET", "/v2/app/tags/list", &[], b"").unwrap().status;
    let seen = || [described(&here), described(&there)].into_iter().chain([&here, &there, &elsewhere].map(tags));
    let all = |status: [u16; 2]| [status[0], status[0], status[1], status[1], status[1]];
    assert!(seen().eq(all([200, 200])), "{:?}", seen().collect::<Vec<_>>());

    // Each way to lose and to regain a right, asked of one server and felt on both.
    let policy = format!("UserName=alice&PolicyName=p&PolicyDocument={}", iam::escaped(allow));
    let deny = iam::escaped(r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}"#);
    let key = format!("UserName=alice&AccessKeyId={id}");
    let changes = [
        (second, "Action=DeleteUserPolicy&UserName=alice&PolicyName=p".into(), [400, 403]),
        (first, format!("Action=PutUserPolicy&{policy}"), [200, 200]),
        (second, format!("Action=PutUserPolicy&UserName=alice&PolicyName=q&PolicyDocument={deny}"), [400, 403]),
        (second, "Action=DeleteUserPolicy&UserName=alice&PolicyName=q".into(), [200, 200]),
        (first, format!("Action=UpdateAccessKey&Status=Inactive&{key}"), [400, 401]),
        (second, format!("Action=UpdateAccessKey&Status=Active&{key}"), [200, 200]),
        (second, format!("Action=DeleteAccessKey&{key}"), [400, 401]),
    ];
    for (server, form, want) in changes {
        let done = iam::call(server, &form);
        assert_eq!(done.status, 200, "{}", done.text());
        sleep(REACHES_ALL);
        assert!(seen().eq(all(want)), "{form}: {:?}", seen().collect::<Vec<_>>());
    }
}

/// POL-04, POL-24: a repository policy set on one server counts on the other within a second.
#[test]
fn a_repository_policy_reaches_all_replicas() {
    let replicas = Replicas::new("replica-policies", &[]);
    let (first, second) = (&replicas.first, &replicas.second);
    assert_eq!(first.ecr("CreateRepository", &json!({"repositoryName": "app"})).unwrap().0, 200);
    let (id, secret) =
        iam::user_key(first, "bob", r#"{"Statement":{"Effect":"Allow","Action":"iam:Get*","Resource":"*"}}"#);
    sleep(REACHES_ALL);
    let bob = second.of(Key { id, secret, token: None }).unwrap();
    let described = || bob.ecr("DescribeImages", &json!({"repositoryName": "app"})).unwrap().0;
    assert_eq!(described(), 400);
    let allow = json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "bob", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:user/bob"},
        "Action": "ecr:DescribeImages",
    }]});
    let set = json!({"repositoryName": "app", "policyText": allow.to_string()});
    assert_eq!(first.ecr("SetRepositoryPolicy", &set).unwrap().0, 200);
    sleep(REACHES_ALL);
    assert_eq!(described(), 200);
    assert_eq!(first.ecr("DeleteRepositoryPolicy", &json!({"repositoryName": "app"})).unwrap().0, 200);
    sleep(REACHES_ALL);
    assert_eq!(described(), 400);
}

/// QUOTA-22: servers of one database share the rates, as soon as they know of each other.
#[test]
fn replicas_share_the_rates() {
    let replicas = Replicas::new("replica-rates", &[("FUNAYA_RATE_QUOTAS", "ecr")]);
    for _ in 0..60 {
        assert_eq!(replicas.first.ecr("GetAuthorizationToken", &json!({})).unwrap().0, 200);
        let used = quotas::usage(&replicas.scratch.path().join("first"), "ecr:GetAuthorizationToken");
        if used["perSecond"] == 10 {
            assert_eq!(used["burst"], 100);
            return;
        }
        assert_eq!((&used["perSecond"], &used["burst"]), (&json!(20), &json!(200)));
        sleep(Duration::from_millis(500));
    }
    panic!("a server does not know of the other");
}
