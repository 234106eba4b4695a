//! Why a call was refused, for whoever may ask (D9).

use funaya_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::judge::Case;

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

/// The id by which a client may ask for the reasons: when it was, and the record's event id.
pub(crate) fn decision_id(at: Timestamp, event_id: &str) -> String {
    format!("{:x}-{event_id}", at.micros())
}

/// Reads a decision's id: when it was, and the record's event id.
pub fn decision_time(id: &str) -> Option<(Timestamp, &str)> {
    let (at, event_id) = id.split_once('-')?;
    Some((Timestamp::from_micros(i64::from_str_radix(at, 16).ok()?), event_id))
}

/// The reasons of one decision.
pub(crate) fn of(case: &Case<'_>) -> Value {
    let context = case.context().iter().map(|(key, values)| {
        let values: Vec<Value> = values.map(Value::from).collect();
        (key.to_owned(), Value::Array(values))
    });
    let explanation = serde_json::to_value(case.explain()).unwrap_or_default();
    let explained = Explained {
        principal: case.who.principal.arn().into_owned(),
        action: case.action.to_owned(),
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
