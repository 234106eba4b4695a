//! The gate itself: sign-in, throttling, the decision, records.

use std::{
    collections::HashMap,
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use funaya_ports::{Clock, Random, audit};
use funaya_rules::throttle::{self, Bucket};
use funaya_sigv4::Request;
use funaya_types::{AccountId, Digest, Region, Registry, Secret, Timestamp};
use serde_json::Value;

use crate::{
    action::{Action, Operation},
    audit::AuditLog,
    call::{Call, Caller, Client},
    download::{self, Download},
    keys::{self, RootAccessKey, Sealer},
    permit::{Permit, Target, Upkeep},
    sign_in::{self, SignInError, SigningKeys},
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
    /// The account root's access key.
    pub root: RootAccessKey,
    /// The key that all others are derived from.
    pub root_key: [u8; 32],
    /// Whether the guide's rates are enforced (QUOTA-26).
    pub throttled: bool,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives random bytes.
    pub random: Arc<dyn Random>,
    /// Where records go.
    pub audit: AuditLog,
}

/// How often a call that waits for a credit looks again.
const THROTTLE_STEP: Duration = Duration::from_millis(50);

/// Why an authenticated call is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No policy allows it (ERR-20).
    #[error("User: {principal} is not authorized to perform: ecr:{action} on resource: {resource}")]
    NotAllowed {
        /// Who.
        principal: String,
        /// What.
        action: &'static str,
        /// On what.
        resource: String,
    },
    /// Too many calls (QUOTA-23).
    #[error("Rate exceeded")]
    Throttled,
}

impl Denied {
    /// The error code in audit records (IAM-33).
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAllowed { .. } => "AccessDenied",
            Self::Throttled => "ThrottlingException",
        }
    }
}

/// The only maker of [`Permit`]s.
pub struct Gate {
    settings: Settings,
    signing_keys: SigningKeys,
    tokens: Sealer,
    downloads: Secret,
    buckets: Mutex<HashMap<(AccountId, Region, Operation), Bucket>>,
}

impl Gate {
    /// A gate; `None` if the root key can't be used.
    pub fn new(settings: Settings) -> Option<Self> {
        let tokens = Sealer::new(&settings.root_key, "registry tokens", settings.random.clone())?;
        let raw = keys::derive(&settings.root_key, "layer downloads");
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self {
            tokens,
            downloads: Secret::new(hex),
            settings,
            signing_keys: SigningKeys::default(),
            buckets: Mutex::default(),
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

    /// Checks, before a body is read, that a known key is named.
    pub fn introduce(&self, request: &Request<'_>) -> Result<(), SignInError> {
        sign_in::introduce(&self.settings.root, request).map(drop)
    }

    /// Checks a SigV4 signature. Hashes `body`: call it off the reactor for large ones.
    pub fn sign_in(&self, request: &Request<'_>, body: &[u8], now: Timestamp) -> Result<Caller, SignInError> {
        sign_in::sign_in(&self.signing_keys, &self.settings.root, &self.settings.regions, request, body, now)
    }

    /// Checks a registry token in an `Authorization` header (AUTH-11 to AUTH-16).
    pub fn accept_token(
        &self,
        header: &str,
        region: &Region,
        now: Timestamp,
    ) -> Result<Caller, (TokenError, Option<Caller>)> {
        token::accept(&self.tokens, &self.settings.root, header, region, now)
    }

    /// Makes a registry token (AUTH-10).
    pub fn issue_token(&self, permit: &Permit<crate::action::GetAuthorizationToken>) -> RegistryToken {
        token::issue(&self.tokens, &permit.call.caller, permit.now())
    }

    /// A registry token for the root of the default account, for operators on the machine itself.
    pub fn issue_root_token(&self) -> RegistryToken {
        let Registry { account, region } = self.settings.default_registry.clone();
        let caller = Caller { account, region, access_key_id: self.settings.root.id.clone() };
        token::issue(&self.tokens, &caller, self.now())
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
            Err(denied) => {
                let mut entry = permit.entry(Value::Null, Some((denied.code().into(), denied.to_string())));
                // A refusal is no matter of the account that was asked for.
                entry.registry.account = call.caller.account;
                self.settings.audit.put(entry).await;
                Err(denied)
            }
        }
    }

    /// Decides without leaving a record of a refusal: for looking whether something
    /// may be offered, such as a layer to mount.
    pub fn probe<A: Action>(
        &self,
        call: &Call,
        registry: &Registry,
        target: A::Target,
        request: Value,
    ) -> Result<Permit<A>, Denied> {
        let permit = self.permit(call, registry, target, request);
        self.decide(&permit).map(|()| permit)
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
    /// ask at all (ERR-22). `resource`: an ARN or `*`.
    pub fn authorize_unserved(
        &self,
        call: &Call,
        registry: &Registry,
        operation: Operation,
        resource: String,
    ) -> Result<(), Denied> {
        self.allow(call, registry, operation.iam_action(), resource)?;
        self.throttle(call, registry, operation)
    }

    /// Records the answer to such a call.
    pub async fn record_unserved(&self, call: &Call, operation: Operation, request: Value, code: &str, message: &str) {
        let event = audit::Event {
            at_micros: call.at.micros(),
            name: operation.name().into(),
            request_id: call.request_id.clone(),
            event_id: self.settings.random.uuid(),
            request,
            response: Value::Null,
            resources: Vec::new(),
            read_only: operation.is_read_only(),
            error: Some((code.into(), message.into())),
        };
        let registry = Registry { account: call.caller.account, region: call.caller.region.clone() };
        self.settings.audit.put(audit::Entry { registry, context: call.context.clone(), event }).await;
    }

    /// Waits for a credit as long as the call's patience lasts.
    async fn decide_patiently<A: Action>(&self, permit: &Permit<A>) -> Result<(), Denied> {
        let until = permit.call.at.plus(permit.call.patience);
        loop {
            match self.decide(permit) {
                Err(Denied::Throttled) if self.now() < until => tokio::time::sleep(THROTTLE_STEP).await,
                decided => return decided,
            }
        }
    }

    fn decide<A: Action>(&self, permit: &Permit<A>) -> Result<(), Denied> {
        for arn in permit.target.arns(&permit.registry) {
            self.allow(&permit.call, &permit.registry, A::OPERATION.iam_action(), arn)?;
        }
        self.throttle(&permit.call, &permit.registry, A::OPERATION)
    }

    /// The account's root may do everything in its account, and nothing elsewhere.
    fn allow(&self, call: &Call, registry: &Registry, action: &'static str, resource: String) -> Result<(), Denied> {
        let caller = &call.caller;
        if caller.account == registry.account && caller.region == registry.region {
            return Ok(());
        }
        Err(Denied::NotAllowed { principal: caller.arn(), action, resource })
    }

    fn throttle(&self, call: &Call, registry: &Registry, operation: Operation) -> Result<(), Denied> {
        if !self.settings.throttled {
            return Ok(());
        }
        let rate = throttle::rate(operation.name());
        let key = (call.caller.account, registry.region.clone(), operation);
        let now = self.now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(key).or_insert_with(|| Bucket::full(rate, now));
        if bucket.take(rate, now) { Ok(()) } else { Err(Denied::Throttled) }
    }

    /// Records a read that succeeded.
    pub async fn record_read<A: Action>(&self, permit: &Permit<A>) {
        self.settings.audit.put(permit.entry(Value::Null, None)).await;
    }

    /// Records a call that failed after it was let in (TRAIL-11).
    pub async fn record_failure<A: Action>(&self, permit: &Permit<A>, code: &str, message: &str) {
        self.settings.audit.put(permit.entry(Value::Null, Some((code.into(), message.into())))).await;
    }
}

impl<A: Action> std::fmt::Debug for Permit<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Permit({} on {:?} of {})", A::OPERATION.name(), self.target, self.registry)
    }
}
