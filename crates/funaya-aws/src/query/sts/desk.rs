//! What operations of STS share.

use funaya_gate::{Action, FreeAction, Permit};
use funaya_identity::{Identities, Issued, Proof, SessionResult};
use funaya_types::{AccountId, Registry};
use funaya_wire::{
    EpochSeconds, Hidden,
    query::{Answer, Request},
    sts::{Credentials, PolicyDescriptorType, Tag},
};

use super::{
    super::{Answered, Api, Visit, fault},
    fail,
};
use crate::fail::Fail;

/// A call of an operation.
pub(super) struct Desk<'a> {
    pub(super) visit: &'a Visit<'a>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(visit: &'a Visit<'a>) -> Self {
        Self { visit }
    }

    pub(super) fn hall(&self) -> &Identities {
        &self.visit.door.identities
    }

    pub(super) fn read<R: Request>(&self) -> Result<R, Fail> {
        self.visit.read()
    }

    /// Where an operation happens: in this account, in the Region called.
    pub(super) fn registry(&self, account: AccountId) -> Registry {
        Registry { account, region: self.visit.call.caller().region().clone() }
    }

    /// A permit for what needs no permission.
    pub(super) fn free<A: FreeAction>(&self, target: A::Target) -> Result<Permit<A>, Fail> {
        let registry = self.registry(self.visit.account());
        let permit = self.visit.door.gate.permit_free(&self.visit.call, &registry, target, self.visit.parameters());
        permit.map_err(|denied| fault::denied(&denied, Api::Sts))
    }

    /// The code of an MFA device, if one is given.
    pub(super) async fn proof(&self, serial: Option<&str>, code: Option<&str>) -> Result<Option<Proof>, Fail> {
        let (serial, code) = match (serial, code) {
            (None, None) => return Ok(None),
            (Some(serial), Some(code)) => (serial, code),
            _ => return Err(Fail::new("ValidationError", "Both SerialNumber and TokenCode must be given.")),
        };
        let call = &self.visit.call;
        self.hall().check_code(call.caller(), serial, code, call.at()).await.map(Some).map_err(fail::of)
    }

    /// Tells how a call went whose record the hall has made.
    pub(super) async fn tell<A: Action, T, R: Answer>(
        &self,
        permit: &Permit<A>,
        outcome: SessionResult<T>,
        shape: impl FnOnce(T) -> R,
    ) -> Answered {
        match outcome {
            Ok(value) => self.visit.well(permit, shape(value)).await,
            Err(error) => Err(self.visit.ill(permit, fail::of(error)).await),
        }
    }
}

pub(super) fn credentials(issued: Issued) -> Credentials {
    Credentials {
        access_key_id: issued.access_key_id,
        secret_access_key: Hidden(issued.secret.expose().to_owned()),
        session_token: Hidden(issued.token.expose().to_owned()),
        expiration: EpochSeconds(issued.expires_at.epoch_seconds()),
    }
}

pub(super) fn packed(percent: Option<usize>) -> Option<i64> {
    percent.and_then(|percent| i64::try_from(percent).ok())
}

pub(super) fn arns(policies: Option<Vec<PolicyDescriptorType>>) -> Vec<String> {
    policies.unwrap_or_default().into_iter().filter_map(|policy| policy.arn).collect()
}

/// The shapes have checked the bounds.
pub(super) fn seconds(count: Option<i64>) -> Option<u32> {
    count.and_then(|count| u32::try_from(count).ok())
}

/// Session tags. Keys are told apart without regard to case.
pub(super) fn tags(tags: Option<Vec<Tag>>) -> Result<Vec<(String, String)>, Fail> {
    let tags: Vec<(String, String)> = tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect();
    for (at, (key, _)) in tags.iter().enumerate() {
        if tags[..at].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(key)) {
            let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(Fail::new("InvalidParameterValue", text));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Fail::new("InvalidParameterValue", "Tag keys may not begin with aws:."));
        }
    }
    Ok(tags)
}
