//! The evaluator once more, slow and obvious: it interprets JSON as it stands, compiles nothing and shares no code with
//! the crate but the values of a request.

use std::collections::BTreeMap;

use funaya_policy::{Issuer, Outcome, PolicyType, Principal};
use funaya_types::AccountId;
use serde_json::Value;

/// A request in plain collections.
pub struct Plain {
    pub principal: Principal,
    pub action: String,
    pub resource: String,
    pub owner: Option<AccountId>,
    /// Keys in lower case. One value: `Ok`, a list: `Err`.
    pub context: BTreeMap<String, Result<String, Vec<String>>>,
}

/// The policies as JSON.
#[derive(Default)]
pub struct Documents {
    pub service_control: Vec<Vec<Value>>,
    pub endpoint: Option<Value>,
    pub resource: Option<Value>,
    pub resource_type: Option<PolicyType>,
    /// ARN to id, if the resource's policy was bound.
    pub bindings: Option<BTreeMap<String, String>>,
    pub identity: Vec<Value>,
    pub boundary: Option<Value>,
    pub session: Option<Vec<Value>>,
}

/// Who a statement may be about.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// Not a policy with principals.
    None,
    Resource,
    Endpoint,
}

pub fn decide(request: &Plain, documents: &Documents) -> Outcome {
    let resource_type = documents.resource_type.unwrap_or(PolicyType::Resource);
    let no_list = Vec::new();
    let ceilings = if request.principal.account().is_some() { &documents.service_control } else { &no_list };
    let bindings = documents.bindings.as_ref();

    // Everything that denies, in order.
    let mut denies: Vec<PolicyType> = Vec::new();
    let mut look = |policy_type, document: &Value, part| {
        if !applying(request, document, part, "Deny", bindings).is_empty() {
            denies.push(policy_type);
        }
    };
    ceilings.iter().flatten().for_each(|d| look(PolicyType::ServiceControl, d, Part::None));
    documents.endpoint.iter().for_each(|d| look(PolicyType::Endpoint, d, Part::Endpoint));
    documents.resource.iter().for_each(|d| look(resource_type, d, Part::Resource));
    documents.identity.iter().for_each(|d| look(PolicyType::Identity, d, Part::None));
    documents.boundary.iter().for_each(|d| look(PolicyType::Boundary, d, Part::None));
    documents.session.iter().flatten().for_each(|d| look(PolicyType::Session, d, Part::None));
    if let Some(by) = denies.first() {
        return Outcome::ExplicitDeny { by: *by };
    }

    let allows = |document: &Value, part| !applying(request, document, part, "Allow", bindings).is_empty();
    let missing = |missing| Outcome::ImplicitDeny { missing };
    for level in ceilings {
        if !level.iter().any(|d| allows(d, Part::None)) {
            return missing(PolicyType::ServiceControl);
        }
    }
    if documents.endpoint.as_ref().is_some_and(|d| !allows(d, Part::Endpoint)) {
        return missing(PolicyType::Endpoint);
    }

    let grips: Vec<&'static str> =
        documents.resource.iter().flat_map(|d| applying(request, d, Part::Resource, "Allow", bindings)).collect();
    if request.principal.account().is_none() {
        return if grips.is_empty() { missing(resource_type) } else { Outcome::Allowed };
    }

    let root =
        matches!(request.principal, Principal::Root { .. } | Principal::FederatedUser { issuer: Issuer::Root, .. });
    let identity = root || documents.identity.iter().any(|d| allows(d, Part::None));
    let boundary = documents.boundary.as_ref().is_none_or(|d| allows(d, Part::None));
    let session = documents.session.as_ref().is_none_or(|list| list.iter().any(|d| allows(d, Part::None)));
    let ceiling = || {
        if !boundary {
            missing(PolicyType::Boundary)
        } else if !session {
            missing(PolicyType::Session)
        } else {
            Outcome::Allowed
        }
    };

    if request.owner.is_some() && request.owner != request.principal.account() {
        if !identity {
            return missing(PolicyType::Identity);
        }
        return match ceiling() {
            Outcome::Allowed if grips.is_empty() => missing(resource_type),
            outcome => outcome,
        };
    }
    if grips.contains(&"own") {
        return Outcome::Allowed;
    }
    if grips.contains(&"issuer") || grips.contains(&"everyone") {
        return ceiling();
    }
    if grips.is_empty() && resource_type != PolicyType::Resource {
        return missing(resource_type);
    }
    if identity { ceiling() } else { missing(PolicyType::Identity) }
}

/// For each statement of this effect that applies: how it names the caller.
fn applying(
    request: &Plain,
    document: &Value,
    part: Part,
    effect: &str,
    bindings: Option<&BTreeMap<String, String>>,
) -> Vec<&'static str> {
    let variables = document["Version"] == "2012-10-17";
    let bindings = bindings.filter(|_| part == Part::Resource);
    let statements = match &document["Statement"] {
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    };
    let mut found = Vec::new();
    for statement in &statements {
        if statement["Effect"] != effect {
            continue;
        }
        let names = names(request, statement, part, effect, bindings);
        let action = list(statement, "Action").map(|list| list.iter().any(|a| action_fits(a, &request.action)));
        let no_action = list(statement, "NotAction").map(|list| !list.iter().any(|a| action_fits(a, &request.action)));
        let fits = |pattern: &String| like(pattern, &request.resource, variables, request);
        let resource = list(statement, "Resource").map(|list| list.iter().any(fits));
        let no_resource = list(statement, "NotResource").map(|list| !list.iter().any(fits));
        let right = |yes: Option<bool>, no: Option<bool>| yes.or(no).unwrap_or(true);
        if right(action, no_action) && right(resource, no_resource) && conditions_hold(request, statement, variables) {
            found.extend(names);
        }
    }
    found
}

fn list(statement: &Value, element: &str) -> Option<Vec<String>> {
    match statement.get(element)? {
        Value::Array(items) => Some(items.iter().map(scalar).collect()),
        one => Some(vec![scalar(one)]),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn action_fits(pattern: &str, action: &str) -> bool {
    let pattern: Vec<Glyph> = glyphs(&pattern.to_lowercase());
    wild(&pattern, &action.to_lowercase())
}

// Principals.

fn names(
    request: &Plain,
    statement: &Value,
    part: Part,
    effect: &str,
    bindings: Option<&BTreeMap<String, String>>,
) -> Option<&'static str> {
    if part == Part::None {
        return Some("own");
    }
    let caller = &request.principal;
    let grips = |element: &Value, strangers: bool| -> Vec<&'static str> {
        if *element == "*" {
            return everyone(caller, strangers).into_iter().collect();
        }
        let kinds = element.as_object().unwrap();
        kinds
            .iter()
            .flat_map(|(kind, _)| list(element, kind).unwrap().into_iter().map(move |text| (kind.clone(), text)))
            .filter_map(|(kind, text)| name(caller, &kind, &text, strangers, bindings))
            .collect()
    };
    if let Some(element) = statement.get("Principal") {
        let strangers = effect == "Deny" || part == Part::Endpoint;
        let all = grips(element, strangers);
        return ["own", "issuer", "everyone", "account"].into_iter().find(|grip| all.contains(grip));
    }
    let spared = grips(&statement["NotPrincipal"], true);
    let needed: Vec<&str> = match caller {
        Principal::Root { .. } => vec!["account"],
        Principal::User { .. } => vec!["account", "own"],
        Principal::AssumedRole { .. } | Principal::FederatedUser { issuer: Issuer::User { .. }, .. } => {
            vec!["account", "issuer", "own"]
        }
        Principal::FederatedUser { issuer: Issuer::Root, .. } => vec!["account", "own"],
        _ => vec!["own"],
    };
    let all = spared.contains(&"everyone") || needed.iter().all(|grip| spared.contains(grip));
    (!all).then_some("everyone")
}

fn everyone(caller: &Principal, strangers: bool) -> Option<&'static str> {
    let stranger = matches!(caller, Principal::Anonymous | Principal::WebIdentity { .. } | Principal::Saml { .. });
    (!stranger || strangers).then_some("everyone")
}

fn name(
    caller: &Principal,
    kind: &str,
    text: &str,
    strangers: bool,
    bindings: Option<&BTreeMap<String, String>>,
) -> Option<&'static str> {
    let (identity_arn, identity_id, session) = match caller {
        Principal::User { arn, id, .. } => (Some(arn), Some(id), None),
        Principal::AssumedRole { role_arn, role_id, session_arn, .. } => {
            (Some(role_arn), Some(role_id), Some(session_arn))
        }
        Principal::FederatedUser { issuer: Issuer::User { arn: user, id }, arn, .. } => {
            (Some(user), Some(id), Some(arn))
        }
        Principal::FederatedUser { arn, .. } => (None, None, Some(arn)),
        _ => (None, None, None),
    };
    let identity_grip = if session.is_some() { "issuer" } else { "own" };
    match kind {
        "AWS" if text == "*" => everyone(caller, strangers),
        "AWS" if text.len() == 12 && text.parse::<u64>().is_ok() => {
            (caller.account()?.as_str() == text).then_some("account")
        }
        "AWS" if text.ends_with(":root") => {
            (text == format!("arn:aws:iam::{}:root", caller.account()?)).then_some("account")
        }
        "AWS" if text.starts_with("arn:aws:sts:") => (&**session? == text).then_some("own"),
        "AWS" if text.starts_with("arn:") => match bindings {
            None => (&**identity_arn? == text).then_some(identity_grip),
            Some(bindings) => (**bindings.get(text)? == **identity_id?).then_some(identity_grip),
        },
        "AWS" => (&**identity_id? == text).then_some(identity_grip),
        "Service" => matches!(caller, Principal::Service { name } if &**name == text).then_some("own"),
        "Federated" => match caller {
            Principal::WebIdentity { provider } => (&**provider == text).then_some("own"),
            Principal::Saml { provider_arn } => (&**provider_arn == text).then_some("own"),
            _ => None,
        },
        _ => None,
    }
}

// Wildcards and variables.

#[derive(Clone, Copy, PartialEq)]
enum Glyph {
    Just(char),
    One,
    Many,
}

fn glyphs(text: &str) -> Vec<Glyph> {
    text.chars()
        .map(|c| match c {
            '*' => Glyph::Many,
            '?' => Glyph::One,
            c => Glyph::Just(c),
        })
        .collect()
}

/// Dynamic programming over all pairs of places.
fn wild(pattern: &[Glyph], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut fits = vec![vec![false; text.len() + 1]; pattern.len() + 1];
    fits[0][0] = true;
    for (p, glyph) in pattern.iter().enumerate() {
        for t in 0..=text.len() {
            fits[p + 1][t] = match glyph {
                Glyph::Many => fits[p][t] || (t > 0 && fits[p + 1][t - 1]),
                Glyph::One => t > 0 && fits[p][t - 1],
                Glyph::Just(c) => t > 0 && fits[p][t - 1] && text[t - 1] == *c,
            };
        }
    }
    fits[pattern.len()][text.len()]
}

/// `None`: a variable has no value.
fn expand(text: &str, variables: bool, request: &Plain) -> Option<Vec<Glyph>> {
    let mut out = Vec::new();
    let mut rest = text;
    while variables && rest.contains("${") {
        let at = rest.find("${").unwrap();
        out.extend(glyphs(&rest[..at]));
        let end = at + rest[at..].find('}').unwrap();
        let inside = &rest[at + 2..end];
        rest = &rest[end + 1..];
        let value = match inside {
            "*" | "?" | "$" => inside.to_string(),
            _ => {
                let (key, default) = match inside.split_once(',') {
                    Some((key, default)) => (key, Some(default.trim().trim_matches('\''))),
                    None => (inside, None),
                };
                match request.context.get(&key.trim().to_lowercase()) {
                    Some(Ok(value)) => value.clone(),
                    Some(Err(list)) if !list.is_empty() => return None,
                    _ => default?.to_string(),
                }
            }
        };
        out.extend(value.chars().map(Glyph::Just));
    }
    out.extend(glyphs(rest));
    Some(out)
}

fn like(pattern: &str, text: &str, variables: bool, request: &Plain) -> bool {
    expand(pattern, variables, request).is_some_and(|pattern| wild(&pattern, text))
}

fn literal(glyphs: Vec<Glyph>) -> String {
    let as_char = |glyph| match glyph {
        Glyph::Just(c) => c,
        Glyph::One => '?',
        Glyph::Many => '*',
    };
    glyphs.into_iter().map(as_char).collect()
}

fn arn_like(pattern: &str, text: &str, variables: bool, request: &Plain) -> bool {
    let Some(mut pattern) = expand(pattern, variables, request) else { return false };
    if pattern == [Glyph::Many] {
        return true;
    }
    let mut text = text.to_string();
    for _ in 0..5 {
        let Some(cut) = pattern.iter().position(|g| *g == Glyph::Just(':')) else { return false };
        let Some((field, rest)) = text.split_once(':') else { return false };
        if !wild(&pattern[..cut], field) {
            return false;
        }
        pattern = pattern[cut + 1..].to_vec();
        text = rest.to_string();
    }
    wild(&pattern, &text)
}

// Conditions.

fn conditions_hold(request: &Plain, statement: &Value, variables: bool) -> bool {
    let Some(operators) = statement.get("Condition").and_then(Value::as_object) else { return true };
    operators.iter().all(|(operator, keys)| {
        keys.as_object().unwrap().keys().all(|key| {
            let wanted = list(keys, key).unwrap();
            condition_holds(request, operator, key, &wanted, variables)
        })
    })
}

fn condition_holds(request: &Plain, operator: &str, key: &str, wanted: &[String], variables: bool) -> bool {
    let values: Option<Vec<String>> = match request.context.get(&key.to_lowercase()) {
        None => None,
        Some(Ok(value)) => Some(vec![value.clone()]),
        Some(Err(list)) if list.is_empty() => None,
        Some(Err(list)) => Some(list.clone()),
    };
    let (set, operator) = match operator.split_once(':') {
        Some((set, operator)) => (set, operator),
        None => ("", operator),
    };
    let if_exists = operator.ends_with("IfExists");
    let operator = operator.trim_end_matches("IfExists");
    if operator == "Null" {
        return wanted.iter().any(|w| w.eq_ignore_ascii_case(if values.is_none() { "true" } else { "false" }));
    }
    let (negated, positive) = match operator {
        "NotIpAddress" => (true, "IpAddress".to_string()),
        "ArnNotLike" | "ArnNotEquals" => (true, "ArnLike".to_string()),
        "ArnEquals" => (false, "ArnLike".to_string()),
        _ if operator.contains("Not") => (true, operator.replace("Not", "")),
        _ => (false, operator.to_string()),
    };
    let Some(values) = values else {
        return match set {
            "ForAllValues" => true,
            "ForAnyValue" => if_exists,
            _ => if_exists || negated,
        };
    };
    let one = |value: &String| wanted.iter().any(|w| compare(request, &positive, value, w, variables));
    match set {
        "ForAllValues" => values.iter().all(|value| one(value) != negated),
        "ForAnyValue" => values.iter().any(|value| one(value) != negated),
        _ if negated => !values.iter().any(one),
        _ => values.iter().any(one),
    }
}

fn compare(request: &Plain, operator: &str, value: &str, wanted: &str, variables: bool) -> bool {
    if let Some(order) = operator.strip_prefix("Numeric") {
        return both(value.parse::<f64>().ok(), wanted.parse::<f64>().ok(), order);
    }
    if let Some(order) = operator.strip_prefix("Date") {
        return both(seconds(value), seconds(wanted), order);
    }
    match operator {
        "StringEquals" => expand(wanted, variables, request).map(literal).is_some_and(|w| w == value),
        "StringEqualsIgnoreCase" => {
            expand(wanted, variables, request).map(literal).is_some_and(|w| w.to_lowercase() == value.to_lowercase())
        }
        "StringLike" => like(wanted, value, variables, request),
        "Bool" => {
            let truth = ["true", "false"].contains(&value.to_lowercase().as_str());
            truth && value.eq_ignore_ascii_case(wanted)
        }
        "BinaryEquals" => value == wanted,
        "IpAddress" => in_network(value, wanted),
        "ArnLike" => arn_like(wanted, value, variables, request),
        _ => panic!("{operator}"),
    }
}

fn both<T: PartialOrd>(value: Option<T>, wanted: Option<T>, order: &str) -> bool {
    let (Some(value), Some(wanted)) = (value, wanted) else { return false };
    match order {
        "Equals" => value == wanted,
        "LessThan" => value < wanted,
        "LessThanEquals" => value <= wanted,
        "GreaterThan" => value > wanted,
        "GreaterThanEquals" => value >= wanted,
        _ => panic!("{order}"),
    }
}

/// Counts the days one by one.
fn seconds(text: &str) -> Option<i64> {
    if let Ok(epoch) = text.parse() {
        return Some(epoch);
    }
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let numbers: Vec<i64> = date.split('-').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let [year, month, day] = numbers[..] else { return None };
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut days: i64 = (1970..year).map(|y| if leap(y) { 366 } else { 365 }).sum();
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days += lengths[..month as usize - 1].iter().sum::<i64>() + day - 1;
    let (time, offset) = match time.strip_suffix('Z') {
        Some(time) => (time, 0),
        None => {
            let (time, offset) = time.split_at(time.find(['+', '-'])?);
            let sign = if offset.starts_with('-') { -1 } else { 1 };
            let (h, m) = offset[1..].split_once(':')?;
            (time, sign * (h.parse::<i64>().ok()? * 3_600 + m.parse::<i64>().ok()? * 60))
        }
    };
    let mut of_day = 0;
    for (unit, n) in [3_600, 60, 1].iter().zip(time.split(':')) {
        of_day += unit * n.parse::<i64>().ok()?;
    }
    Some(days * 86_400 + of_day - offset)
}

/// Compares addresses as strings of `0` and `1`.
fn in_network(value: &str, wanted: &str) -> bool {
    let (network, prefix) = match wanted.split_once('/') {
        Some((network, prefix)) => (network, prefix.parse::<usize>().unwrap()),
        None => (wanted, if wanted.contains(':') { 128 } else { 32 }),
    };
    let (Some(mut value), Some(mut network)) = (bits(value), bits(network)) else { return false };
    let wrapped = format!("{}{}", "0".repeat(80), "1".repeat(16));
    let mut prefix = prefix;
    if value.len() == 128 && value.starts_with(&wrapped) {
        value = value[96..].to_string();
    }
    if network.len() == 128 && network.starts_with(&wrapped) && prefix >= 96 {
        network = network[96..].to_string();
        prefix -= 96;
    }
    value.len() == network.len() && value[..prefix] == network[..prefix]
}

fn bits(address: &str) -> Option<String> {
    match address.parse().ok()? {
        std::net::IpAddr::V4(v4) => Some(v4.octets().iter().map(|o| format!("{o:08b}")).collect()),
        std::net::IpAddr::V6(v6) => Some(v6.octets().iter().map(|o| format!("{o:08b}")).collect()),
    }
}
