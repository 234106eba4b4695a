//! From text to statements, refusing what AWS refuses (IAM-27, IAM-28, POL-08 to POL-11).
//!
//! The order of the checks is IAM's, as far as its answers show: first the form of the whole document, then what each
//! statement must have, then what its strings mean.

use std::collections::BTreeSet;

use crate::{
    Kind, Malformed,
    condition::Condition,
    document::{ActionPattern, Actions, Effect, Resources, Statement},
    json::Value,
    kind::Need,
    principals::{self, Principals, is_partition},
    template::{Like, Template},
};

/// No document, white space included, is longer than what IAM's API takes.
const TEXT_MAX: usize = 131_072;

/// The only text that Organizations has.
const SERVICE_CONTROL_FAULT: &str =
    "The provided policy document does not meet the requirements of the specified policy type.";

type Parsed = (Value, Box<[Statement]>);

pub(crate) fn document(text: &str, kind: Kind, size_max: usize) -> Result<Parsed, Malformed> {
    check_size(text, kind, size_max)?;
    compile(text, kind).map_err(|fault| match kind {
        Kind::ServiceControl => fault.with_text(SERVICE_CONTROL_FAULT),
        _ => fault,
    })
}

fn check_size(text: &str, kind: Kind, size_max: usize) -> Result<(), Malformed> {
    if text.len() > TEXT_MAX {
        return Err(Malformed::too_large(TEXT_MAX, text.len()));
    }
    let size = kind.size_of(text);
    if size > size_max { Err(Malformed::too_large(size_max, size)) } else { Ok(()) }
}

fn compile(text: &str, kind: Kind) -> Result<Parsed, Malformed> {
    let source = Value::parse(text).map_err(|e| Malformed::syntax(e.to_string()))?;
    let variables = check_top(&source)?;
    let raw = statements(&source)?.iter().map(Raw::read).collect::<Result<Vec<_>, _>>()?;
    if !kind.repeats_sids() {
        check_sids(&raw)?;
    }
    let compiled = raw.iter().map(|raw| raw.compile(kind, variables)).collect::<Result<_, _>>()?;
    Ok((source, compiled))
}

/// Checks all but the statements; whether the version has policy variables.
fn check_top(source: &Value) -> Result<bool, Malformed> {
    let Value::Object(members) = source else {
        return Err(Malformed::syntax("a policy is a JSON object"));
    };
    let mut variables = false;
    for (name, value) in members {
        match (name.as_str(), value) {
            ("Version", Value::Text(version)) if version == "2012-10-17" => variables = true,
            ("Version", Value::Text(version)) if version == "2008-10-17" => {}
            ("Version", _) => return Err(Malformed::syntax("`Version` is `2012-10-17` or `2008-10-17`")),
            ("Id", Value::Text(_)) | ("Statement", _) => {}
            ("Id", _) => return Err(Malformed::syntax("`Id` is a string")),
            _ => return Err(Malformed::syntax(format!("`{name}` is no element of a policy"))),
        }
    }
    Ok(variables)
}

fn statements(source: &Value) -> Result<&[Value], Malformed> {
    match source.get("Statement") {
        Some(Value::List(statements)) if !statements.is_empty() => Ok(statements),
        Some(one @ Value::Object(_)) => Ok(std::slice::from_ref(one)),
        _ => Err(Malformed::syntax("`Statement` is a statement or a list with at least one")),
    }
}

fn check_sids(statements: &[Raw<'_>]) -> Result<(), Malformed> {
    let mut seen = BTreeSet::new();
    let named = statements.iter().filter_map(|statement| statement.sid).filter(|sid| !sid.is_empty());
    match named.into_iter().find(|sid| !seen.insert(*sid)) {
        Some(sid) => Err(Malformed::new(
            "Statement IDs (SID) in a single policy must be unique.",
            format!("two statements have the Sid `{sid}`"),
        )),
        None => Ok(()),
    }
}

/// A statement whose elements have the right types, and no more.
#[derive(Default)]
struct Raw<'v> {
    sid: Option<&'v str>,
    effect: Option<&'v str>,
    principal: Option<Element<&'v Value>>,
    actions: Option<Element<Vec<&'v str>>>,
    resources: Option<Element<Vec<&'v str>>>,
    conditions: Vec<(&'v str, &'v str, Vec<Box<str>>)>,
}

/// An element in its plain form or as `Not…`.
struct Element<T> {
    negated: bool,
    value: T,
}

impl<'v> Raw<'v> {
    fn read(value: &'v Value) -> Result<Self, Malformed> {
        let Value::Object(members) = value else {
            return Err(Malformed::syntax("a statement is a JSON object"));
        };
        let mut raw = Self::default();
        for (name, value) in members {
            raw.take(name, value)?;
        }
        match raw.effect {
            Some("Allow" | "Deny") => Ok(raw),
            Some(effect) if ["allow", "deny"].contains(&effect.to_ascii_lowercase().as_str()) => {
                Err(Malformed::legacy("`Effect` is written `Allow` or `Deny`"))
            }
            _ => Err(Malformed::syntax("`Effect` must be `Allow` or `Deny`")),
        }
    }

    fn take(&mut self, name: &str, value: &'v Value) -> Result<(), Malformed> {
        let string = || value.text().ok_or_else(|| Malformed::syntax(format!("`{name}` is a string")));
        let strings =
            || value.texts().ok_or_else(|| Malformed::syntax(format!("`{name}` is a string or a list of strings")));
        match name {
            "Sid" => self.sid = Some(string()?),
            "Effect" => self.effect = Some(string()?),
            "Principal" | "NotPrincipal" => put(&mut self.principal, name, value)?,
            "Action" | "NotAction" => put(&mut self.actions, name, strings()?)?,
            "Resource" | "NotResource" => put(&mut self.resources, name, strings()?)?,
            "Condition" => self.conditions = conditions(value)?,
            _ => return Err(Malformed::syntax(format!("`{name}` is no element of a statement"))),
        }
        Ok(())
    }

    fn compile(&self, kind: Kind, variables: bool) -> Result<Statement, Malformed> {
        let effect = if self.effect == Some("Allow") { Effect::Allow } else { Effect::Deny };
        Ok(Statement {
            sid: self.sid.map(Into::into),
            effect,
            principals: self.principals(kind, effect)?,
            actions: self.actions(kind)?,
            resources: self.resources(kind, variables)?,
            conditions: self.conditions(variables)?,
        })
    }

    fn principals(&self, kind: Kind, effect: Effect) -> Result<Option<Principals>, Malformed> {
        match (&self.principal, kind.principal()) {
            (None, Need::Required) => {
                let text = match kind {
                    Kind::Key => "Policy contains a statement with no Principal element.",
                    _ => "Missing required field Principal",
                };
                Err(Malformed::new(text, "a statement says nothing of whom it is about"))
            }
            (None, _) => Ok(None),
            (Some(_), Need::Forbidden) => Err(Malformed::new(
                "Policy document should not specify a principal.",
                "the principal is whoever the policy is attached to",
            )),
            (Some(element), _) if element.negated && effect == Effect::Allow => Err(Malformed::new(
                "Allow with NotPrincipal is not allowed.",
                "it would allow everybody but those listed",
            )),
            (Some(element), _) => {
                let parsed = principals::parse(element.value, element.negated);
                parsed.map(Some).map_err(|fault| match kind {
                    Kind::Key => fault.with_text("Policy contains a statement with one or more invalid principals."),
                    _ => fault,
                })
            }
        }
    }

    fn actions(&self, kind: Kind) -> Result<Actions, Malformed> {
        let Some(element) = self.actions.as_ref().filter(|element| !element.value.is_empty()) else {
            return Err(Malformed::new(
                "Policy statement must contain actions.",
                "a statement has neither `Action` nor `NotAction`",
            ));
        };
        for action in &element.value {
            check_action(action)?;
            if kind == Kind::Trust && !action.to_ascii_lowercase().starts_with("sts:") {
                return Err(Malformed::new(
                    "AssumeRole policy may only specify STS AssumeRole actions.",
                    format!("`{action}` is no action of STS"),
                ));
            }
        }
        let patterns = element.value.iter().map(|action| ActionPattern::new(action)).collect();
        Ok(Actions { negated: element.negated, patterns })
    }

    fn resources(&self, kind: Kind, variables: bool) -> Result<Option<Resources>, Malformed> {
        let Some(element) = &self.resources else {
            return match kind.resource() {
                Need::Required => Err(no_resources(kind)),
                Need::Optional | Need::Forbidden => Ok(None),
            };
        };
        if kind.resource() == Need::Forbidden {
            return Err(Malformed::new("Has prohibited field Resource", "a trust policy is about its own role"));
        }
        if element.value.is_empty() {
            return Err(no_resources(kind));
        }
        let patterns = element.value.iter().map(|text| {
            check_resource(text, kind.is_strict())?;
            Template::parse(text, variables).map(Like::new).map_err(Malformed::syntax)
        });
        Ok(Some(Resources { negated: element.negated, patterns: patterns.collect::<Result<_, _>>()? }))
    }

    fn conditions(&self, variables: bool) -> Result<Box<[Condition]>, Malformed> {
        let compile = |(operator, key, wanted): &(&str, &str, Vec<Box<str>>)| {
            if !key.contains(':') {
                return Err(no_vendor(key));
            }
            Condition::new(operator, key, wanted.clone(), variables).map_err(Malformed::syntax)
        };
        self.conditions.iter().map(compile).collect()
    }
}

fn put<T>(slot: &mut Option<Element<T>>, name: &str, value: T) -> Result<(), Malformed> {
    let negated = name.starts_with("Not");
    match slot.replace(Element { negated, value }) {
        Some(_) => {
            let plain = name.trim_start_matches("Not");
            Err(Malformed::syntax(format!("a statement has `{plain}` or `Not{plain}`, not both")))
        }
        None => Ok(()),
    }
}

/// Operator, key and values of each member of a `Condition`.
fn conditions(value: &Value) -> Result<Vec<(&str, &str, Vec<Box<str>>)>, Malformed> {
    let Value::Object(operators) = value else {
        return Err(Malformed::syntax("`Condition` is an object of operators"));
    };
    let mut conditions = Vec::new();
    for (operator, keys) in operators {
        let Value::Object(keys) = keys else {
            return Err(Malformed::syntax(format!("`{operator}` is an object of condition keys")));
        };
        // So that an operator without keys is checked as well.
        Condition::new(operator, ":", Vec::new(), false).map_err(Malformed::syntax)?;
        for (key, values) in keys {
            conditions.push((operator.as_str(), key.as_str(), condition_values(key, values)?));
        }
    }
    Ok(conditions)
}

/// Numbers and truth values may stand without quotes.
fn condition_values(key: &str, value: &Value) -> Result<Vec<Box<str>>, Malformed> {
    let scalar = |value: &Value| match value {
        Value::Text(text) => Ok(text.as_str().into()),
        Value::Number(number) => Ok(number.to_string().into()),
        Value::Bool(value) => Ok(value.to_string().into()),
        Value::Null | Value::List(_) | Value::Object(_) => {
            Err(Malformed::syntax(format!("values of `{key}` are strings, numbers or truth values")))
        }
    };
    match value {
        Value::List(values) => values.iter().map(scalar).collect(),
        one => Ok(vec![scalar(one)?]),
    }
}

fn check_action(action: &str) -> Result<(), Malformed> {
    if action == "*" {
        return Ok(());
    }
    let Some((vendor, name)) = action.split_once(':') else {
        return Err(no_vendor(action));
    };
    if name.contains(':') {
        return Err(Malformed::new(
            "Actions/Condition can contain only one colon.",
            format!("`{action}` has more than one colon"),
        ));
    }
    let in_vendor = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'.';
    if vendor.is_empty() || !vendor.bytes().all(in_vendor) {
        return Err(Malformed::new(format!("Vendor {vendor} is not valid"), format!("`{action}` names no service")));
    }
    let in_name = |c: u8| c.is_ascii_alphanumeric() || b"*?-_.".contains(&c);
    if name.is_empty() || !name.bytes().all(in_name) {
        return Err(Malformed::legacy(format!("`{action}` names no action")));
    }
    Ok(())
}

fn no_vendor(text: &str) -> Malformed {
    Malformed::new(
        "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        format!("`{text}` lacks the service in front of a colon"),
    )
}

fn no_resources(kind: Kind) -> Malformed {
    let text = match kind {
        Kind::Key => "Policy contains a statement with no Resource element.",
        _ => "Policy statement must contain resources.",
    };
    Malformed::new(text, "a statement has neither `Resource` nor `NotResource`")
}

/// `*` or an ARN, which may hold wildcards and variables behind the service. `strict`: as IAM checks it.
fn check_resource(text: &str, strict: bool) -> Result<(), Malformed> {
    if text == "*" {
        return Ok(());
    }
    let no_arn = || {
        Malformed::new(
            format!("Resource {text} must be in ARN format or \"*\"."),
            format!("`{text}` is neither an ARN nor `*`"),
        )
    };
    let (scheme, rest) = text.split_once(':').ok_or_else(no_arn)?;
    let fields: Vec<&str> = rest.splitn(5, ':').collect();
    if scheme != "arn" {
        return Err(if strict { bad_partition(text, &fields) } else { no_arn() });
    }
    let unqualified = || {
        Malformed::new(
            "Resource vendor must be fully qualified and cannot contain regexes.",
            format!("`{text}` must name its service"),
        )
    };
    if strict && fields.len() < 3 && is_partition(fields[0]) {
        return Err(unqualified());
    }
    if fields.len() < 5 || fields[4].is_empty() {
        return Err(Malformed::legacy(format!("`{text}` has too few fields for an ARN")));
    }
    if strict && !is_partition(fields[0]) {
        return Err(bad_partition(text, &fields));
    }
    if strict && (fields[1].is_empty() || fields[1].contains(['*', '?', '$'])) {
        return Err(unqualified());
    }
    let account = fields[3];
    if strict && !account.is_empty() && account.bytes().all(|c| c.is_ascii_digit()) && account.len() != 12 {
        return Err(Malformed::legacy(format!("`{account}` is no account id")));
    }
    Ok(())
}

/// Fields that are missing show as `*`.
fn bad_partition(text: &str, fields: &[&str]) -> Malformed {
    let field = |at: usize| fields.get(at).copied().unwrap_or("*");
    let (partition, service, region, account, name) = (field(0), field(1), field(2), field(3), field(4));
    let shown = format!("arn:{partition}:{service}:{region}:{account}:{name}");
    Malformed::new(
        format!("Partition \"{partition}\" is not valid for resource \"{shown}\"."),
        format!("`{text}` must begin with `arn:aws:`"),
    )
}
