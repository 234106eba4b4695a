//! Principals, and requests with their policies, as the tests write them down in JSON.

use std::collections::BTreeMap;

use funaya_policy::{
    Context, Document, Explanation, Issuer, Kind, Level, Named, Outcome, Policies, PolicyType, Principal, Request,
    decide, explain,
};
use funaya_types::AccountId;
use serde_json::{Map, Value};

use crate::reference::{self, Documents, Plain};

pub const HOME: &str = "111122223333";
pub const ABROAD: &str = "444455556666";
pub const REPOSITORY: &str = "arn:aws:ecr:us-east-1:111122223333:repository/my-repo";

/// The persons of the play.
pub const NAMES: [&str; 17] = [
    "alice",
    "alice-again",
    "bob",
    "carol",
    "root",
    "deploy",
    "deploy-again",
    "fed-alice",
    "fed-root",
    "mallory",
    "abroad-role",
    "abroad-root",
    "codebuild",
    "ecs",
    "github",
    "saml",
    "anonymous",
];

pub fn principal(name: &str) -> Principal {
    let user = |account: &str, name: &str, id: &str| Principal::User {
        account: account.parse().unwrap(),
        name: name.into(),
        arn: format!("arn:aws:iam::{account}:user/{name}").into(),
        id: id.into(),
    };
    let role = |account: &str, name: &str, path: &str, id: &str, session: &str| Principal::AssumedRole {
        account: account.parse().unwrap(),
        role_arn: format!("arn:aws:iam::{account}:role{path}{name}").into(),
        role_id: id.into(),
        session_name: session.into(),
        session_arn: format!("arn:aws:sts::{account}:assumed-role/{name}/{session}").into(),
    };
    let federated = |name: &str, issuer| Principal::FederatedUser {
        account: HOME.parse().unwrap(),
        name: name.into(),
        arn: format!("arn:aws:sts::{HOME}:federated-user/{name}").into(),
        issuer,
    };
    match name {
        "alice" => user(HOME, "alice", "AIDAALICE00000000001"),
        "alice-again" => user(HOME, "alice", "AIDAALICE00000000002"),
        "bob" => user(HOME, "bob", "AIDABOB0000000000001"),
        "carol" => user(HOME, "carol", "AIDACAROL00000000001"),
        "root" => Principal::Root { account: HOME.parse().unwrap() },
        "deploy" => role(HOME, "deploy", "/ci/", "AROADEPLOY0000000001", "build-7"),
        "deploy-again" => role(HOME, "deploy", "/ci/", "AROADEPLOY0000000002", "build-7"),
        "fed-alice" => federated(
            "visitor",
            Issuer::User { arn: format!("arn:aws:iam::{HOME}:user/alice").into(), id: "AIDAALICE00000000001".into() },
        ),
        "fed-root" => federated("guest", Issuer::Root),
        "mallory" => user(ABROAD, "mallory", "AIDAMALLORY000000001"),
        "abroad-role" => role(ABROAD, "puller", "/", "AROAPULLER0000000001", "job"),
        "abroad-root" => Principal::Root { account: ABROAD.parse().unwrap() },
        "codebuild" => Principal::Service { name: "codebuild.amazonaws.com".into() },
        "ecs" => Principal::Service { name: "ecs.amazonaws.com".into() },
        "github" => Principal::WebIdentity {
            provider: format!("arn:aws:iam::{HOME}:oidc-provider/token.actions.githubusercontent.com").into(),
        },
        "saml" => Principal::Saml { provider_arn: format!("arn:aws:iam::{HOME}:saml-provider/Corp").into() },
        "anonymous" => Principal::Anonymous,
        _ => panic!("nobody is called {name}"),
    }
}

/// A request with its policies, both for the crate and for the reference.
pub struct Scene {
    pub principal: Principal,
    pub action: String,
    pub resource: String,
    pub owner: Option<AccountId>,
    pub context: Context,
    service_control: Vec<Vec<Named>>,
    endpoint: Option<Named>,
    resource_policy: Option<Named>,
    identity: Vec<Named>,
    boundary: Option<Named>,
    session: Option<Vec<Named>>,
    plain: Documents,
}

impl Scene {
    /// From the members `principal`, `action`, `resource`, `owner`, `context`, `policies` and the shorthands
    /// `condition`, `resource_pattern` and `action_pattern`, which stand for one identity-based policy.
    pub fn read(case: &Map<String, Value>, shared: &Value) -> Result<Self, String> {
        let text = |name: &str, default: &str| case.get(name).and_then(Value::as_str).unwrap_or(default).to_string();
        let principal = principal(&text("principal", "alice"));
        let owner = match case.get("owner") {
            Some(Value::Null) => None,
            Some(owner) => Some(owner.as_str().unwrap().parse().unwrap()),
            None => Some(HOME.parse().unwrap()),
        };
        let mut context = Context::new();
        principal.context_keys(&mut context);
        for (key, value) in case.get("context").and_then(Value::as_object).into_iter().flatten() {
            match value {
                Value::Array(list) => {
                    context.set_all(key, &list.iter().map(|v| v.as_str().unwrap()).collect::<Vec<_>>());
                }
                one => context.set(key, one.as_str().unwrap()),
            }
        }
        let mut scene = Self {
            principal,
            action: text("action", "ecr:BatchGetImage"),
            resource: text("resource", REPOSITORY),
            owner,
            context,
            service_control: Vec::new(),
            endpoint: None,
            resource_policy: None,
            identity: Vec::new(),
            boundary: None,
            session: None,
            plain: Documents::default(),
        };
        let none = Map::new();
        scene.policies(case.get("policies").and_then(Value::as_object).unwrap_or(&none), shared)?;
        if let Some(document) = shorthand(case) {
            scene.identity.push(named(&document, Kind::Identity, PolicyType::Identity, "shorthand")?);
            scene.plain.identity.push(document);
        }
        Ok(scene)
    }

    fn policies(&mut self, policies: &Map<String, Value>, shared: &Value) -> Result<(), String> {
        let look_up = |value: &Value| match value {
            Value::String(name) => match managed(name) {
                Some(document) => document,
                None => shared.get(name).unwrap_or_else(|| panic!("no document {name}")).clone(),
            },
            document => document.clone(),
        };
        let all = |value: &Value| -> Vec<Value> { value.as_array().unwrap().iter().map(look_up).collect() };
        for (slot, value) in policies {
            match slot.as_str() {
                "service_control" => {
                    self.plain.service_control = value.as_array().unwrap().iter().map(all).collect();
                    for level in &self.plain.service_control {
                        let level: Result<_, String> = level
                            .iter()
                            .map(|d| named(d, Kind::ServiceControl, PolicyType::ServiceControl, "SCP"))
                            .collect();
                        self.service_control.push(level?);
                    }
                }
                "endpoint" => {
                    let document = look_up(value);
                    self.endpoint = Some(named(&document, Kind::Endpoint, PolicyType::Endpoint, "endpoint policy")?);
                    self.plain.endpoint = Some(document);
                }
                "repository" | "registry" | "trust" | "key" => {
                    let (kind, policy_type) = match slot.as_str() {
                        "repository" => (Kind::Repository, PolicyType::Resource),
                        "registry" => (Kind::Registry, PolicyType::Resource),
                        "trust" => (Kind::Trust, PolicyType::Trust),
                        _ => (Kind::Key, PolicyType::Key),
                    };
                    let document = look_up(value);
                    self.resource_policy = Some(named(&document, kind, policy_type, slot)?);
                    self.plain.resource = Some(document);
                    self.plain.resource_type = Some(policy_type);
                }
                "identity" => {
                    for document in all(value) {
                        let name = format!("identity {}", self.identity.len());
                        self.identity.push(named(&document, Kind::Identity, PolicyType::Identity, &name)?);
                        self.plain.identity.push(document);
                    }
                }
                "boundary" => {
                    let document = look_up(value);
                    self.boundary = Some(named(&document, Kind::Boundary, PolicyType::Boundary, "boundary")?);
                    self.plain.boundary = Some(document);
                }
                "session" => {
                    let documents = all(value);
                    let list: Result<_, String> = documents
                        .iter()
                        .map(|d| named(d, Kind::Session, PolicyType::Session, "session policy"))
                        .collect();
                    self.session = Some(list?);
                    self.plain.session = Some(documents);
                }
                "bind" => {
                    self.plain.bindings = Some(serde_json::from_value(value.clone()).unwrap());
                }
                _ => panic!("no slot {slot}"),
            }
        }
        if let (Some(bindings), Some(policy)) = (&self.plain.bindings, &mut self.resource_policy) {
            policy.document = policy.document.bind(|arn| bindings.get(arn).cloned());
        }
        Ok(())
    }

    /// Hands out the borrowed form.
    pub fn with<T>(&self, run: impl FnOnce(&Request<'_>, &Policies<'_>) -> T) -> T {
        let levels: Vec<Vec<&Named>> = self.service_control.iter().map(|level| level.iter().collect()).collect();
        let levels: Vec<Level<'_>> = levels.iter().map(|policies| Level { policies }).collect();
        let identity: Vec<&Named> = self.identity.iter().collect();
        let request = Request {
            principal: &self.principal,
            action: &self.action,
            resource: &self.resource,
            resource_account: self.owner,
            context: &self.context,
        };
        let policies = Policies {
            service_control: &levels,
            endpoint: self.endpoint.as_ref(),
            resource: self.resource_policy.as_ref(),
            identity: &identity,
            boundary: self.boundary.as_ref(),
            session: self.session.as_deref(),
        };
        run(&request, &policies)
    }

    pub fn decide(&self) -> Outcome {
        self.with(|request, policies| decide(request, policies).outcome)
    }

    pub fn explain(&self) -> Explanation {
        self.with(explain)
    }

    /// What the reference says.
    pub fn reference(&self) -> Outcome {
        let mut context = BTreeMap::new();
        let lists: Vec<(String, Vec<String>)> =
            self.context.iter().map(|(key, values)| (key.to_lowercase(), values.map(Into::into).collect())).collect();
        for (key, mut values) in lists {
            // The only list in the tests.
            let several = key == "aws:tagkeys" || values.len() != 1;
            let value = if several { Err(values) } else { Ok(values.remove(0)) };
            context.insert(key, value);
        }
        let plain = Plain {
            principal: self.principal.clone(),
            action: self.action.clone(),
            resource: self.resource.clone(),
            owner: self.owner,
            context,
        };
        reference::decide(&plain, &self.plain)
    }
}

fn named(document: &Value, kind: Kind, policy_type: PolicyType, name: &str) -> Result<Named, String> {
    let parsed = Document::parse_within(&document.to_string(), kind, 20_480);
    let document = parsed.map_err(|fault| format!("{}: {}: {document}", fault.text(), fault.reason()))?;
    Ok(Named { name: name.into(), policy_type, document })
}

fn managed(name: &str) -> Option<Value> {
    let found = funaya_policy::managed::POLICIES.iter().find(|policy| policy.name == name)?;
    Some(serde_json::from_str(found.document).unwrap())
}

fn shorthand(case: &Map<String, Value>) -> Option<Value> {
    let mut statement = serde_json::json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
    let mut any = false;
    for (name, element) in [("condition", "Condition"), ("resource_pattern", "Resource"), ("action_pattern", "Action")]
    {
        if let Some(value) = case.get(name) {
            statement[element] = value.clone();
            any = true;
        }
    }
    let version = case.get("version").and_then(Value::as_str).unwrap_or("2012-10-17");
    any.then(|| serde_json::json!({ "Version": version, "Statement": statement }))
}
