//! Audit records in CloudTrail's shape (13-audit-log), and the compact form in
//! which they are stored.
//!
//! Records of one batch share their contexts (who, from where, with what), so a
//! read costs some 150 bytes instead of 700.

use std::{collections::HashMap, sync::Arc};

use funaya_types::{AccountId, Registry, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Who called, in CloudTrail's words (TRAIL-14 to TRAIL-16).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// `Root`, `IAMUser`, `AssumedRole`, `AWSService`, …
    #[serde(rename = "type", default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The unique id of the principal.
    #[serde(rename = "principalId", skip_serializing_if = "Option::is_none")]
    pub principal_id: Option<String>,
    /// The principal's ARN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// The principal's account.
    #[serde(rename = "accountId", skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The access key that signed.
    #[serde(rename = "accessKeyId", skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// The user's name.
    #[serde(rename = "userName", skip_serializing_if = "Option::is_none", default)]
    pub user_name: Option<String>,
    /// How and by whom a session was made (TRAIL-15).
    #[serde(rename = "sessionContext", skip_serializing_if = "Option::is_none", default)]
    pub session_context: Option<Value>,
    /// `AWS Internal` for background work.
    #[serde(rename = "invokedBy", skip_serializing_if = "Option::is_none")]
    pub invoked_by: Option<String>,
}

/// What many records of one client share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Context {
    /// Who called.
    pub identity: Identity,
    /// From which address.
    pub source_ip: String,
    /// With what program.
    pub user_agent: String,
    /// Whether over TLS.
    #[serde(default)]
    pub secure: bool,
}

impl Context {
    /// Of what the server does on its own (TRAIL-21).
    pub fn internal(account: &AccountId) -> Self {
        const INTERNAL: &str = "AWS Internal";
        let identity = Identity {
            kind: String::new(),
            principal_id: None,
            arn: None,
            account_id: Some(account.to_string()),
            access_key_id: None,
            user_name: None,
            session_context: None,
            invoked_by: Some(INTERNAL.into()),
        };
        Self { identity, source_ip: INTERNAL.into(), user_agent: INTERNAL.into(), secure: true }
    }
}

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, in microseconds since the epoch.
    #[serde(rename = "t")]
    pub at_micros: i64,
    /// The service, e.g. `ecr`.
    #[serde(rename = "s")]
    pub source: String,
    /// The operation, e.g. `PutImage`.
    #[serde(rename = "n")]
    pub name: String,
    /// The request's id.
    #[serde(rename = "q")]
    pub request_id: String,
    /// The event's own id.
    #[serde(rename = "e")]
    pub event_id: String,
    /// What was asked.
    #[serde(rename = "p")]
    pub request: Value,
    /// What was answered; null for reads (TRAIL-13).
    #[serde(rename = "a", default, skip_serializing_if = "Value::is_null")]
    pub response: Value,
    /// ARNs of what was touched.
    #[serde(rename = "r", default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Whether the operation only reads.
    #[serde(rename = "o")]
    pub read_only: bool,
    /// Error code and message of a call that failed (TRAIL-11).
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub error: Option<(String, String)>,
    /// Why the call was refused: the whole explanation (D9).
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Value>,
    /// What a service did on its own (TRAIL-20).
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

/// An event on its way to the store.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The registry whose log it belongs to.
    pub registry: Registry,
    /// Who, from where, with what.
    pub context: Arc<Context>,
    /// What.
    pub event: Event,
}

impl Entry {
    /// What the server, or an operator on its machine, does in a registry (TRAIL-21).
    pub fn internal(registry: &Registry, name: &str, event_id: String, at: Timestamp) -> Self {
        let event = Event {
            at_micros: at.micros(),
            source: "ecr".into(),
            name: name.into(),
            request_id: String::new(),
            event_id,
            request: Value::Null,
            response: Value::Null,
            resources: Vec::new(),
            read_only: true,
            error: None,
            decision: None,
            details: None,
        };
        Self { registry: registry.clone(), context: Arc::new(Context::internal(&registry.account)), event }
    }
}

/// Records of one registry that are stored as one row.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Whose log.
    pub registry: Registry,
    /// Time of the first record.
    pub at: Timestamp,
    /// Event id of the first record: unique.
    pub id: String,
    /// The stored form.
    pub body: String,
}

#[derive(Serialize, Deserialize)]
struct Body {
    c: Vec<Arc<Context>>,
    r: Vec<(usize, Event)>,
}

/// Packs entries into one batch a registry, each in order of arrival.
pub fn pack(entries: Vec<Entry>) -> Vec<Batch> {
    let mut by_registry: Vec<(Registry, Body, HashMap<Arc<Context>, usize>)> = Vec::new();
    for entry in entries {
        let found = by_registry.iter().position(|(registry, _, _)| *registry == entry.registry);
        let index = found.unwrap_or_else(|| {
            let empty = Body { c: Vec::new(), r: Vec::new() };
            by_registry.push((entry.registry.clone(), empty, HashMap::new()));
            by_registry.len() - 1
        });
        let (_, body, known) = &mut by_registry[index];
        let context = *known.entry(entry.context.clone()).or_insert_with(|| {
            body.c.push(entry.context.clone());
            body.c.len() - 1
        });
        body.r.push((context, entry.event));
    }
    by_registry.into_iter().filter_map(|(registry, body, _)| batch(registry, &body)).collect()
}

fn batch(registry: Registry, body: &Body) -> Option<Batch> {
    let (_, first) = body.r.first()?;
    Some(Batch {
        registry,
        at: Timestamp::from_micros(first.at_micros),
        id: first.event_id.clone(),
        body: serde_json::to_string(body).ok()?,
    })
}

/// The records of a stored batch, in CloudTrail's shape (TRAIL-14).
pub fn unpack(registry: &Registry, body: &str) -> Result<Vec<Value>, serde_json::Error> {
    let body: Body = serde_json::from_str(body)?;
    let record =
        |(context, event): &(usize, Event)| body.c.get(*context).map(|context| cloudtrail(registry, context, event));
    Ok(body.r.iter().filter_map(record).collect())
}

/// One event of a stored batch, by its id.
pub fn find(body: &str, event_id: &str) -> Result<Option<(Arc<Context>, Event)>, serde_json::Error> {
    Ok(events(body)?.into_iter().find(|(_, event)| event.event_id == event_id))
}

/// All events of a stored batch.
pub fn events(body: &str) -> Result<Vec<(Arc<Context>, Event)>, serde_json::Error> {
    let body: Body = serde_json::from_str(body)?;
    let event = |(context, event): (usize, Event)| Some((body.c.get(context)?.clone(), event));
    Ok(body.r.into_iter().filter_map(event).collect())
}

fn cloudtrail(registry: &Registry, context: &Context, event: &Event) -> Value {
    let account: &AccountId = &registry.account;
    let resources: Vec<Value> =
        event.resources.iter().map(|arn| json!({"ARN": arn, "accountId": account.as_str()})).collect();
    let mut record = json!({
        "eventVersion": "1.08",
        "userIdentity": context.identity,
        "eventTime": Timestamp::from_micros(event.at_micros).iso8601(),
        "eventSource": format!("{}.amazonaws.com", event.source),
        "eventName": event.name,
        "awsRegion": registry.region.as_str(),
        "sourceIPAddress": context.source_ip,
        "userAgent": context.user_agent,
        "requestParameters": event.request,
        "responseElements": event.response,
        "requestID": event.request_id,
        "eventID": event.event_id,
        "readOnly": event.read_only,
        "resources": resources,
        "eventType": if context.identity.invoked_by.is_some() { "AwsServiceEvent" } else { "AwsApiCall" },
        "recipientAccountId": account.as_str(),
    });
    if let Some(details) = &event.details {
        record["serviceEventDetails"] = details.clone();
    }
    if let Some((code, message)) = &event.error {
        record["errorCode"] = json!(code);
        record["errorMessage"] = json!(message);
    }
    record
}
