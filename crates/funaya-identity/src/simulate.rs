//! What policies would say (COMP-083): the same engine that decides, on policies that are given or that somebody has.

use std::collections::BTreeSet;

use funaya_gate::{Permit, action::iam};
use funaya_policy::{
    Context, Document, Kind as DocumentKind, Level, Named, Policies, PolicyType, Principal, Request, StatementRef,
    decide, explain, locate, managed,
};
use funaya_ports::identity::{self as rows, Relation};
use funaya_types::AccountId;
use serde_json::Value;

pub use funaya_policy::{Outcome, Span};

use crate::{Body, Error, Held, Identities, Page, PageAt, Result, account, off_reactor};

/// A policy of a simulation.
#[derive(Clone, Debug)]
struct Source {
    name: String,
    kind: SourceKind,
    text: String,
}

/// A policy of a simulation, compiled under its number.
struct Compiled {
    source: Source,
    named: Named,
}

/// Where a policy of a simulation comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A user's own.
    User,
    /// A group's.
    Group,
    /// A role's.
    Role,
    /// A managed policy of AWS.
    AwsManaged,
    /// A managed policy of the account.
    UserManaged,
    /// On the resource.
    Resource,
    /// Given with the request.
    None,
}

/// What shall be found out.
#[derive(Clone, Debug, Default)]
pub struct Simulation {
    /// Policies beside those of the principal.
    pub policies: Vec<String>,
    /// Permissions boundaries, in place of the principal's.
    pub boundaries: Vec<String>,
    /// Actions.
    pub actions: Vec<String>,
    /// On what; empty: `*`.
    pub resources: Vec<String>,
    /// A policy on the resources.
    pub resource_policy: Option<String>,
    /// Whose the resources are, as an ARN.
    pub resource_owner: Option<String>,
    /// Who calls, as an ARN.
    pub caller: Option<String>,
    /// Condition keys: name, values, whether they are a list.
    pub context: Vec<(String, Vec<String>, bool)>,
}

/// What was found out about one action on one resource.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// The action.
    pub action: String,
    /// The resource.
    pub resource: String,
    /// The decision.
    pub outcome: Outcome,
    /// The statements that made it.
    pub matched: Vec<Matched>,
    /// Condition keys that policies ask for and that were not given.
    pub missing: Vec<String>,
    /// Whether the boundaries allow it; `None`: there are none.
    pub within_boundary: Option<bool>,
    /// Whether the organization's service control policies allow it; `None`: there are none.
    pub within_organization: Option<bool>,
}

/// A statement that made a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// What its policy is called.
    pub policy: String,
    /// Where the policy comes from.
    pub kind: SourceKind,
    /// Where the statement is in the policy's text.
    pub span: Option<Span>,
}

/// All that a simulation goes by.
struct World {
    principal: Principal,
    owner: AccountId,
    context: Context,
    policies: Vec<Compiled>,
    /// Service control policies, from the organization's root down.
    levels: Vec<Vec<Named>>,
}

impl Identities {
    /// What given policies would say.
    pub async fn simulate_custom(
        &self,
        permit: &Permit<iam::SimulateCustomPolicy>,
        simulation: Simulation,
        at: PageAt,
    ) -> Result<Page<Simulated>> {
        let account = account(permit);
        if simulation.resource_policy.is_some() && simulation.caller.is_none() {
            return Err(Error::InvalidInput("CallerArn is required with ResourcePolicy.".into()));
        }
        let arn = simulation.caller.clone().unwrap_or_else(|| format!("arn:aws:iam::{account}:user/simulated"));
        let principal = principal(&arn, "")?;
        off_reactor(move || {
            let world = World::new(account, principal, Found::default(), Context::new(), &simulation)?;
            Ok(world.page(&simulation, &at))
        })
        .await?
    }

    /// What the policies of a user, group or role would say, together with given ones and with `levels`, the service
    /// control policies over the account.
    pub async fn simulate_principal(
        &self,
        permit: &Permit<iam::SimulatePrincipalPolicy>,
        source: &str,
        simulation: Simulation,
        levels: Vec<Vec<Named>>,
        at: PageAt,
    ) -> Result<Page<Simulated>> {
        let account = account(permit);
        let found = Found { levels, ..self.sources(account, source).await? };
        let arn = match (&simulation.caller, source.contains(":group/")) {
            (Some(caller), _) => caller.clone(),
            (None, false) => source.to_owned(),
            (None, true) => format!("arn:aws:iam::{account}:user/simulated"),
        };
        let principal = principal(&arn, &found.id)?;
        let mut context = Context::new();
        if !source.contains(":group/") {
            principal.context_keys(&mut context);
        }
        off_reactor(move || {
            let world = World::new(account, principal, found, context, &simulation)?;
            Ok(world.page(&simulation, &at))
        })
        .await?
    }

    /// Condition keys that given policies ask for.
    pub fn context_keys(
        &self,
        _: &Permit<iam::GetContextKeysForCustomPolicy>,
        policies: &[String],
    ) -> Result<Vec<String>> {
        keys_of(policies.iter().map(String::as_str))
    }

    /// Condition keys that the policies of a user, group or role ask for, together with given ones.
    pub async fn principal_context_keys(
        &self,
        permit: &Permit<iam::GetContextKeysForPrincipalPolicy>,
        source: &str,
        policies: &[String],
    ) -> Result<Vec<String>> {
        let found = self.sources(account(permit), source).await?;
        let own = found.policies.iter().map(|source| source.text.as_str());
        keys_of(own.chain(policies.iter().map(String::as_str)))
    }

    async fn sources(&self, account: AccountId, arn: &str) -> Result<Found> {
        let unusable = || Error::InvalidInput(format!("Invalid PolicySourceArn: {arn}"));
        let rest = arn.strip_prefix(&format!("arn:aws:iam::{account}:")).ok_or_else(unusable)?;
        let (noun, path) = rest.split_once('/').ok_or_else(unusable)?;
        let name = path.rsplit('/').next().unwrap_or(path);
        match noun {
            "user" => self.sources_of_user(account, name).await,
            "group" => {
                let held = self.get::<rows::Group>(account, name).await?;
                let policies = self.own(account, &held, &held.body.inline, SourceKind::Group).await?;
                Ok(Found { id: held.entity.id, policies, ..Found::default() })
            }
            "role" => {
                let held = self.get::<rows::Role>(account, name).await?;
                let policies = self.own(account, &held, &held.body.inline, SourceKind::Role).await?;
                let boundary = self.boundary_text(account, held.id()).await?;
                Ok(Found { id: held.entity.id, policies, boundary, ..Found::default() })
            }
            _ => Err(unusable()),
        }
    }

    async fn sources_of_user(&self, account: AccountId, name: &str) -> Result<Found> {
        let held = self.get::<rows::User>(account, name).await?;
        let mut policies = self.own(account, &held, &held.body.inline, SourceKind::User).await?;
        for id in self.store().links_from(&account, Relation::MemberOf, held.id()).await? {
            if let Some(group) = self.by_id::<rows::Group>(&id).await? {
                policies.extend(self.own(account, &group, &group.body.inline, SourceKind::Group).await?);
            }
        }
        let boundary = self.boundary_text(account, held.id()).await?;
        Ok(Found { id: held.entity.id, policies, boundary, ..Found::default() })
    }

    /// Inline and attached policies.
    async fn own<B: Body>(
        &self,
        account: AccountId,
        held: &Held<B>,
        inline: &std::collections::BTreeMap<String, String>,
        kind: SourceKind,
    ) -> Result<Vec<Source>> {
        let named = |(name, text): (&String, &String)| Source { name: name.clone(), kind, text: text.clone() };
        let mut policies: Vec<Source> = inline.iter().map(named).collect();
        for arn in self.store().links_from(&account, Relation::Attached, held.id()).await? {
            policies.extend(self.managed_source(account, &arn).await?);
        }
        Ok(policies)
    }

    async fn managed_source(&self, account: AccountId, arn: &str) -> Result<Option<Source>> {
        let name = arn.rsplit('/').next().unwrap_or(arn).to_owned();
        if let Some(policy) = managed::by_arn(arn) {
            return Ok(Some(Source { name, kind: SourceKind::AwsManaged, text: policy.document.to_owned() }));
        }
        let found = self.policy_by_arn(account, arn).await?;
        let text = found.and_then(|held| held.body.document().map(str::to_owned));
        Ok(text.map(|text| Source { name, kind: SourceKind::UserManaged, text }))
    }

    async fn boundary_text(&self, account: AccountId, id: &str) -> Result<Option<String>> {
        match self.boundary(account, id).await? {
            Some(arn) => Ok(self.managed_source(account, &arn).await?.map(|source| source.text)),
            None => Ok(None),
        }
    }
}

/// What a user, group or role has.
#[derive(Default)]
struct Found {
    id: String,
    policies: Vec<Source>,
    boundary: Option<String>,
    levels: Vec<Vec<Named>>,
}

impl World {
    fn new(
        account: AccountId,
        principal: Principal,
        found: Found,
        mut context: Context,
        simulation: &Simulation,
    ) -> Result<Self> {
        for (key, values, several) in &simulation.context {
            match values.as_slice() {
                [one] if !several => context.set(key, one),
                values => context.set_all(key, &values.iter().map(String::as_str).collect::<Vec<_>>()),
            }
        }
        let owner = simulation.resource_owner.as_deref().map(account_of).transpose()?.unwrap_or(account);
        let mut world = Self { principal, owner, context, policies: Vec::new(), levels: found.levels };
        for source in found.policies.into_iter().chain(numbered("PolicyInputList", &simulation.policies)) {
            world.compile(source, DocumentKind::Identity)?;
        }
        let own: Vec<String> = found.boundary.into_iter().collect();
        let boundaries = if simulation.boundaries.is_empty() { &own } else { &simulation.boundaries };
        for source in numbered("PermissionsBoundaryPolicyInputList", boundaries) {
            world.compile(source, DocumentKind::Boundary)?;
        }
        if let Some(text) = &simulation.resource_policy {
            let source = Source { name: "ResourcePolicy".into(), kind: SourceKind::Resource, text: text.clone() };
            // On a repository, or with `Resource` as others have it.
            let done = world.compile(source.clone(), DocumentKind::Repository);
            done.or_else(|_| world.compile(source, DocumentKind::Key))?;
        }
        Ok(world)
    }

    fn compile(&mut self, source: Source, kind: DocumentKind) -> Result<()> {
        let document = Document::parse_within(&source.text, kind, usize::MAX);
        let document = document.map_err(|fault| Error::InvalidInput(format!("{}: {}", source.name, fault.text())))?;
        let name = self.policies.len().to_string().into();
        self.policies.push(Compiled { source, named: Named { name, policy_type: kind.policy_type(), document } });
        Ok(())
    }

    fn of_type(&self, wanted: PolicyType) -> impl Iterator<Item = &Named> {
        self.policies.iter().map(|policy| &policy.named).filter(move |named| named.policy_type == wanted)
    }

    fn page(&self, simulation: &Simulation, at: &PageAt) -> Page<Simulated> {
        let any = ["*".to_owned()];
        let resources = if simulation.resources.is_empty() { &any[..] } else { &simulation.resources };
        // Only what the page shows is worked out: a form has room for millions of pairs.
        let count = simulation.actions.len() * resources.len();
        let from = at.after.parse().unwrap_or(0).min(count);
        let to = count.min(from.saturating_add(usize::try_from(at.limit).unwrap_or(usize::MAX)));
        let pair = |number| (&simulation.actions[number / resources.len()], &resources[number % resources.len()]);
        let items = (from..to).map(pair).map(|(action, resource)| self.simulate(action, resource)).collect();
        let next = (to < count).then(|| to.to_string());
        Page { items, next }
    }

    fn simulate(&self, action: &str, resource: &str) -> Simulated {
        let request = Request {
            principal: &self.principal,
            action,
            resource,
            resource_account: Some(self.owner),
            context: &self.context,
        };
        let identity: Vec<&Named> = self.of_type(PolicyType::Identity).collect();
        let lists: Vec<Vec<&Named>> = self.levels.iter().map(|level| level.iter().collect()).collect();
        let levels: Vec<Level<'_>> = lists.iter().map(|policies| Level { policies }).collect();
        let boundary = self.of_type(PolicyType::Boundary).next();
        let policies = Policies {
            identity: &identity,
            boundary,
            service_control: &levels,
            resource: self.policies.iter().find(|policy| policy.source.kind == SourceKind::Resource).map(|p| &p.named),
            ..Policies::default()
        };
        // Asked as if it were all that the caller has.
        let alone = |identity: &[&Named]| {
            let own = Request { resource_account: self.principal.account(), ..request };
            decide(&own, &Policies { identity, ..Policies::default() }).is_allowed()
        };
        let explained = explain(&request, &policies);
        Simulated {
            action: action.to_owned(),
            resource: resource.to_owned(),
            outcome: explained.outcome,
            matched: explained.deciding.iter().filter_map(|statement| self.matched(statement)).collect(),
            missing: explained.missing_context_keys,
            within_boundary: boundary.map(|boundary| alone(&[boundary])),
            within_organization: (!lists.is_empty()).then(|| lists.iter().all(|level| alone(level))),
        }
    }

    /// `None` for one of the organization: who simulates need not be allowed to read its policies.
    fn matched(&self, statement: &StatementRef) -> Option<Matched> {
        let is_ours = statement.policy_type != PolicyType::ServiceControl;
        let number = statement.policy.as_str().parse::<usize>().ok().filter(|_| is_ours)?;
        let source = &self.policies.get(number)?.source;
        let span = locate(&source.text, statement.index);
        Some(Matched { policy: source.name.clone(), kind: source.kind, span })
    }
}

/// Policies of a request, named by the list and their place in it.
fn numbered<'t>(list: &str, texts: &'t [String]) -> impl Iterator<Item = Source> + use<'t> {
    let list = list.to_owned();
    let source = move |(number, text): (u32, &String)| Source {
        name: format!("{list}.{number}"),
        kind: SourceKind::None,
        text: text.clone(),
    };
    (1..).zip(texts).map(source)
}

fn account_of(arn: &str) -> Result<AccountId> {
    let account = arn.split(':').nth(4).unwrap_or(arn);
    account.parse().map_err(|_| Error::InvalidInput(format!("Invalid ARN: {arn}")))
}

/// The principal that an ARN names. `id`: its unique id, if it is known.
fn principal(arn: &str, id: &str) -> Result<Principal> {
    let account = account_of(arn)?;
    let rest = arn.splitn(6, ':').nth(5).unwrap_or_default();
    let name = rest.rsplit('/').next().unwrap_or_default();
    match rest.split('/').next().unwrap_or_default() {
        "root" => Ok(Principal::Root { account }),
        "user" => Ok(Principal::User { account, name: name.into(), arn: arn.into(), id: id.into() }),
        "role" => Ok(Principal::AssumedRole {
            account,
            role_arn: arn.into(),
            role_id: id.into(),
            session_name: "simulated".into(),
            session_arn: format!("arn:aws:sts::{account}:assumed-role/{name}/simulated").into(),
        }),
        _ => Err(Error::InvalidInput(format!("Invalid CallerArn: {arn}"))),
    }
}

/// The condition keys of documents, each once, sorted: those of `Condition` blocks, and those of variables.
fn keys_of<'a>(documents: impl Iterator<Item = &'a str>) -> Result<Vec<String>> {
    let mut keys = BTreeSet::new();
    for text in documents {
        Document::parse_within(text, DocumentKind::Identity, usize::MAX)
            .map_err(|fault| Error::InvalidInput(fault.text().to_owned()))?;
        let document: Value =
            serde_json::from_str(text).map_err(|_| Error::InvalidInput("Syntax errors in policy.".into()))?;
        collect(&document, "", &mut keys);
    }
    Ok(keys.into_iter().collect())
}

/// `under`: the member that holds the value.
fn collect(value: &Value, under: &str, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) if under == "Condition" => {
            for operator in members.values().filter_map(Value::as_object) {
                keys.extend(operator.keys().cloned());
                operator.values().for_each(|wanted| collect(wanted, "", keys));
            }
        }
        Value::Object(members) => members.iter().for_each(|(name, value)| collect(value, name, keys)),
        Value::Array(list) => list.iter().for_each(|value| collect(value, under, keys)),
        Value::String(text) => keys.extend(variables(text)),
        _ => {}
    }
}

/// `aws:username` of `${aws:username}` and of `${aws:username, 'nobody'}`; `${*}` and its like name none.
fn variables(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split("${").skip(1).filter_map(|part| part.split('}').next());
    let names = parts.map(|part| part.split(',').next().unwrap_or(part).trim().to_owned());
    names.filter(|name| name.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// COMP-083
    #[test]
    fn context_keys() {
        let text = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*",
            "Resource": ["arn:aws:ecr:*:*:repository/${aws:username}/*", "arn:aws:ecr:*:*:repository/${*}"],
            "Condition": {"StringEquals": {"aws:RequestTag/a": "${aws:PrincipalTag/team, 'x'}"},
                          "Bool": {"aws:MultiFactorAuthPresent": "true"}}}]}"#;
        let want = ["aws:MultiFactorAuthPresent", "aws:PrincipalTag/team", "aws:RequestTag/a", "aws:username"];
        assert_eq!(keys_of([text].into_iter()).unwrap(), want);
        assert!(keys_of(["{}"].into_iter()).is_err());
    }

    #[test]
    fn outcomes() {
        let account: AccountId = "123456789012".parse().unwrap();
        let allow = r#"{"Statement": {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}}"#;
        let deny = r#"{"Statement": {"Effect": "Deny", "Action": "ecr:Delete*", "Resource": "*"}}"#;
        let narrow = r#"{"Statement": {"Effect": "Allow", "Action": "ecr:Get*", "Resource": "*"}}"#;
        let simulation = Simulation {
            policies: vec![allow.into(), deny.into()],
            boundaries: vec![narrow.into()],
            actions: ["ecr:GetRepositoryPolicy", "ecr:PutImage", "ecr:DeleteRepository", "iam:GetUser"]
                .map(Into::into)
                .into(),
            ..Simulation::default()
        };
        let alice = principal("arn:aws:iam::123456789012:user/alice", "").unwrap();
        let world = World::new(account, alice, Found::default(), Context::new(), &simulation).unwrap();
        let page = world.page(&simulation, &PageAt { after: String::new(), limit: 10 });
        let seen: Vec<_> = page.items.iter().map(|item| (item.outcome, item.within_boundary)).collect();
        assert_eq!(seen[0], (Outcome::Allowed, Some(true)));
        assert_eq!(seen[1], (Outcome::ImplicitDeny { missing: PolicyType::Boundary }, Some(false)));
        assert_eq!(seen[2], (Outcome::ExplicitDeny { by: PolicyType::Identity }, Some(false)));
        assert_eq!(seen[3], (Outcome::ImplicitDeny { missing: PolicyType::Identity }, Some(false)));
        let span = Some(Span { start: (1, 15), end: (1, 75) });
        let want = Matched { policy: "PolicyInputList.2".into(), kind: SourceKind::None, span };
        assert_eq!(page.items[2].matched, [want]);
    }

    /// Two policies of one name are told apart; what the organization does not allow is not allowed (IAM-23).
    #[test]
    fn organizations() {
        let account: AccountId = "123456789012".parse().unwrap();
        let named = |text: &str| Named {
            name: "p-1".into(),
            policy_type: PolicyType::ServiceControl,
            document: Document::parse(text, DocumentKind::ServiceControl).unwrap(),
        };
        let all = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#;
        let no_puts =
            r#"{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "ecr:Put*", "Resource": "*"}}"#;
        let push = |kind, action: &str| Source {
            name: "push".into(),
            kind,
            text: format!(r#"{{"Statement": [{{"Effect": "Allow", "Action": "{action}", "Resource": "*"}}]}}"#),
        };
        let found = Found {
            policies: vec![push(SourceKind::User, "ecr:Get*"), push(SourceKind::Group, "ecr:PutImage")],
            levels: vec![vec![named(all)], vec![named(all), named(no_puts)]],
            ..Found::default()
        };
        let actions = ["ecr:GetRepositoryPolicy", "ecr:PutImage"].map(Into::into).into();
        let simulation = Simulation { actions, ..Simulation::default() };
        let alice = principal("arn:aws:iam::123456789012:user/alice", "").unwrap();
        let world = |found| World::new(account, alice.clone(), found, Context::new(), &simulation).unwrap();
        let at = PageAt { after: String::new(), limit: 10 };
        let page = world(found).page(&simulation, &at);
        assert_eq!((page.items[0].outcome, page.items[0].within_organization), (Outcome::Allowed, Some(true)));
        let denied = Outcome::ExplicitDeny { by: PolicyType::ServiceControl };
        assert_eq!((page.items[1].outcome, page.items[1].within_organization), (denied, Some(false)));
        assert_eq!(page.items[1].matched, []);
        let policies = vec![push(SourceKind::User, "ecr:Get*"), push(SourceKind::Group, "ecr:PutImage")];
        let page = world(Found { policies, ..Found::default() }).page(&simulation, &at);
        assert_eq!(page.items[1].within_organization, None);
        assert_eq!(page.items[1].matched[0].kind, SourceKind::Group);
    }

    /// A page costs what it shows, whatever the rest comes to.
    #[test]
    fn pages() {
        let many = |letter| (0..40_000).map(|number| format!("{letter}:{number}")).collect();
        let simulation = Simulation { actions: many("a"), resources: many("r"), ..Simulation::default() };
        let account: AccountId = "123456789012".parse().unwrap();
        let alice = principal("arn:aws:iam::123456789012:user/alice", "").unwrap();
        let world = World::new(account, alice, Found::default(), Context::new(), &simulation).unwrap();
        let shown = |page: &Page<Simulated>| page.items.iter().map(|one| one.resource.clone()).collect::<Vec<_>>();
        let first = world.page(&simulation, &PageAt { after: String::new(), limit: 2 });
        assert_eq!((shown(&first), first.next.as_deref()), (vec!["r:0".into(), "r:1".into()], Some("2")));
        let last = world.page(&simulation, &PageAt { after: "1599999999".into(), limit: 2 });
        assert_eq!((shown(&last), last.next), (vec!["r:39999".into()], None));
    }
}
