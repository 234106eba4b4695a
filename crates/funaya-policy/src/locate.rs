//! Where a statement stands in a policy's text, as `SimulatePrincipalPolicy` tells it.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A piece of a text. Lines and columns count from 1, columns in characters; the end is where it stops.
/// Source: IAM API reference, `Position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Line and column of its first character.
    pub start: (usize, usize),
    /// Line and column after its last character.
    pub end: (usize, usize),
}

/// Where the statement with this number, from 0, stands; `None` if there is none.
pub fn locate(policy: &str, statement: usize) -> Option<Span> {
    #[derive(Deserialize)]
    struct Policy<'a> {
        #[serde(rename = "Statement", borrow)]
        statement: &'a RawValue,
    }
    let whole = serde_json::from_str::<Policy<'_>>(policy).ok()?.statement.get();
    let found = match serde_json::from_str::<Vec<&RawValue>>(whole) {
        Ok(list) => list.get(statement)?.get(),
        Err(_) => Some(whole).filter(|_| statement == 0)?,
    };
    let from = found.as_ptr().addr().checked_sub(policy.as_ptr().addr())?;
    Some(Span { start: position(policy.get(..from)?), end: position(policy.get(..from + found.len())?) })
}

/// Line and column after a text.
fn position(before: &str) -> (usize, usize) {
    let line = before.rsplit('\n').next().unwrap_or(before);
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements() {
        let list = "{\"Version\": \"2012-10-17\",\n \"Statement\": [\n  {\"Sid\": \"é\"}, {\n}]}";
        assert_eq!(locate(list, 0), Some(Span { start: (3, 3), end: (3, 15) }));
        assert_eq!(locate(list, 1), Some(Span { start: (3, 17), end: (4, 2) }));
        assert_eq!(locate(list, 2), None);
        let one = r#"{"Statement": {"Sid": "a"}}"#;
        assert_eq!(locate(one, 0), Some(Span { start: (1, 15), end: (1, 27) }));
        assert_eq!(locate(one, 1), None);
        assert_eq!(locate("nonsense", 0), None);
    }
}
