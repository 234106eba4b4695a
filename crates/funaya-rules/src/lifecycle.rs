//! Lifecycle policies: which images of a repository expire (06-lifecycle-policies).
//!
//! [`LifecyclePolicy::parse`] checks a text as ECR does, with its reasons (LIFE-24);
//! [`LifecyclePolicy::evaluate`] is the function of LIFE-37.

use std::{collections::BTreeSet, time::Duration};

use funaya_types::{Timestamp, Wildcard};
use serde_json::{Map, Value, json};

const RULES_MAX: usize = 50;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Most `*` of one pattern. Source: ECR user guide, "Lifecycle policy properties".
const STARS_MAX: usize = 4;

/// Why a text is no policy: the reason, in ECR's words where they are known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Lifecycle policy validation failure: {0}")]
pub struct BadPolicy(pub String);

/// A policy that may be attached to a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecyclePolicy {
    /// By rising priority number: the first comes first.
    rules: Vec<Rule>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its place; unique.
    pub priority: u64,
    /// For people.
    pub description: Option<String>,
    /// Which images it sees.
    pub selection: Selection,
    /// Which of them it expires.
    pub limit: Limit,
}

/// Which images a rule sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Those for which every prefix begins one of their tags (LIFE-34).
    Prefixes(Vec<String>),
    /// Those for which every pattern, in which `*` stands for any characters, fits one of their tags.
    Patterns(Vec<Wildcard>),
    /// Those without a tag.
    Untagged,
    /// All.
    Any,
}

/// Which of the images that a rule sees expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// All but so many of the youngest (LIFE-35).
    CountMoreThan(u64),
    /// Those pushed longer ago than so many days (LIFE-36).
    SincePushed(u64),
    /// Those not pulled for longer than so many days; never pulled counts from the push.
    SincePulled(u64),
}

/// An image as rules see it.
#[derive(Clone, Debug)]
pub struct Image<T> {
    /// Its tags.
    pub tags: T,
    /// When it was pushed.
    pub pushed_at: Timestamp,
    /// When it was last pulled.
    pub pulled_at: Option<Timestamp>,
}

/// An image that expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marked {
    /// Its place in the list that was given.
    pub index: usize,
    /// The priority of the rule that expires it.
    pub priority: u64,
}

impl LifecyclePolicy {
    /// The rules, by rising priority number.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Which images expire. `images`: in the order of their push (LIFE-33, LIFE-38). What
    /// comes back is in that order, each image at most once (LIFE-30).
    ///
    /// Takes time in proportion to images × rules.
    pub fn evaluate<T: AsRef<[S]>, S: AsRef<str>>(&self, images: &[Image<T>], now: Timestamp) -> Vec<Marked> {
        let mut identified = vec![false; images.len()];
        let mut marked = Vec::new();
        let mut candidates = Vec::new();
        for rule in &self.rules {
            candidates.clear();
            candidates.extend((0..images.len()).filter(|index| rule.selection.fits(images[*index].tags.as_ref())));
            let victims = rule.victims(images, &candidates, now);
            let fresh = victims.filter(|index| !identified[*index]);
            marked.extend(fresh.map(|index| Marked { index, priority: rule.priority }));
            candidates.iter().for_each(|index| identified[*index] = true);
        }
        marked.sort_unstable_by_key(|marked| marked.index);
        marked
    }
}

impl Rule {
    /// Those of the candidates that are too many or too old. Candidates are sorted by push.
    fn victims<'a, T>(
        &self,
        images: &'a [Image<T>],
        candidates: &'a [usize],
        now: Timestamp,
    ) -> Box<dyn Iterator<Item = usize> + 'a> {
        let older_than = move |days: u64| now.minus(DAY.saturating_mul(u32::try_from(days).unwrap_or(u32::MAX)));
        match self.limit {
            Limit::CountMoreThan(kept) => {
                let kept = usize::try_from(kept).unwrap_or(usize::MAX);
                Box::new(candidates[..candidates.len().saturating_sub(kept)].iter().copied())
            }
            Limit::SincePushed(days) => {
                let limit = older_than(days);
                Box::new(candidates.iter().copied().filter(move |index| images[*index].pushed_at < limit))
            }
            Limit::SincePulled(days) => {
                let limit = older_than(days);
                let used = |image: &Image<T>| image.pulled_at.unwrap_or(image.pushed_at).max(image.pushed_at);
                Box::new(candidates.iter().copied().filter(move |index| used(&images[*index]) < limit))
            }
        }
    }

    /// `Tagged`, `Untagged` or `Any`, as audit records say it (TRAIL-20).
    pub fn tag_status(&self) -> &'static str {
        match self.selection {
            Selection::Prefixes(_) | Selection::Patterns(_) => "Tagged",
            Selection::Untagged => "Untagged",
            Selection::Any => "Any",
        }
    }
}

impl Selection {
    fn fits<S: AsRef<str>>(&self, tags: &[S]) -> bool {
        let any = |fits: &dyn Fn(&str) -> bool| tags.iter().any(|tag| fits(tag.as_ref()));
        match self {
            Self::Prefixes(prefixes) => prefixes.iter().all(|prefix| any(&|tag| tag.starts_with(prefix.as_str()))),
            Self::Patterns(patterns) => patterns.iter().all(|pattern| any(&|tag| pattern.matches(tag))),
            Self::Untagged => tags.is_empty(),
            Self::Any => true,
        }
    }
}

impl LifecyclePolicy {
    /// Checks a text (LIFE-10 to LIFE-24). Its length is checked by its shape.
    ///
    /// # Errors
    /// [`BadPolicy`] with the first reason found.
    pub fn parse(text: &str) -> Result<Self, BadPolicy> {
        let unmapped = || bad("Could not map policyString into LifecyclePolicy.");
        let value: Value = serde_json::from_str(text).map_err(|_| unmapped())?;
        let policy = value.as_object().ok_or_else(unmapped)?;
        members(policy, &["rules"], &[])?;
        let rules = policy["rules"].as_array().ok_or_else(|| wrong_type(&policy["rules"], "array"))?;
        if rules.is_empty() {
            return Err(bad("array is too short: must have at least 1 elements but instance has 0 elements"));
        }
        if rules.len() > RULES_MAX {
            let text = format!("array is too long: must have at most {RULES_MAX} elements but instance has");
            return Err(bad(format!("{text} {} elements", rules.len())));
        }
        let mut rules: Vec<Rule> = rules.iter().map(rule).collect::<Result<_, _>>()?;
        rules.sort_by_key(|rule| rule.priority);
        agree(&rules)?;
        Ok(Self { rules })
    }
}

/// What the rules must be together (LIFE-10, LIFE-11, LIFE-21, LIFE-22).
fn agree(rules: &[Rule]) -> Result<(), BadPolicy> {
    if rules.windows(2).any(|pair| pair[0].priority == pair[1].priority) {
        return Err(bad("rulePriority must be unique in a policy"));
    }
    let untagged = rules.iter().filter(|rule| rule.selection == Selection::Untagged).count();
    if untagged > 1 {
        return Err(bad("only one rule may select untagged images"));
    }
    let last = rules.len() - 1;
    if rules.iter().take(last).any(|rule| rule.selection == Selection::Any) {
        return Err(bad("a rule that selects any image must have the highest rulePriority"));
    }
    let mut sets = BTreeSet::new();
    for rule in rules {
        let (kind, texts): (_, BTreeSet<&str>) = match &rule.selection {
            Selection::Prefixes(texts) => ("tagPrefixList", texts.iter().map(String::as_str).collect()),
            Selection::Patterns(texts) => ("tagPatternList", texts.iter().map(Wildcard::as_str).collect()),
            Selection::Untagged | Selection::Any => continue,
        };
        if !sets.insert((kind, texts)) {
            return Err(bad(format!("two rules have the same {kind}")));
        }
    }
    Ok(())
}

fn rule(value: &Value) -> Result<Rule, BadPolicy> {
    let rule = value.as_object().ok_or_else(|| wrong_type(value, "object"))?;
    members(rule, &["action", "rulePriority", "selection"], &["description"])?;
    let description = match rule.get("description") {
        None => None,
        Some(text) => Some(text.as_str().ok_or_else(|| wrong_type(text, "string"))?.to_owned()),
    };
    action(&rule["action"])?;
    let (selection, limit) = selection(&rule["selection"])?;
    Ok(Rule { priority: positive(&rule["rulePriority"])?, description, selection, limit })
}

fn action(value: &Value) -> Result<(), BadPolicy> {
    let action = value.as_object().ok_or_else(|| wrong_type(value, "object"))?;
    members(action, &["type"], &["targetStorageClass"])?;
    one_of(&action["type"], &["expire"])?;
    match action.get("targetStorageClass") {
        Some(_) => Err(unknown(["targetStorageClass"].into_iter())),
        None => Ok(()),
    }
}

fn selection(value: &Value) -> Result<(Selection, Limit), BadPolicy> {
    let selection = value.as_object().ok_or_else(|| wrong_type(value, "object"))?;
    let optional = ["countUnit", "storageClass", "tagPatternList", "tagPrefixList"];
    members(selection, &["countNumber", "countType", "tagStatus"], &optional)?;
    if selection.contains_key("storageClass") {
        // There is one class of storage, so nothing can be chosen by it.
        return Err(unknown(["storageClass"].into_iter()));
    }
    let number = positive(&selection["countNumber"])?;
    let count = one_of(&selection["countType"], &["imageCountMoreThan", "sinceImagePushed", "sinceImagePulled"])?;
    let limit = match (count, selection.get("countUnit")) {
        ("imageCountMoreThan", None) => Limit::CountMoreThan(number),
        ("imageCountMoreThan", Some(_)) | (_, None) => return Err(no_schema()),
        (_, Some(unit)) => {
            one_of(unit, &["days"])?;
            if count == "sinceImagePulled" { Limit::SincePulled(number) } else { Limit::SincePushed(number) }
        }
    };
    let (prefixes, patterns) = (selection.get("tagPrefixList"), selection.get("tagPatternList"));
    let selection = match (one_of(&selection["tagStatus"], &["any", "tagged", "untagged"])?, prefixes, patterns) {
        ("tagged", Some(list), None) => Selection::Prefixes(texts(list)?),
        ("tagged", None, Some(list)) => Selection::Patterns(wildcards(list)?),
        ("untagged", None, None) => Selection::Untagged,
        ("any", None, None) => Selection::Any,
        _ => return Err(no_schema()),
    };
    Ok((selection, limit))
}

fn texts(value: &Value) -> Result<Vec<String>, BadPolicy> {
    let list = value.as_array().ok_or_else(|| wrong_type(value, "array"))?;
    if list.is_empty() {
        return Err(no_schema());
    }
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| wrong_type(value, "string"));
    list.iter().map(text).collect()
}

fn wildcards(value: &Value) -> Result<Vec<Wildcard>, BadPolicy> {
    let list: Vec<Wildcard> = texts(value)?.into_iter().map(Wildcard::new).collect();
    match list.iter().find(|pattern| pattern.stars() > STARS_MAX) {
        Some(text) => Err(bad(format!("the tag pattern \"{text}\" has more than {STARS_MAX} wildcards"))),
        None => Ok(list),
    }
}

/// Wants these members, allows those, refuses all others.
fn members(object: &Map<String, Value>, required: &[&str], optional: &[&str]) -> Result<(), BadPolicy> {
    let missing: Vec<&&str> = required.iter().filter(|name| !object.contains_key(**name)).collect();
    if !missing.is_empty() {
        return Err(bad(format!("object has missing required properties ({})", json!(missing))));
    }
    let known = |name: &str| required.contains(&name) || optional.contains(&name);
    let mut others = object.keys().map(String::as_str).filter(|name| !known(name)).peekable();
    if others.peek().is_some() { Err(unknown(others)) } else { Ok(()) }
}

fn unknown<'a>(names: impl Iterator<Item = &'a str>) -> BadPolicy {
    let names = names.collect::<BTreeSet<_>>();
    bad(format!("object instance has properties which are not allowed by the schema: ({})", json!(names)))
}

fn one_of<'a>(value: &Value, all: &[&'a str]) -> Result<&'a str, BadPolicy> {
    let text = value.as_str().ok_or_else(|| wrong_type(value, "string"))?;
    let found = all.iter().find(|known| **known == text);
    let missing = || bad(format!("instance value ({}) not found in enum :(possible values: {})", value, json!(all)));
    found.copied().ok_or_else(missing)
}

fn positive(value: &Value) -> Result<u64, BadPolicy> {
    match (value.as_u64(), value.as_i64()) {
        (Some(number @ 1..), _) => Ok(number),
        (None, None) => Err(wrong_type(value, "integer")),
        _ => Err(bad(format!("numeric instance is lower than the required minimum (minimum: 1, found: {value})"))),
    }
}

fn wrong_type(value: &Value, wanted: &str) -> BadPolicy {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    bad(format!("instance type ({found}) does not match any allowed primitive type (allowed: [\"{wanted}\"])"))
}

/// The members do not fit together.
fn no_schema() -> BadPolicy {
    bad("instance failed to match exactly one schema (matched 0 out of 2)")
}

fn bad(reason: impl Into<String>) -> BadPolicy {
    BadPolicy(reason.into())
}
