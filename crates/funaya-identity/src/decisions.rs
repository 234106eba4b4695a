//! Why a call was refused, for whoever may ask (COMP-906, D9).

use funaya_gate::{Explained, Permit, action::sts, find_decision};
use serde_json::{Map, Value, json};

use crate::{Identities, SessionError, SessionResult, account};

/// What another account's policy says is no matter of the caller: only that it did not allow.
const FOREIGN: [&str; 3] = ["Resource", "Trust", "Key"];

impl Identities {
    /// The reasons of a decision of the caller's own account, as JSON.
    pub async fn decoded_message(
        &self,
        permit: &Permit<sts::DecodeAuthorizationMessage>,
        message: &str,
    ) -> SessionResult<String> {
        let found = find_decision(&*self.parts.decisions, message).await?;
        let own = account(permit);
        let found = found.filter(|(account, _)| *account == own).ok_or(SessionError::BadMessage)?;
        Ok(decoded(found.1, own.as_str()).to_string())
    }
}

/// AWS's members, and `explanation`, which is ours.
fn decoded(mut explained: Explained, own: &str) -> Value {
    if explained.resource_account != own {
        hide_foreign(&mut explained.explanation);
    }
    let deciding = explained.explanation.get("deciding").and_then(Value::as_array).cloned().unwrap_or_default();
    let explicit = explained.explanation.get("outcome").is_some_and(|outcome| outcome.get("ExplicitDeny").is_some());
    let matched: Vec<Value> = deciding
        .iter()
        .map(|statement| {
            json!({
                "statementId": statement["sid"].as_str().unwrap_or_default(),
                "effect": "DENY",
                "sourcePolicyId": statement["policy"],
                "sourcePolicyType": statement["policy_type"],
            })
        })
        .collect();
    json!({
        "allowed": false,
        "explicitDeny": explicit,
        "matchedStatements": {"items": matched},
        "failures": {"items": []},
        "context": {
            "principal": {"arn": explained.principal},
            "action": explained.action,
            "resource": explained.resource,
            "conditions": {"items": conditions(&explained.context)},
        },
        "explanation": explained.explanation,
    })
}

fn conditions(context: &Map<String, Value>) -> Vec<Value> {
    let one = |(key, values): (&String, &Value)| {
        let values = values.as_array().map(Vec::as_slice).unwrap_or_default();
        let items: Vec<Value> = values.iter().map(|value| json!({"value": value})).collect();
        json!({"key": key, "values": {"items": items}})
    };
    context.iter().map(one).collect()
}

fn hide_foreign(explanation: &mut Value) {
    let is_foreign = |item: &Value| item["policy_type"].as_str().is_some_and(|name| FOREIGN.contains(&name));
    for list in ["deciding", "policies"] {
        if let Some(items) = explanation.get_mut(list).and_then(Value::as_array_mut) {
            items.retain(|item| !is_foreign(item));
        }
    }
    // Both may be drawn from what was hidden.
    if let Some(members) = explanation.as_object_mut() {
        members.remove("smallest_grant");
        members.remove("missing_context_keys");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(owner: &str) -> Explained {
        let policy = |kind: &str| json!({"policy": kind, "policy_type": kind, "sid": "S", "index": 0});
        Explained {
            principal: "arn:aws:iam::123456789012:user/alice".into(),
            action: "ecr:PutImage".into(),
            resource: "arn:aws:ecr:us-east-1:210987654321:repository/x".into(),
            resource_account: owner.into(),
            context: json!({"aws:SourceIp": ["192.0.2.1"]}).as_object().unwrap().clone(),
            explanation: json!({
                "outcome": {"ExplicitDeny": {"by": "Resource"}},
                "deciding": [policy("Resource")],
                "policies": [policy("Resource"), policy("Identity")],
                "missing_context_keys": ["aws:PrincipalTag/x"],
                "smallest_grant": {"ChangeDeny": [policy("Resource")]},
            }),
        }
    }

    #[test]
    fn own_account() {
        let shown = decoded(explained("123456789012"), "123456789012");
        assert_eq!((&shown["allowed"], &shown["explicitDeny"]), (&json!(false), &json!(true)));
        assert_eq!(shown["matchedStatements"]["items"][0]["statementId"], "S");
        assert_eq!(shown["context"]["conditions"]["items"][0]["values"]["items"][0]["value"], "192.0.2.1");
        assert_eq!(shown["explanation"]["policies"].as_array().unwrap().len(), 2);
    }

    /// IAM-34: what another account's policy holds is not told.
    #[test]
    fn other_account() {
        let shown = decoded(explained("210987654321"), "123456789012");
        assert!(!shown["explanation"].to_string().contains("Resource\",\"policy"), "{shown}");
        assert_eq!(shown["explanation"]["policies"].as_array().unwrap().len(), 1);
        assert_eq!(shown["matchedStatements"]["items"], json!([]));
        assert!(shown["explanation"].get("smallest_grant").is_none());
    }
}
