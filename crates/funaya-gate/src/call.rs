//! Who calls, and one call.

use std::{net::IpAddr, sync::Arc, time::Duration};

use funaya_ports::audit;
use funaya_types::{AccountId, Region, Timestamp};

/// A principal that has proved who it is. Only the gate makes one.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) access_key_id: String,
}

impl Caller {
    /// The principal's account.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// The Region that the credential is for.
    pub fn region(&self) -> &Region {
        &self.region
    }

    /// The principal's ARN.
    pub fn arn(&self) -> String {
        format!("arn:aws:iam::{}:root", self.account)
    }

    fn identity(&self) -> audit::Identity {
        audit::Identity {
            kind: "Root".into(),
            principal_id: Some(self.account.to_string()),
            arn: Some(self.arn()),
            account_id: self.account.to_string(),
            access_key_id: Some(self.access_key_id.clone()),
            invoked_by: None,
        }
    }
}

/// The client's side of a request, as a door saw it.
#[derive(Clone, Debug)]
pub struct Client {
    /// From which address.
    pub source_ip: IpAddr,
    /// `User-Agent`, cut to a sane length.
    pub user_agent: String,
    /// The id that the answer carries.
    pub request_id: String,
    /// When the request came.
    pub at: Timestamp,
}

/// One request of an authenticated caller; may hold several actions.
#[derive(Clone, Debug)]
pub struct Call {
    pub(crate) caller: Caller,
    pub(crate) context: Arc<audit::Context>,
    pub(crate) request_id: String,
    pub(crate) at: Timestamp,
    pub(crate) patience: Duration,
}

impl Call {
    pub(crate) fn new(caller: Caller, client: &Client) -> Self {
        let context = audit::Context {
            identity: caller.identity(),
            source_ip: client.source_ip.to_string(),
            user_agent: client.user_agent.clone(),
        };
        Self {
            caller,
            context: Arc::new(context),
            request_id: client.request_id.clone(),
            at: client.at,
            patience: Duration::ZERO,
        }
    }

    /// A call that waits this long for its turn before it is told that the rate is exceeded.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Who calls.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// When.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}
