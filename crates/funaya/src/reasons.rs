//! `funaya explain` and `funaya policy replay`: why calls were refused, and what a changed
//! policy would do.

use std::{collections::BTreeMap, time::Duration};

use funaya_gate::{Replayed, Trial, Verdict, find_decision};
use funaya_policy::{Document, Kind, Outcome};
use funaya_ports::audit;
use funaya_types::{RepositoryArn, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    data::Failed,
    house::House,
    operator::{Lines, Outcome as Done, say},
};

/// Explains one refusal.
pub(crate) async fn explain(house: &House, id: &str, as_json: bool, lines: &Lines) -> Done {
    let found = find_decision(&*house.data.meta, id).await?;
    let Some((account, explained)) = found else {
        return Err(format!("there is no decision `{id}`: the log may not hold it yet, or no longer").into());
    };
    if as_json {
        let mut all = serde_json::to_value(&explained)?;
        all["account"] = json!(account.as_str());
        say(lines, all.to_string()).await;
        return Ok(true);
    }
    let asked = format!("{} asked for {} on {}", explained.principal, explained.action, explained.resource);
    say(lines, asked).await;
    let explanation = &explained.explanation;
    say(lines, format!("answer: {}", outcome_text(&explanation["outcome"]))).await;
    for statement in array(&explanation["deciding"]) {
        say(lines, format!("decided by {}", statement_text(statement))).await;
    }
    say(lines, "policies looked at:".into()).await;
    for policy in array(&explanation["policies"]) {
        let effect = policy["effect"].as_str().map_or("says nothing", |effect| effect);
        say(lines, format!("  {} ({}): {effect}", text(&policy["policy"]), text(&policy["policy_type"]))).await;
        for statement in array(&policy["statements"]) {
            for mismatch in array(&statement["mismatches"]) {
                let place = &statement["index"];
                say(lines, format!("    statement {place} does not apply: {}", mismatch_text(mismatch))).await;
            }
        }
    }
    let missing = array(&explanation["missing_context_keys"]).iter().map(text).collect::<Vec<_>>();
    if !missing.is_empty() {
        say(lines, format!("condition keys that the request lacks: {}", missing.join(", "))).await;
    }
    for line in grant_lines(&explanation["smallest_grant"]) {
        say(lines, line).await;
    }
    Ok(true)
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn outcome_text(outcome: &Value) -> String {
    if let Some(by) = outcome.pointer("/ExplicitDeny/by") {
        return format!("denied by a statement of a policy of type {}", text(by));
    }
    match outcome.pointer("/ImplicitDeny/missing") {
        Some(missing) => format!("denied, as no policy of type {} allows it", text(missing)),
        None => "allowed".into(),
    }
}

fn statement_text(statement: &Value) -> String {
    let sid = statement["sid"].as_str().map(|sid| format!(" \"{sid}\"")).unwrap_or_default();
    format!("statement {}{sid} of {}", statement["index"], text(&statement["policy"]))
}

fn mismatch_text(mismatch: &Value) -> String {
    let (wanted, had) = (&mismatch["wanted"], &mismatch["had"]);
    match mismatch["element"].as_str() {
        Some("Condition") => {
            let had = if had.is_null() { "nothing".to_owned() } else { had.to_string() };
            format!(
                "{} of {} wants {wanted}, the request has {had}",
                text(&mismatch["operator"]),
                text(&mismatch["key"])
            )
        }
        Some(element) => format!("{} is {wanted}, the request has {had}", element.to_lowercase()),
        None => mismatch.to_string(),
    }
}

fn grant_lines(grant: &Value) -> Vec<String> {
    match grant {
        Value::String(kind) if kind == "Impossible" => vec!["no policy can grant it".into()],
        Value::Object(grant) => {
            if let Some(statements) = grant.get("ChangeDeny") {
                let mut lines = vec!["to allow it, these statements must change:".to_owned()];
                lines.extend(array(statements).iter().map(|statement| format!("  {}", statement_text(statement))));
                return lines;
            }
            let mut lines = vec!["the smallest grant:".to_owned()];
            for add in grant.get("Add").map(array).unwrap_or_default() {
                let into = add["policy"].as_str().map(|policy| format!(", in {policy}")).unwrap_or_default();
                lines.push(format!("  in a policy of type {}{into}:", text(&add["policy_type"])));
                lines.push(format!("    {}", add["statement"]));
            }
            lines
        }
        _ => Vec::new(),
    }
}

/// What is tried out, as the command line gives it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Replay {
    /// ARN of a managed policy, of a repository, or of a user or role.
    pub(crate) replace: String,
    /// The document.
    pub(crate) document: String,
    pub(crate) days: u32,
    pub(crate) json: bool,
}

impl Replay {
    fn trial(&self) -> Result<Trial, Failed> {
        let repository = self.replace.parse::<RepositoryArn>().ok();
        let kind = if repository.is_some() { Kind::Repository } else { Kind::Identity };
        let document = Document::parse(&self.document, kind)
            .map_err(|fault| format!("the policy can't be used: {}", fault.reason()))?;
        if let Some(arn) = repository {
            return Ok(Trial::Repository(arn, document));
        }
        let name = self.replace.clone();
        match self.replace.splitn(6, ':').nth(5).and_then(|rest| rest.split_once('/')) {
            Some(("policy", _)) => Ok(Trial::Managed(name, document)),
            Some(("user" | "role", _)) => Ok(Trial::Principal(name, document)),
            _ => Err(format!("`{name}` is not the ARN of a managed policy, repository, user or role").into()),
        }
    }
}

/// Judges the recorded calls of the last days with and without a changed policy, and lists
/// those whose answer would change.
pub(crate) async fn replay(house: &House, replay: &Replay, lines: &Lines) -> Done {
    let trial = replay.trial()?;
    let from = house.gate.now().minus(Duration::from_secs(u64::from(replay.days) * 24 * 3600));
    let mut after = (from.micros(), String::new());
    let mut tally = Tally::default();
    loop {
        let page = house.data.meta.audit(after.clone(), 100).await?;
        let Some((_, last, _)) = page.last() else { break };
        after = last.clone();
        for (registry, _, body) in &page {
            for (context, event) in audit::events(body)? {
                let replayed = house.gate.replay(registry, &context, &event, &trial).await?;
                for line in tally.add(&context, &event, replayed, replay.json) {
                    say(lines, line).await;
                }
            }
        }
    }
    say(lines, tally.summary(replay)).await;
    Ok(true)
}

#[derive(Default)]
struct Tally {
    judged: u64,
    lost: u64,
    gained: u64,
    unknown: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn add(
        &mut self,
        context: &audit::Context,
        event: &audit::Event,
        replayed: Replayed,
        as_json: bool,
    ) -> Vec<String> {
        let verdicts = match replayed {
            Replayed::Unknown(why) => {
                *self.unknown.entry(why).or_default() += 1;
                return Vec::new();
            }
            Replayed::Judged(verdicts) => verdicts,
        };
        self.judged += 1;
        let flips = verdicts.iter().filter(|verdict| verdict.before.is_allowed() != verdict.after.is_allowed());
        flips
            .map(|verdict| {
                let counter = if verdict.after.is_allowed() { &mut self.gained } else { &mut self.lost };
                *counter += 1;
                flip(context, event, verdict, as_json)
            })
            .collect()
    }

    fn summary(&self, replay: &Replay) -> String {
        let unknown: u64 = self.unknown.values().sum();
        if replay.json {
            return json!({
                "judged": self.judged, "wouldBeDenied": self.lost, "wouldBeAllowed": self.gained,
                "notJudged": self.unknown,
            })
            .to_string();
        }
        let mut text = format!(
            "judged {} calls of the last {} days: {} would be denied, {} would be allowed; {unknown} can't be judged",
            self.judged, replay.days, self.lost, self.gained
        );
        for (why, count) in &self.unknown {
            text.push_str(&format!("\n  {count}: {why}"));
        }
        text
    }
}

fn flip(context: &audit::Context, event: &audit::Event, verdict: &Verdict, as_json: bool) -> String {
    let at = Timestamp::from_micros(event.at_micros).iso8601();
    let who = context.identity.arn.as_deref().unwrap_or("unknown");
    let action = format!("{}:{}", event.source, event.name);
    let now = match verdict.after {
        Outcome::Allowed => "would be allowed",
        Outcome::ExplicitDeny { .. } => "would be denied by a statement",
        Outcome::ImplicitDeny { .. } => "would no longer be allowed",
    };
    if as_json {
        return json!({
            "eventTime": at, "eventID": event.event_id, "principal": who, "action": action,
            "resource": verdict.resource, "before": verdict.before, "after": verdict.after,
        })
        .to_string();
    }
    format!("{at} {who} {action} on {} {now} (event {})", verdict.resource, event.event_id)
}
