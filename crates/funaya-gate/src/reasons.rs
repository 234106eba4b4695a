//! Why a call was refused, for whoever may ask (D9).

use std::time::Duration;

use funaya_ports::{StoreError, audit, meta::MetaStore};
use funaya_types::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{judge::Case, principals::store};

/// A record lies in a batch whose first record is at most so much older.
const LOOKED_AROUND: Duration = Duration::from_secs(60);
const PAGE: u32 = 100;
/// Longest explanation that is kept, in bytes; of a longer one the policies are left out.
const KEPT_MAX: usize = 24 * 1024;

/// An explanation as it is kept in the audit record of the refusal.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explained {
    /// Who.
    pub principal: String,
    /// What.
    pub action: String,
    /// On what.
    pub resource: String,
    /// Whose that is.
    pub resource_account: String,
    /// The condition keys that the request had.
    pub context: Map<String, Value>,
    /// Outcome, deciding statements, policies, missing keys, smallest grant.
    pub explanation: Value,
}

/// Looks for the reasons of a decision in the audit log; whose account it was comes with them.
///
/// # Errors
/// [`StoreError`] if the log can't be read.
pub async fn find_decision(meta: &dyn MetaStore, id: &str) -> Result<Option<(AccountId, Explained)>, StoreError> {
    let Some((at, event_id)) = decision_time(id) else { return Ok(None) };
    let mut after = (at.minus(LOOKED_AROUND).micros(), String::new());
    let end = at.plus(LOOKED_AROUND).micros();
    while after.0 <= end {
        let page = meta.audit(after.clone(), PAGE).await.map_err(store)?;
        let Some((_, last, _)) = page.last() else { break };
        after = last.clone();
        for (registry, _, body) in &page {
            let found = audit::find(body, event_id).map_err(|_| StoreError::Damaged("an audit record".into()))?;
            if let Some(reasons) = found.and_then(|(_, event)| event.decision) {
                return Ok(serde_json::from_value(reasons).ok().map(|explained| (registry.account, explained)));
            }
        }
    }
    Ok(None)
}

/// The id by which a client may ask for the reasons: when it was, and the record's event id.
pub(crate) fn decision_id(at: Timestamp, event_id: &str) -> String {
    format!("{:x}-{event_id}", at.micros())
}

/// Reads a decision's id: when it was, and the record's event id.
fn decision_time(id: &str) -> Option<(Timestamp, &str)> {
    let (at, event_id) = id.split_once('-')?;
    Some((Timestamp::from_micros(i64::from_str_radix(at, 16).ok()?), event_id))
}

/// The reasons of one decision.
pub(crate) fn of(case: &Case<'_>) -> Value {
    let context = case.context();
    let context = context.iter().map(|(key, values)| {
        let values: Vec<Value> = values.map(Value::from).collect();
        (key.to_owned(), Value::Array(values))
    });
    let explanation = serde_json::to_value(case.explain()).unwrap_or_default();
    let explained = Explained {
        principal: case.who.principal.arn().into_owned(),
        action: case.action().to_owned(),
        resource: case.resource.arn.clone(),
        resource_account: case.owner.to_string(),
        context: context.collect(),
        explanation,
    };
    let mut reasons = json!(explained);
    if reasons.to_string().len() > KEPT_MAX {
        reasons["explanation"]["policies"] = json!("left out: too many");
    }
    reasons
}
