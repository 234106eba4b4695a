//! Texts of a policy that may hold variables: `${aws:username}`, `${aws:PrincipalTag/team, 'none'}`, `${*}`.
//!
//! What comes from a variable is literal: a `*` in a user's tag is a star, not a wildcard. A text whose variable has no
//! value fits nothing. Source: IAM user guide, "IAM policy elements: Variables and tags" (IAM-46).

use std::borrow::Cow;

use crate::{
    context::{Context, Key},
    pattern::{Pattern, Unit},
};

/// Colon-separated fields of an ARN; the last may hold colons itself.
const ARN_FIELDS: usize = 6;

/// A text cut into what is fixed and what is to be filled in.
#[derive(Clone, Debug)]
pub(crate) struct Template(Box<[Part]>);

#[derive(Clone, Debug)]
enum Part {
    /// As written; `*` and `?` count where wildcards do.
    Raw(Box<str>),
    /// `${*}`, `${?}`, `${$}`: always this character.
    Escaped(char),
    Variable {
        key: Key,
        default: Option<Box<str>>,
    },
}

impl Template {
    /// Cuts a text. Without `variables` (policy version 2008-10-17) `${…}` is as literal as anything else.
    /// An error if a variable is not well-formed.
    pub(crate) fn parse(text: &str, variables: bool) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("${").filter(|_| variables) {
            let (raw, variable) = rest.split_at(at);
            if !raw.is_empty() {
                parts.push(Part::Raw(raw.into()));
            }
            let (part, after) = Part::parse(&variable[2..]).ok_or_else(|| format!("bad variable in `{text}`"))?;
            parts.push(part);
            rest = after;
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(Part::Raw(rest.into()));
        }
        Ok(Self(parts.into()))
    }

    /// The keys of its variables.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().filter_map(|part| match part {
            Part::Variable { key, default: None } => Some(key),
            _ => None,
        })
    }

    fn is_open(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Variable { .. }))
    }

    /// The text with everything filled in, wildcards being literal; `None` if a variable has no value or the text
    /// would be longer than `length_max` bytes.
    fn fill(&self, context: &Context, length_max: usize) -> Option<Cow<'_, str>> {
        if let [Part::Raw(only)] = &*self.0 {
            return Some(Cow::Borrowed(only));
        }
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Raw(raw) => text.push_str(raw),
                Part::Escaped(c) => text.push(*c),
                Part::Variable { key, default } => text.push_str(value_of(key, default, context)?),
            }
            if text.len() > length_max {
                return None;
            }
        }
        Some(Cow::Owned(text))
    }

    /// The text as units of a pattern; `None` if a variable has no value or no text of `length_max` bytes can fit.
    fn units(&self, context: &Context, length_max: usize) -> Option<Vec<Unit>> {
        let mut units = Vec::new();
        let mut length = 0_usize;
        for part in &self.0 {
            match part {
                Part::Raw(raw) => {
                    length += raw.chars().filter(|c| *c != '*').count();
                    units.extend(raw.chars().map(Unit::of));
                }
                Part::Escaped(c) => {
                    length += 1;
                    units.push(Unit::Char(*c));
                }
                Part::Variable { key, default } => {
                    let value = value_of(key, default, context)?;
                    length += value.chars().count();
                    if length <= length_max {
                        units.extend(value.chars().map(Unit::Char));
                    }
                }
            }
            if length > length_max {
                return None;
            }
        }
        Some(units)
    }
}

impl Part {
    /// What follows `${`, and the rest of the text.
    fn parse(text: &str) -> Option<(Self, &str)> {
        for special in ['*', '?', '$'] {
            if let Some(rest) = text.strip_prefix(special).and_then(|rest| rest.strip_prefix('}')) {
                return Some((Self::Escaped(special), rest));
            }
        }
        let end = text.find([',', '}', '{', '\''])?;
        let key = text[..end].trim();
        let key = Some(key).filter(|key| !key.is_empty()).map(Key::new)?;
        if let Some(rest) = text[end..].strip_prefix('}') {
            return Some((Self::Variable { key, default: None }, rest));
        }
        let quoted = text[end..].strip_prefix(',')?.trim_start().strip_prefix('\'')?;
        let (default, rest) = quoted.split_once('\'')?;
        let rest = rest.trim_start().strip_prefix('}')?;
        Some((Self::Variable { key, default: Some(default.into()) }, rest))
    }
}

fn value_of<'v>(key: &Key, default: &'v Option<Box<str>>, context: &'v Context) -> Option<&'v str> {
    match default {
        Some(default) if context.values(key).is_none() => Some(default),
        _ => context.single(key),
    }
}

/// A text that must be equal; wildcards do not count.
#[derive(Clone, Debug)]
pub(crate) struct Exact(pub(crate) Template);

impl Exact {
    pub(crate) fn matches(&self, value: &str, context: &Context) -> bool {
        self.0.fill(context, value.len()).is_some_and(|text| text == value)
    }

    pub(crate) fn matches_ignoring_case(&self, value: &str, context: &Context) -> bool {
        // Other case may take more bytes, as much as from one to three.
        let length_max = value.len().saturating_mul(4);
        let lower = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<String>();
        let text = self.0.fill(context, length_max);
        text.is_some_and(|text| text.eq_ignore_ascii_case(value) || lower(&text) == lower(value))
    }
}

/// A text with wildcards.
#[derive(Clone, Debug)]
pub(crate) struct Like {
    pub(crate) template: Template,
    /// Compiled ahead if there is no variable.
    ready: Option<Pattern>,
}

impl Like {
    pub(crate) fn new(template: Template) -> Self {
        let ready = (!template.is_open())
            .then(|| template.units(&Context::default(), usize::MAX).map(Pattern::from_units))
            .flatten();
        Self { template, ready }
    }

    pub(crate) fn matches(&self, value: &str, context: &Context) -> bool {
        match &self.ready {
            Some(pattern) => pattern.matches(value),
            None => {
                let units = self.template.units(context, value.len());
                units.is_some_and(|units| Pattern::from_units(units).matches(value))
            }
        }
    }
}

/// An ARN with wildcards that stay within its fields.
#[derive(Clone, Debug)]
pub(crate) struct ArnLike {
    pub(crate) template: Template,
    ready: Option<ArnPattern>,
}

#[derive(Clone, Debug)]
enum ArnPattern {
    /// `*`
    Any,
    Fields(Vec<Pattern>),
}

impl ArnLike {
    /// `None` if a text without variables is neither an ARN nor `*`.
    pub(crate) fn new(template: Template) -> Option<Self> {
        if template.is_open() {
            return Some(Self { template, ready: None });
        }
        let ready = ArnPattern::new(&template.units(&Context::default(), usize::MAX)?)?;
        Some(Self { template, ready: Some(ready) })
    }

    pub(crate) fn matches(&self, value: &str, context: &Context) -> bool {
        match &self.ready {
            Some(pattern) => pattern.matches(value),
            None => {
                let pattern = self.template.units(context, value.len()).and_then(|units| ArnPattern::new(&units));
                pattern.is_some_and(|pattern| pattern.matches(value))
            }
        }
    }
}

impl ArnPattern {
    fn new(units: &[Unit]) -> Option<Self> {
        if *units == [Unit::Many] {
            return Some(Self::Any);
        }
        let fields = units.splitn(ARN_FIELDS, |unit| *unit == Unit::Char(':'));
        let fields: Vec<Pattern> = fields.map(|field| Pattern::from_units(field.iter().copied())).collect();
        (fields.len() == ARN_FIELDS).then_some(Self::Fields(fields))
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Fields(fields) => {
                let mut values = value.splitn(ARN_FIELDS, ':');
                fields.iter().all(|field| values.next().is_some_and(|value| field.matches(value)))
            }
        }
    }
}
