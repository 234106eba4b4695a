//! The parameters of a form as the audit log shows them: CloudTrail's own spelling of the members, without secrets.

use funaya_wire::query::Form;
use serde_json::{Map, Value};

/// What no record may hold (TRAIL-12), by parts of names in lower case.
const SECRETS: [&str; 6] = ["password", "secret", "privatekey", "token", "assertion", "authenticationcode"];
/// What is there for the protocol's sake.
const PROTOCOL: [&str; 2] = ["Action", "Version"];
/// Words between a list's name and its numbers.
const LIST_WORDS: [&str; 2] = ["member", "entry"];
/// So deep go the members of requests.
const DEPTH_MAX: usize = 8;

/// The members of a request.
pub(super) fn parameters(form: &Form) -> Value {
    let mut tree = Value::Object(Map::new());
    for (name, value) in form.pairs().filter(|(name, _)| is_shown(name)) {
        let parts: Vec<&str> = name.split('.').filter(|part| !LIST_WORDS.contains(part)).collect();
        if parts.len() <= DEPTH_MAX {
            put(&mut tree, &parts, value);
        }
    }
    let tree = lists(tree);
    if tree.as_object().is_some_and(Map::is_empty) { Value::Null } else { tree }
}

fn is_shown(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    // Whether a password must be changed is no secret.
    let secret = lower != "passwordresetrequired" && SECRETS.iter().any(|part| lower.contains(part));
    !PROTOCOL.contains(&name) && !lower.starts_with("x-amz-") && !secret
}

/// Two names that contradict each other, as `A` and `A.B`, leave the first.
fn put(tree: &mut Value, parts: &[&str], value: &str) {
    let Some((first, rest)) = parts.split_first() else { return };
    let Value::Object(members) = tree else { return };
    let member = members.entry(camel(first)).or_insert_with(|| match rest {
        [] => Value::Null,
        _ => Value::Object(Map::new()),
    });
    match rest {
        [] if member.is_null() => *member = value.into(),
        [] => {}
        rest => put(member, rest, value),
    }
}

/// `UserName` is `userName` in the log.
fn camel(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

/// Members that are all numbered are a list, in the order of their numbers.
fn lists(value: Value) -> Value {
    let Value::Object(members) = value else { return value };
    let numbers: Option<Vec<u64>> = members.keys().map(|name| name.parse().ok()).collect();
    let members = members.into_iter().map(|(name, value)| (name, lists(value)));
    match numbers {
        Some(numbers) if !numbers.is_empty() => {
            let mut items: Vec<(u64, Value)> = numbers.into_iter().zip(members.map(|(_, value)| value)).collect();
            items.sort_by_key(|(number, _)| *number);
            items.into_iter().map(|(_, value)| value).collect()
        }
        _ => Value::Object(members.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TRAIL-12.
    #[test]
    fn members() {
        let cases = [
            ("Action=GetUser&Version=2010-05-08", "null"),
            (
                "UserName=alice&Password=x&PasswordResetRequired=true",
                r#"{"passwordResetRequired":"true","userName":"alice"}"#,
            ),
            ("OldPassword=x&NewPassword=y", "null"),
            (
                "Tags.member.2.Key=b&Tags.member.10.Key=c&Tags.member.1.Key=a&Tags.member.1.Value=1",
                r#"{"tags":[{"key":"a","value":"1"},{"key":"b"},{"key":"c"}]}"#,
            ),
            ("TagKeys.1=a&TagKeys.2=b", r#"{"tagKeys":["a","b"]}"#),
            ("A=1&A.B=2", r#"{"a":"1"}"#),
            ("X-Amz-Signature=1&AccessKeyId=AKIA", r#"{"accessKeyId":"AKIA"}"#),
            (".=1&..=2", r#"{"":{"":"1"}}"#),
        ];
        for (form, want) in cases {
            let form = Form::parse(form.as_bytes(), "").unwrap();
            assert_eq!(parameters(&form).to_string(), want, "{form:?}");
        }
    }
}
