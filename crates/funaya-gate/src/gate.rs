//! The gate itself: sign-in, throttling, the decision, records.

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use funaya_policy::{Kind, Named, Principal};
use funaya_ports::{
    Clock, Random, StoreError, audit,
    identity::{BoundPolicy, Directory, LastUse},
};
use funaya_rules::{
    quotas::Quotas,
    throttle::{Bucket, Rate},
};
use funaya_sigv4::Request;
use funaya_types::{AccountId, Digest, Region, Registry, Secret, Timestamp};
use serde_json::Value;

use crate::{
    access::{self, Access, Identity, IdentityKind},
    action::{Action, FreeAction, Operation, Service, SessionAction},
    audit::AuditLog,
    call::{Call, Caller, Client, Who},
    download::{self, Download},
    judge::{Asked, Case},
    keys::{self, RootAccessKey, Sealer},
    permit::{Permit, Resource, Resources, Target, Upkeep},
    reasons,
    replay::{self, Replayed, Trial},
    session::{NewSession, SessionCredentials, SessionOf, Sessions},
    sign_in::{self, Introduced, SignInError, SigningKeys},
    token::{self, RegistryToken, TokenError},
};

/// Which Regions are served.
#[derive(Clone, Debug)]
pub enum Regions {
    /// Every name that a Region may have.
    Any,
    /// These.
    Listed(Vec<Region>),
}

impl Regions {
    /// Whether a Region is served.
    pub fn serve(&self, region: &Region) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(regions) => regions.contains(region),
        }
    }

    pub(crate) fn serve_name(&self, name: &str) -> bool {
        name.parse().is_ok_and(|region| self.serve(&region))
    }
}

/// What the gate is made of.
pub struct Settings {
    /// The registry of plain host names.
    pub default_registry: Registry,
    /// Which Regions are served.
    pub regions: Regions,
    /// The default account root's access key.
    pub root: RootAccessKey,
    /// Principals and policies.
    pub directory: Arc<dyn Directory>,
    /// The key that all others are derived from.
    pub root_key: [u8; 32],
    /// Whether the guide's rates are enforced (QUOTA-26).
    pub throttled: bool,
    /// What accounts may hold and how often they may call.
    pub quotas: Arc<Quotas>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives random bytes.
    pub random: Arc<dyn Random>,
    /// Where records go.
    pub audit: AuditLog,
}

/// Uses of a key are kept no finer than this.
const USE_EVERY: Duration = Duration::from_secs(60);
/// How often a call that waits for a credit looks again.
const THROTTLE_STEP: Duration = Duration::from_millis(50);

/// What an account called of one operation in one Region.
struct Meter {
    bucket: Bucket,
    calls: u64,
    throttled: u64,
}

/// How often an account called an operation in a Region since the server started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Who.
    pub account: AccountId,
    /// Where.
    pub region: Region,
    /// What, such as `ecr:PutImage`.
    pub action: String,
    /// Calls let in.
    pub calls: u64,
    /// Calls and tries that were too many; one that waits tries several times.
    pub throttled: u64,
    /// What this server gives; `None`: rates are off.
    pub rate: Option<Rate>,
}

/// Why an authenticated call is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No policy allows it (ERR-20).
    #[error("User: {principal} is not authorized to perform: {action} on resource: {resource}")]
    NotAllowed {
        /// Who.
        principal: String,
        /// What, such as `ecr:PutImage`.
        action: String,
        /// On what.
        resource: String,
        /// By this id the reasons can be asked for (D9).
        decision: String,
    },
    /// Too many calls (QUOTA-23).
    #[error("Rate exceeded")]
    Throttled,
    /// The store failed: nothing could be decided.
    #[error("The service is unavailable")]
    Unavailable,
}

impl Denied {
    /// The error code in audit records (IAM-33).
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAllowed { .. } => "AccessDenied",
            Self::Throttled => "ThrottlingException",
            Self::Unavailable => "ServiceUnavailable",
        }
    }

    /// The id of the decision, if it was one.
    pub fn decision(&self) -> Option<&str> {
        match self {
            Self::NotAllowed { decision, .. } => Some(decision),
            Self::Throttled | Self::Unavailable => None,
        }
    }
}

/// A refusal with its reasons, on the way to the audit log.
struct Refused {
    denied: Denied,
    reasons: Option<Value>,
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        Self { denied, reasons: None }
    }
}

/// The only maker of [`Permit`]s.
pub struct Gate {
    settings: Settings,
    access: Access,
    signing_keys: SigningKeys,
    sessions: Sessions,
    tokens: Sealer,
    downloads: Secret,
    meters: Mutex<HashMap<(AccountId, Region, Operation), Meter>>,
    /// Servers on this database: each counts for itself, and gives its share of a rate.
    servers: AtomicU32,
    uses: Mutex<HashMap<String, LastUse>>,
}

impl Gate {
    /// A gate; `None` if the root key can't be used.
    pub fn new(settings: Settings) -> Option<Self> {
        let tokens = Sealer::new(&settings.root_key, "registry tokens", settings.random.clone())?;
        let secrets = Sealer::new(&settings.root_key, keys::ACCESS_KEYS, settings.random.clone())?;
        let raw = keys::derive(&settings.root_key, "layer downloads");
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self {
            tokens,
            downloads: Secret::new(hex),
            sessions: Sessions::new(&settings.root_key, settings.random.clone())?,
            access: Access::new(settings.directory.clone(), secrets, settings.root.clone()),
            settings,
            signing_keys: SigningKeys::default(),
            meters: Mutex::default(),
            servers: AtomicU32::new(1),
            uses: Mutex::default(),
        })
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.settings.clock.now()
    }

    /// A fresh request id.
    pub fn request_id(&self) -> String {
        self.settings.random.uuid()
    }

    /// The registry that plain host names mean.
    pub fn default_registry(&self) -> &Registry {
        &self.settings.default_registry
    }

    /// Whether a Region is served here.
    pub fn serves(&self, region: &Region) -> bool {
        self.settings.regions.serve(region)
    }

    /// Finds, before a body is read, who a request says it is.
    pub async fn introduce(&self, request: &Request<'_>, now: Timestamp) -> Result<Introduced, SignInError> {
        sign_in::introduce(&self.access, &self.sessions, request, now).await
    }

    /// Checks a SigV4 signature. Hashes `body`: call it off the reactor for large ones.
    pub fn sign_in(
        &self,
        introduced: Introduced,
        request: &Request<'_>,
        service: Service,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Caller, SignInError> {
        let (keys, regions) = (&self.signing_keys, &self.settings.regions);
        let caller = sign_in::sign_in(keys, regions, introduced, request, service, body, now)?;
        self.note_use(&caller, service, now);
        Ok(caller)
    }

    /// Checks a registry token in an `Authorization` header (AUTH-11 to AUTH-16).
    pub async fn accept_token(&self, header: &str, region: &Region, now: Timestamp) -> Result<Caller, TokenError> {
        let caller = token::accept(&self.tokens, &self.access, header, region, now).await?;
        self.note_use(&caller, Service::Ecr, now);
        Ok(caller)
    }

    /// Keeps when a key or role was last used, to the minute.
    fn note_use(&self, caller: &Caller, service: Service, now: Timestamp) {
        let id = match caller.principal() {
            Principal::AssumedRole { role_id, .. } => role_id,
            Principal::User { .. } if caller.claims().is_none() => caller.access_key_id.as_str(),
            _ => return,
        };
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.get(id).is_none_or(|last| last.at.plus(USE_EVERY) <= now) {
            let (region, service) = (caller.region.to_string(), service.name().to_owned());
            uses.insert(id.to_owned(), LastUse { at: now, region, service });
        }
    }

    /// The uses that were noted since the last time, to be stored.
    pub fn take_uses(&self) -> Vec<(String, LastUse)> {
        std::mem::take(&mut *self.uses.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }

    /// A caller who has shown a token of an identity provider and nothing else, for
    /// `AssumeRoleWithWebIdentity` and `AssumeRoleWithSAML`. `account`: that of the role wanted.
    pub fn stranger(
        &self,
        principal: Principal,
        conditions: Vec<(String, Vec<String>)>,
        account: AccountId,
        region: Region,
        client: &Client,
    ) -> Call {
        let who = Arc::new(Who { principal, identity: None, session: None });
        let caller = Caller { account, region, access_key_id: String::new(), who };
        Call { conditions, ..Call::new(caller, client) }
    }

    /// Makes a session of what a permit allows.
    pub fn issue_session<A: SessionAction>(&self, permit: &Permit<A>, new: NewSession) -> SessionCredentials {
        let mut unique = [0; 10];
        self.settings.random.fill(&mut unique);
        let caller = permit.call.caller();
        // A user's own sessions end with the key that asked for them; those of a role are the role's.
        let parent = match new.of {
            SessionOf::Role { .. } => None,
            SessionOf::Own { user_id: None, .. } | SessionOf::Federated { user_id: None, .. } => None,
            _ => Some(caller.access_key_id.clone()),
        };
        self.sessions.issue(new, parent, unique, permit.now())
    }

    /// Makes a registry token (AUTH-10).
    pub fn issue_token(&self, permit: &Permit<crate::action::GetAuthorizationToken>) -> RegistryToken {
        token::issue(&self.tokens, &permit.call.caller, permit.now())
    }

    /// A registry token for the root of the default account, for operators on the machine itself.
    pub fn issue_root_token(&self) -> RegistryToken {
        token::issue(&self.tokens, &self.root_caller(), self.now())
    }

    /// The root of the default account.
    fn root_caller(&self) -> Caller {
        let Registry { account, region } = self.settings.default_registry.clone();
        let kind = IdentityKind::Root;
        let ceiling = Arc::default();
        let identity = Identity { account, kind, tags: Vec::new(), policies: Vec::new(), boundary: None, ceiling };
        let who = Arc::new(Who::lasting(Arc::new(identity)));
        Caller { account, region, access_key_id: self.settings.root.id.clone(), who }
    }

    /// A call of an operator on the machine itself, who acts as the root of the default account.
    pub fn operator(&self, client: &Client) -> Call {
        Call::new(self.root_caller(), client)
    }

    /// Path and query of a download URL; the permit says which registry.
    pub fn sign_download(
        &self,
        permit: &Permit<crate::action::GetDownloadUrlForLayer>,
        digest: &Digest,
        host: &str,
    ) -> Option<String> {
        download::sign(&self.downloads, permit.registry(), digest, host, permit.now())
    }

    /// Checks a download URL.
    pub fn accept_download(&self, request: &Request<'_>) -> Option<Download> {
        download::accept(&self.downloads, request, self.now())
    }

    /// A call of this caller.
    pub fn call(&self, caller: Caller, client: &Client) -> Call {
        Call::new(caller, client)
    }

    /// Decides. `request`: the parameters for the audit record, without secrets (TRAIL-12).
    ///
    /// # Errors
    /// [`Denied`]; the refusal is recorded before it is returned.
    pub async fn authorize<A: Action>(
        &self,
        call: &Call,
        registry: &Registry,
        target: A::Target,
        request: Value,
    ) -> Result<Permit<A>, Denied> {
        let permit = self.permit(call, registry, target, request);
        match self.decide_patiently(&permit).await {
            Ok(()) => Ok(permit),
            Err(Refused { denied, reasons }) => {
                let mut entry = permit.entry(Value::Null, Some((denied.code().into(), denied.to_string())));
                // A refusal is no matter of the account that was asked for.
                entry.registry.account = call.caller.account;
                entry.event.decision = reasons;
                self.settings.audit.put(entry).await;
                Err(denied)
            }
        }
    }

    /// Permits what needs no permission. Only the rate can be in the way.
    ///
    /// # Errors
    /// [`Denied::Throttled`]
    pub fn permit_free<A: FreeAction>(
        &self,
        call: &Call,
        registry: &Registry,
        target: A::Target,
        request: Value,
    ) -> Result<Permit<A>, Denied> {
        self.throttle(call, registry, A::OPERATION)?;
        Ok(self.permit(call, registry, target, request))
    }

    /// Decides without leaving a record of a refusal: for looking whether something
    /// may be offered, such as a layer to mount.
    pub async fn probe<A: Action>(
        &self,
        call: &Call,
        registry: &Registry,
        target: A::Target,
        request: Value,
    ) -> Result<Permit<A>, Denied> {
        let permit = self.permit(call, registry, target, request);
        self.decide(&permit).await.map(|()| permit).map_err(|refused| refused.denied)
    }

    /// Whether the caller could still do the same if the repository had this policy (POL-21).
    pub async fn would_allow<A: Action>(&self, permit: &Permit<A>, policy: &BoundPolicy) -> Result<bool, StoreError> {
        let Permit { call, registry, target, .. } = permit;
        let action = A::OPERATION.action();
        for resource in target.resources(registry) {
            let asked = asked(A::OPERATION, &action);
            let case = Case::gather(&self.access, call, registry, asked, target, &resource).await?;
            let policy = access::bind(resource.arn.clone(), Kind::Repository, policy)?;
            if !case.with_policy(policy).decide().is_allowed() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The service control policies over the caller's account, from the organization's root down, for simulations.
    pub async fn service_control<A: Action>(&self, permit: &Permit<A>) -> Result<Vec<Vec<Named>>, StoreError> {
        Ok(self.access.ceiling(permit.call.caller.account).await?.levels.clone())
    }

    /// Judges a recorded call with and without a changed policy. `registry`: whose record it is.
    pub async fn replay(
        &self,
        registry: &Registry,
        context: &Arc<audit::Context>,
        event: &audit::Event,
        trial: &Trial,
    ) -> Result<Replayed, StoreError> {
        replay::replay(&self.access, registry, context, event, trial).await
    }

    /// The permit of the server's own upkeep and of operators on its machine.
    pub fn upkeep(&self) -> Upkeep {
        Upkeep(())
    }

    fn permit<A: Action>(&self, call: &Call, registry: &Registry, target: A::Target, request: Value) -> Permit<A> {
        Permit {
            call: call.clone(),
            registry: registry.clone(),
            target,
            request,
            event_id: self.settings.random.uuid(),
            action: PhantomData,
        }
    }

    /// Decides for a call that no permit can be made for: its operation is not built
    /// (API-72), or its parameters are wrong and it matters first whether the caller may
    /// ask at all (ERR-22). Either way it fails; this tells with what, and records it.
    pub async fn refuse(
        &self,
        call: &Call,
        registry: &Registry,
        operation: Operation,
        resource: Option<Resource>,
        request: Value,
        fault: (&str, &str),
    ) -> Option<Denied> {
        let event_id = self.settings.random.uuid();
        let refused = match resource {
            // What can't be read is told first.
            None => None,
            Some(resource) => {
                let target = Resources::one(resource.clone());
                let allowed = self.allow(call, registry, operation, &target, &resource, &event_id).await;
                allowed.and_then(|()| self.throttle(call, registry, operation).map_err(Refused::from)).err()
            }
        };
        let (denied, reasons) = refused.map(|refused| (refused.denied, refused.reasons)).unzip();
        let error = match &denied {
            Some(denied) => (denied.code().to_owned(), denied.to_string()),
            None => (fault.0.to_owned(), fault.1.to_owned()),
        };
        let event = audit::Event {
            at_micros: call.client.at.micros(),
            source: operation.service.name().into(),
            name: operation.name.into(),
            request_id: call.client.request_id.clone(),
            event_id,
            request,
            response: Value::Null,
            resources: Vec::new(),
            read_only: operation.is_read_only,
            error: Some(error),
            decision: reasons.flatten(),
            details: None,
        };
        let registry = Registry { account: call.caller.account, region: call.caller.region.clone() };
        self.settings.audit.put(audit::Entry { registry, context: call.context.clone(), event }).await;
        denied
    }

    /// Waits for a credit as long as the call's patience lasts.
    async fn decide_patiently<A: Action>(&self, permit: &Permit<A>) -> Result<(), Refused> {
        let until = permit.call.client.at.plus(permit.call.patience);
        loop {
            match self.decide(permit).await {
                Err(Refused { denied: Denied::Throttled, .. }) if self.now() < until => {
                    tokio::time::sleep(THROTTLE_STEP).await;
                }
                decided => return decided,
            }
        }
    }

    async fn decide<A: Action>(&self, permit: &Permit<A>) -> Result<(), Refused> {
        let Permit { call, registry, target, event_id, .. } = permit;
        for resource in target.resources(registry) {
            self.allow(call, registry, A::OPERATION, target, &resource, event_id).await?;
        }
        self.throttle(call, registry, A::OPERATION)?;
        Ok(())
    }

    /// The one place where policies are asked.
    async fn allow(
        &self,
        call: &Call,
        registry: &Registry,
        operation: Operation,
        target: &dyn Target,
        resource: &Resource,
        event_id: &str,
    ) -> Result<(), Refused> {
        let action = operation.action();
        let case = Case::gather(&self.access, call, registry, asked(operation, &action), target, resource).await;
        let case = case.map_err(|error| {
            tracing::error!(cause = %error, "policies can't be read");
            Denied::Unavailable
        })?;
        if case.decide().is_allowed() {
            return Ok(());
        }
        let denied = Denied::NotAllowed {
            principal: call.caller.arn(),
            action: action.to_string(),
            resource: resource.arn.clone(),
            decision: reasons::decision_id(call.client.at, event_id),
        };
        Err(Refused { denied, reasons: Some(reasons::of(&case)) })
    }

    fn throttle(&self, call: &Call, registry: &Registry, operation: Operation) -> Result<(), Denied> {
        let account = call.caller.account;
        let full =
            || Meter { bucket: Bucket::full(self.rate(&account, operation), self.now()), calls: 0, throttled: 0 };
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = meters.entry((account, registry.region.clone(), operation)).or_insert_with(full);
        if self.settings.throttled && !meter.bucket.take(self.rate(&account, operation), self.now()) {
            meter.throttled += 1;
            return Err(Denied::Throttled);
        }
        meter.calls += 1;
        Ok(())
    }

    fn rate(&self, account: &AccountId, operation: Operation) -> Rate {
        self.settings.quotas.rate(account, operation.name).shared(self.servers.load(Ordering::Relaxed))
    }

    /// How many servers share the rates.
    pub fn share_rates(&self, servers: u32) {
        self.servers.store(servers.max(1), Ordering::Relaxed);
    }

    /// What was called since the server started, in order.
    pub fn usage(&self, _: Upkeep) -> Vec<Usage> {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = |((account, region, operation), meter): (&(AccountId, Region, Operation), &Meter)| Usage {
            account: *account,
            region: region.clone(),
            action: operation.action().into_owned(),
            calls: meter.calls,
            throttled: meter.throttled,
            rate: self.settings.throttled.then(|| self.rate(account, *operation)),
        };
        let mut all: Vec<Usage> = meters.iter().map(usage).collect();
        all.sort_by(|a, b| (a.account, &a.region, &a.action).cmp(&(b.account, &b.region, &b.action)));
        all
    }

    /// Records a read that succeeded.
    pub async fn record_read<A: Action>(&self, permit: &Permit<A>) {
        self.settings.audit.put(permit.entry(Value::Null, None)).await;
    }

    /// Records a call that went well and changed nothing in the store, with its answer: a session was made.
    pub async fn record_session<A: SessionAction>(&self, permit: &Permit<A>, response: Value) {
        self.settings.audit.put(permit.entry(response, None)).await;
    }

    /// Records a call that failed after it was let in (TRAIL-11).
    pub async fn record_failure<A: Action>(&self, permit: &Permit<A>, code: &str, message: &str) {
        self.settings.audit.put(permit.entry(Value::Null, Some((code.into(), message.into())))).await;
    }
}

fn asked(operation: Operation, action: &str) -> Asked<'_> {
    Asked { service: operation.service, name: operation.name, action }
}

impl<A: Action> std::fmt::Debug for Permit<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Permit({} on {:?} of {})", A::OPERATION.name, self.target, self.registry)
    }
}
