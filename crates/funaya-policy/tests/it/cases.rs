//! The corpus in `tests/cases`: what is allowed and what is not, each case by a requirement's id.
//!
//! A file has `documents`, which cases name, and `groups`. A group names its requirements (`spec`) and gives what its
//! cases share; a case overrides members of it, within `policies` and `context` one by one. See [`Scene::read`] for
//! the members; principals are those of `world::principal`, resources belong to 111122223333 unless `owner` says
//! otherwise, and names of managed policies are documents too. `expect` is `allowed`, `deny <type>` for an explicit
//! deny by a policy of that type, or `lack <type>` if one of that type would have had to allow.

use std::{collections::BTreeMap, fs, path::Path};

use funaya_policy::{Outcome, PolicyType, SmallestGrant};
use serde_json::{Map, Value};

use crate::world::Scene;

#[test]
fn every_case_is_decided_as_written() {
    let mut tally: BTreeMap<String, usize> = BTreeMap::new();
    let mut faults = Vec::new();
    for (file, document) in files() {
        for (group, case) in cases(&document) {
            let name = format!("{file}: {} / {}", text(&group, "group"), text(&case, "name"));
            let expected = text(&case, "expect");
            *tally.entry(expected.into()).or_default() += 1;
            if let Some(fault) = check(&case, &document["documents"], expected) {
                faults.push(format!("{name}: {fault}"));
            }
        }
    }
    let total: usize = tally.values().sum();
    println!("{total} cases: {tally:?}");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(total >= 300, "only {total} cases");
}

fn check(case: &Map<String, Value>, shared: &Value, expected: &str) -> Option<String> {
    let scene = match Scene::read(case, shared) {
        Ok(scene) => scene,
        Err(fault) => return Some(fault),
    };
    let outcome = scene.decide();
    if outcome != outcome_of(expected) {
        return Some(format!("expected {expected}, got {outcome:?}"));
    }
    if scene.reference() != outcome {
        return Some(format!("the reference says {:?}, not {outcome:?}", scene.reference()));
    }
    let explanation = scene.explain();
    let consistent = match outcome {
        Outcome::Allowed => explanation.smallest_grant == SmallestGrant::Nothing,
        Outcome::ExplicitDeny { .. } => {
            matches!(&explanation.smallest_grant, SmallestGrant::ChangeDeny(denying) if !denying.is_empty())
        }
        Outcome::ImplicitDeny { .. } => explanation.deciding.is_empty(),
    };
    (explanation.outcome != outcome || !consistent).then(|| format!("explained as {explanation:?}"))
}

/// `allowed`, `deny <type>` or `lack <type>`.
fn outcome_of(text: &str) -> Outcome {
    let policy_type = |name: &str| -> PolicyType { serde_json::from_value(name.into()).unwrap() };
    match text.split_once(' ') {
        None if text == "allowed" => Outcome::Allowed,
        Some(("deny", by)) => Outcome::ExplicitDeny { by: policy_type(by) },
        Some(("lack", missing)) => Outcome::ImplicitDeny { missing: policy_type(missing) },
        _ => panic!("what is `{text}`?"),
    }
}

/// Each case of each group, with what it takes over from the group.
fn cases(document: &Value) -> Vec<(Map<String, Value>, Map<String, Value>)> {
    let mut all = Vec::new();
    for group in document["groups"].as_array().unwrap() {
        let group = group.as_object().unwrap();
        assert!(group["spec"].as_array().is_some_and(|ids| !ids.is_empty()), "{group:?} names no requirement");
        for case in group["cases"].as_array().unwrap() {
            let mut whole = group.clone();
            whole.remove("cases");
            for (name, value) in case.as_object().unwrap() {
                match (whole.get_mut(name), value) {
                    (Some(Value::Object(old)), Value::Object(new)) if name == "policies" || name == "context" => {
                        old.extend(new.clone());
                        old.retain(|_, value| !value.is_null());
                    }
                    _ => {
                        whole.insert(name.clone(), value.clone());
                    }
                }
            }
            all.push((group.clone(), whole));
        }
    }
    all
}

fn files() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "json") && !path.ends_with("malformed.json"));
    files.sort();
    let read = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let document = serde_json::from_str(&fs::read_to_string(path).unwrap());
        (name.clone(), document.unwrap_or_else(|e| panic!("{name}: {e}")))
    };
    files.iter().map(|path| read(path)).collect()
}

fn text<'v>(map: &'v Map<String, Value>, name: &str) -> &'v str {
    map.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("no {name} in {map:?}"))
}
