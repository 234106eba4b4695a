//! A policy document, compiled.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    Context, Kind, Malformed, Principal,
    condition::Condition,
    json::Value,
    parse,
    pattern::Pattern,
    principals::{Bound, Entry, Grip, Principals},
    template::Like,
};

/// A policy document that was checked and compiled for deciding. Cloning is cheap.
///
/// ```
/// use funaya_policy::{Document, Kind};
///
/// let text = r#"{"Statement": {"Effect": "Allow", "Action": "ecr:Describe*", "Resource": "*"}}"#;
/// assert!(Document::parse(text, Kind::Identity).is_ok());
///
/// let text = r#"{"Statement": {"Effect": "Allow", "Action": "ecr:Describe*"}}"#;
/// let malformed = Document::parse(text, Kind::Identity).unwrap_err();
/// assert_eq!(malformed.text(), "Policy statement must contain resources.");
/// ```
#[derive(Clone)]
pub struct Document(Arc<Inner>);

struct Inner {
    kind: Kind,
    /// As written, for reading back.
    source: Value,
    statements: Box<[Statement]>,
}

/// `Effect`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Grants.
    Allow,
    /// Refuses, whatever else grants.
    Deny,
}

#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) sid: Option<Box<str>>,
    pub(crate) effect: Effect,
    pub(crate) principals: Option<Principals>,
    pub(crate) actions: Actions,
    pub(crate) resources: Option<Resources>,
    pub(crate) conditions: Box<[Condition]>,
}

/// `Action` or `NotAction`
#[derive(Clone, Debug)]
pub(crate) struct Actions {
    pub(crate) negated: bool,
    pub(crate) patterns: Box<[ActionPattern]>,
}

/// In lower case.
#[derive(Clone, Debug)]
pub(crate) enum ActionPattern {
    Any,
    /// Without wildcards, which most are.
    Exact(Box<str>),
    Wild(Pattern),
}

/// `Resource` or `NotResource`
#[derive(Clone, Debug)]
pub(crate) struct Resources {
    pub(crate) negated: bool,
    pub(crate) patterns: Box<[Like]>,
}

/// What a request looks like to a statement.
pub(crate) struct View<'a> {
    pub(crate) principal: &'a Principal,
    /// In lower case.
    pub(crate) action: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) context: &'a Context,
}

/// What a document says to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) denies: bool,
    /// How firmly the most favourable `Allow` names the caller; `Own` in documents without principals.
    pub(crate) allows: Option<Grip>,
}

impl Document {
    /// Reads and checks a document of at most `kind.size_max()` characters.
    ///
    /// # Errors
    ///
    /// [`Malformed`] names the first fault.
    pub fn parse(text: &str, kind: Kind) -> Result<Self, Malformed> {
        Self::parse_within(text, kind, kind.size_max())
    }

    /// As [`parse`](Self::parse) with another limit, for instance that of a user's inline policies (COMP-905).
    ///
    /// # Errors
    ///
    /// [`Malformed`] names the first fault.
    pub fn parse_within(text: &str, kind: Kind, size_max: usize) -> Result<Self, Malformed> {
        let (source, statements) = parse::document(text, kind, size_max)?;
        Ok(Self(Arc::new(Inner { kind, source, statements })))
    }

    /// What it was parsed as.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The ARNs of IAM users and roles that it names as principals, each once, sorted.
    pub fn principal_arns(&self) -> Vec<&str> {
        let mut arns: Vec<&str> = self.entries().filter_map(Entry::identity_arn).collect();
        arns.sort_unstable();
        arns.dedup();
        arns
    }

    /// The unique ids (`AIDA…`, `AROA…`) that it names as principals, each once, sorted.
    pub fn principal_ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self.entries().filter_map(Entry::id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The document with every user and role ARN bound to the unique id that it has now, so that one made later under
    /// the same name is not meant (POL-15). An ARN for which `id_of` has no id matches nobody from then on.
    pub fn bind<I: Into<Box<str>>>(&self, id_of: impl Fn(&str) -> Option<I>) -> Self {
        let statements = self.0.statements.iter().map(|statement| statement.bound(&id_of)).collect();
        Self(Arc::new(Inner { kind: self.0.kind, source: self.0.source.clone(), statements }))
    }

    /// The document as JSON, for reading back. A bound principal is shown by the ARN that its id has now, or by the
    /// bare id if `arn_of` knows none (POL-15); everything else as it was written, without white space.
    pub fn render<A: Into<String>>(&self, arn_of: impl Fn(&str) -> Option<A>) -> String {
        let shown: BTreeMap<&str, String> = self.entries().filter_map(|entry| entry.shown(&arn_of)).collect();
        let mut source = self.0.source.clone();
        each_statement(&mut source, |statement| {
            for element in ["Principal", "NotPrincipal"] {
                each_text(statement, &[element, "AWS"], &|text| {
                    if let Some(shown) = shown.get(text.as_str()) {
                        text.clone_from(shown);
                    }
                });
            }
        });
        serde_json::to_string(&source).unwrap_or_default()
    }

    pub(crate) fn statements(&self) -> &[Statement] {
        &self.0.statements
    }

    /// The written form of a statement.
    pub(crate) fn source(&self, index: usize) -> Option<&Value> {
        match self.0.source.get("Statement")? {
            Value::List(statements) => statements.get(index),
            one => Some(one),
        }
    }

    pub(crate) fn verdict(&self, view: &View<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        for statement in self.statements() {
            if let Some(grip) = statement.matches(view, self.0.kind) {
                match statement.effect {
                    Effect::Deny => return Verdict { denies: true, allows: None },
                    Effect::Allow => verdict.allows = verdict.allows.max(Some(grip)),
                }
            }
        }
        verdict
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.statements.iter().filter_map(|s| s.principals.as_ref()).flat_map(|p| &p.entries)
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("kind", &self.0.kind).field("source", &self.0.source).finish()
    }
}

impl Statement {
    /// How firmly the statement names the caller, if it applies to the request. The cheap tests come first.
    pub(crate) fn matches(&self, view: &View<'_>, kind: Kind) -> Option<Grip> {
        if !self.actions.matches(view.action) {
            return None;
        }
        let grip = self.grip(view.principal, kind)?;
        let applies = self.resources.as_ref().is_none_or(|resources| resources.matches(view))
            && self.conditions.iter().all(|condition| condition.holds(view.context));
        applies.then_some(grip)
    }

    /// `*` grants to known callers only (POL-11) but refuses everybody; an endpoint lets through whom it is told to,
    /// also callers who are not yet anybody, as in `AssumeRoleWithWebIdentity`.
    pub(crate) fn grip(&self, caller: &Principal, kind: Kind) -> Option<Grip> {
        match &self.principals {
            None => Some(Grip::Own),
            Some(principals) => principals.grip(caller, self.effect == Effect::Deny || kind == Kind::Endpoint),
        }
    }

    fn bound<I: Into<Box<str>>>(&self, id_of: &impl Fn(&str) -> Option<I>) -> Self {
        let mut statement = self.clone();
        for entry in statement.principals.iter_mut().flat_map(|principals| principals.entries.iter_mut()) {
            if let Entry::Identity { arn, bound } = entry {
                *bound = id_of(arn).map_or(Bound::Nobody, |id| Bound::To(id.into()));
            }
        }
        statement
    }
}

impl Actions {
    pub(crate) fn matches(&self, action: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(action)) != self.negated
    }
}

impl ActionPattern {
    pub(crate) fn new(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "*" => Self::Any,
            _ if lower.contains(['*', '?']) => Self::Wild(Pattern::new(&lower)),
            _ => Self::Exact(lower.into()),
        }
    }

    fn matches(&self, action: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *action,
            Self::Wild(pattern) => pattern.matches(action),
        }
    }
}

impl Resources {
    pub(crate) fn matches(&self, view: &View<'_>) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(view.resource, view.context)) != self.negated
    }
}

impl Entry {
    fn identity_arn(&self) -> Option<&str> {
        match self {
            Self::Identity { arn, .. } => Some(arn),
            _ => None,
        }
    }

    fn id(&self) -> Option<&str> {
        match self {
            Self::Id(id) => Some(id),
            _ => None,
        }
    }

    /// What is written for it, and what to show instead.
    fn shown<A: Into<String>>(&self, arn_of: &impl Fn(&str) -> Option<A>) -> Option<(&str, String)> {
        let (written, id) = match self {
            Self::Identity { arn, bound: Bound::To(id) } => (arn, id),
            Self::Id(id) => (id, id),
            _ => return None,
        };
        Some((written, arn_of(id).map_or_else(|| id.to_string(), Into::into)))
    }
}

fn each_statement(document: &mut Value, mut edit: impl FnMut(&mut Value)) {
    let Value::Object(members) = document else { return };
    match members.iter_mut().find(|(name, _)| name == "Statement") {
        Some((_, Value::List(statements))) => statements.iter_mut().for_each(edit),
        Some((_, statement)) => edit(statement),
        None => {}
    }
}

/// Edits the string, or the list of strings, at a path of names.
fn each_text(value: &mut Value, path: &[&str], edit: &impl Fn(&mut String)) {
    match (value, path) {
        (Value::Object(members), [name, rest @ ..]) => {
            members.iter_mut().filter(|(key, _)| key == name).for_each(|(_, value)| each_text(value, rest, edit));
        }
        (Value::List(items), []) => items.iter_mut().for_each(|item| each_text(item, &[], edit)),
        (Value::Text(text), []) => edit(text),
        _ => {}
    }
}
