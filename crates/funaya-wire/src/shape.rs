//! How generated shapes are read: rules that turn JSON into values and check the model's constraints.
//!
//! A form error (bad JSON, wrong type) ends the reading at once; of the constraint faults the first in the model's
//! order wins, and only if the form was right throughout, as at AWS. A member stays a borrowed slice of the input
//! until its rule reads it, so a large blob is decoded straight from the body. Unknown members are skipped.

use std::{cell::RefCell, fmt, marker::PhantomData, sync::OnceLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{Blob, Hidden};

/// Texts longer than this match no pattern: it spares the matcher, and no name or id comes near. Only where the model
/// sets a greater length (IAM's policies), texts of that length are matched.
const PATTERN_BYTES_MAX: usize = 65_536;

/// Why a request could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not JSON, or a value of the wrong type.
    #[error("{0}")]
    Serialization(String),
    /// A value outside its constraint, or a required one that is absent.
    #[error("Invalid parameter at '{member}' failed to satisfy constraint: '{reason}'")]
    Constraint {
        /// Where: `repositoryName`, `imageIds.1.member.imageTag` (items count from 1).
        member: String,
        /// What was asked of it: `must have length greater than or equal to 2`.
        reason: String,
    },
}

/// Reads a whole request.
pub(crate) fn read<S: Structure>(body: &[u8]) -> Result<S, Fault> {
    let json: &RawValue = serde_json::from_slice(body).map_err(|e| Fault::Serialization(e.to_string()))?;
    let checks = Checks::default();
    let read = S::read(json, Path { parent: None, step: Step::Root }, &checks)?;
    match checks.first.into_inner() {
        Some(fault) => Err(fault),
        None => Ok(read),
    }
}

/// The first constraint fault, if any.
#[derive(Default)]
pub(crate) struct Checks {
    first: RefCell<Option<Fault>>,
}

impl Checks {
    fn fail(&self, at: Path<'_>, reason: impl FnOnce() -> String) {
        let mut first = self.first.borrow_mut();
        if first.is_none() {
            *first = Some(Fault::Constraint { member: at.to_string(), reason: reason() });
        }
    }
}

/// Where in the request a value stands; made into text only for a fault.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step,
}

#[derive(Clone, Copy)]
enum Step {
    Root,
    Member(&'static str),
    Item(usize),
}

impl Path<'_> {
    fn then(&self, step: Step) -> Path<'_> {
        Path { parent: Some(self), step }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent.filter(|parent| !matches!(parent.step, Step::Root)) {
            write!(f, "{parent}.")?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Member(name) => f.write_str(name),
            Step::Item(number) => write!(f, "{number}.member"),
        }
    }
}

/// How one shape of the model is read and checked.
pub(crate) trait Rule {
    type Value: Default;

    fn read(&self, json: &RawValue, at: Path<'_>, checks: &Checks) -> Result<Self::Value, Fault>;
}

impl<R: Rule> Rule for &R {
    type Value = R::Value;

    fn read(&self, json: &RawValue, at: Path<'_>, checks: &Checks) -> Result<R::Value, Fault> {
        (**self).read(json, at, checks)
    }
}

/// A JSON value as a Rust one, or a form error that names the place and never the value.
fn value<'a, T: Deserialize<'a>>(json: &'a RawValue, at: Path<'_>, wanted: &str) -> Result<T, Fault> {
    serde_json::from_str(json.get()).map_err(|_| wrong_type(at, wanted))
}

fn wrong_type(at: Path<'_>, wanted: &str) -> Fault {
    match at.step {
        Step::Root => Fault::Serialization(format!("the request must be {wanted}")),
        _ => Fault::Serialization(format!("'{at}' must be {wanted}")),
    }
}

/// A pattern of the model, which a text must match as a whole.
pub(crate) struct Pattern {
    pub(crate) text: &'static str,
    how: Matcher,
}

enum Matcher {
    Regex(&'static str, OnceLock<Option<regex_lite::Regex>>),
    /// Characters of tags only; the small matcher knows no classes of Unicode.
    Tag,
}

impl Pattern {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self::like(text, text)
    }

    /// A pattern that the matcher needs in other words.
    pub(crate) const fn like(text: &'static str, regex: &'static str) -> Self {
        Self { text, how: Matcher::Regex(regex, OnceLock::new()) }
    }

    /// `[\p{L}\p{Z}\p{N}_.:/=+\-@]`, any number of them or at least one.
    pub(crate) const fn tag(text: &'static str) -> Self {
        Self { text, how: Matcher::Tag }
    }

    /// A pattern that does not compile matches nothing; a test compiles all.
    pub(crate) fn matches(&self, text: &str) -> bool {
        match &self.how {
            Matcher::Regex(regex, compiled) => compile(regex, compiled).is_some_and(|regex| regex.is_match(text)),
            Matcher::Tag => text.chars().all(of_tag) && (!text.is_empty() || self.text.contains('*')),
        }
    }

    #[cfg(test)]
    fn compiles(&self) -> bool {
        match &self.how {
            Matcher::Regex(regex, compiled) => compile(regex, compiled).is_some(),
            Matcher::Tag => true,
        }
    }
}

fn compile<'a>(regex: &str, compiled: &'a OnceLock<Option<regex_lite::Regex>>) -> Option<&'a regex_lite::Regex> {
    compiled.get_or_init(|| regex_lite::Regex::new(&format!("^(?:{regex})$")).ok()).as_ref()
}

/// Letters, separators, numbers of Unicode, and some signs. Beyond `\p{L}` vowel signs count as letters, too: a word
/// of Hindi or Thai is a tag.
fn of_tag(c: char) -> bool {
    c.is_alphanumeric() || (c.is_whitespace() && !c.is_control()) || "_.:/=+-@".contains(c)
}

/// A string: its length in characters, and its pattern.
pub(crate) struct Text {
    pub(crate) min: Option<i64>,
    pub(crate) max: Option<i64>,
    pub(crate) pattern: Option<Pattern>,
}

impl Text {
    pub(crate) const ANY: Self = Self { min: None, max: None, pattern: None };

    /// The pattern, if the text does not match it.
    pub(crate) fn missed(&self, text: &str) -> Option<&Pattern> {
        // A character has at most four bytes.
        let most = self.max.and_then(|max| usize::try_from(max).ok()).map_or(0, |max| max.saturating_mul(4));
        let fits = text.len() <= most.max(PATTERN_BYTES_MAX);
        self.pattern.as_ref().filter(|pattern| !fits || !pattern.matches(text))
    }
}

impl Rule for Text {
    type Value = String;

    fn read(&self, json: &RawValue, at: Path<'_>, checks: &Checks) -> Result<String, Fault> {
        let text: String = value(json, at, "a string")?;
        if self.min.is_some() || self.max.is_some() {
            check_length(text.chars().count(), self.min, self.max, at, checks);
        }
        if let Some(pattern) = self.missed(&text) {
            checks.fail(at, || format!("must satisfy regular expression '{}'", pattern.text));
        }
        Ok(text)
    }
}

/// Text that must not leak.
pub(crate) struct Concealed(pub(crate) Text);

impl Rule for Concealed {
    type Value = Hidden;

    fn read(&self, json: &RawValue, at: Path<'_>, checks: &Checks) -> Result<Hidden, Fault> {
        self.0.read(json, at, checks).map(Hidden)
    }
}

fn check_length(length: usize, min: Option<i64>, max: Option<i64>, at: Path<'_>, checks: &Checks) {
    check_bounds(i64::try_from(length).unwrap_or(i64::MAX), min, max, "length", at, checks);
}

fn check_bounds(of: i64, min: Option<i64>, max: Option<i64>, what: &str, at: Path<'_>, checks: &Checks) {
    if let Some(min) = min.filter(|min| of < *min) {
        checks.fail(at, || format!("must have {what} greater than or equal to {min}"));
    }
    if let Some(max) = max.filter(|max| of > *max) {
        checks.fail(at, || format!("must have {what} less than or equal to {max}"));
    }
}

/// An `integer` or `long`.
pub(crate) struct Int {
    pub(crate) min: Option<i64>,
    pub(crate) max: Option<i64>,
}

impl Rule for Int {
    type Value = i64;

    fn read(&self, json: &RawValue, at: Path<'_>, checks: &Checks) -> Result<i64, Fault> {
        let number = value(json, at, "a whole number")?;
        check_bounds(number, self.min, self.max, "value", at, checks);
        Ok(number)
    }
}

/// A boolean.
pub(crate) struct Flag;

impl Rule for Flag {
    type Value = bool;

    fn read(&self, json: &RawValue, at: Path<'_>, _: &Checks) -> Result<bool, Fault> {
        value(json, at, "true or false")
    }
}

/// Base64 of so many bytes.
pub(crate) struct Bytes {
    pub(crate) min: Option<i64>,
    pub(crate) max: Option<i64>,
}

impl Rule for Bytes {
    type Value = Blob;

    fn read(&self, json: &RawValue, at: Path<'_>, checks: &Checks) -> Result<Blob, Fault> {
        let mut reader = serde_json::Deserializer::from_str(json.get());
        let bytes = reader.deserialize_str(Base64).map_err(|_| wrong_type(at, "a base64 string"))?;
        check_length(bytes.len(), self.min, self.max, at, checks);
        Ok(Blob(bytes))
    }
}

/// Decodes from the body itself; only a string with escapes passes through serde's buffer.
struct Base64;

impl Visitor<'_> for Base64 {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("base64")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
        STANDARD.decode(text).map_err(E::custom)
    }
}

/// One word of a fixed set.
pub(crate) struct Word<W>(PhantomData<fn() -> W>);

/// A generated enum.
pub(crate) trait Words: Sized + Default {
    const SET: &'static [&'static str];

    fn parse_word(text: &str) -> Option<Self>;

    fn word(&self) -> &'static str;
}

impl<W> Word<W> {
    pub(crate) const RULE: Self = Self(PhantomData);
}

impl<W: Words> Rule for Word<W> {
    type Value = W;

    fn read(&self, json: &RawValue, at: Path<'_>, checks: &Checks) -> Result<W, Fault> {
        let text: String = value(json, at, "a string")?;
        let word = W::parse_word(&text);
        if word.is_none() {
            checks.fail(at, || format!("must satisfy enum value set: [{}]", W::SET.join(", ")));
        }
        Ok(word.unwrap_or_default())
    }
}

/// A list of so many items.
pub(crate) struct List<R> {
    pub(crate) min: Option<i64>,
    pub(crate) max: Option<i64>,
    pub(crate) item: R,
}

impl<R: Rule> Rule for List<R> {
    type Value = Vec<R::Value>;

    fn read(&self, json: &RawValue, at: Path<'_>, checks: &Checks) -> Result<Vec<R::Value>, Fault> {
        let keep = self.max.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
        let mut reader = serde_json::Deserializer::from_str(json.get());
        let (items, length) = reader.deserialize_seq(Items { keep }).map_err(|_| wrong_type(at, "a list"))?;
        check_length(length, self.min, self.max, at, checks);
        let mut read = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            let at = at.then(Step::Item(index + 1));
            if is_null(item) {
                checks.fail(at, || "must not be null".into());
            } else {
                read.push(self.item.read(item, at, checks)?);
            }
        }
        Ok(read)
    }
}

fn is_null(json: &RawValue) -> bool {
    json.get() == "null"
}

/// The first items as slices of the input, and how many there are: a list of millions costs no memory.
struct Items {
    keep: usize,
}

impl<'a> Visitor<'a> for Items {
    type Value = (Vec<&'a RawValue>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let (mut items, mut length) = (Vec::new(), 0);
        while match length < self.keep {
            true => list.next_element()?.map(|item| items.push(item)).is_some(),
            false => list.next_element::<IgnoredAny>()?.is_some(),
        } {
            length += 1;
        }
        Ok((items, length))
    }
}

/// A map of so many entries; in forms only.
#[cfg_attr(not(test), expect(dead_code, reason = "no request that is built has one"))]
pub(crate) struct Map<K, V> {
    pub(crate) min: Option<i64>,
    pub(crate) max: Option<i64>,
    pub(crate) key: K,
    pub(crate) value: V,
}

/// A point in time; in forms only.
#[cfg_attr(not(test), expect(dead_code, reason = "no request that is built has one"))]
pub(crate) struct Time;

/// A generated structure.
pub(crate) trait Structure: Sized + Default {
    const MEMBERS: &'static [&'static str];

    fn fill(members: Members<'_>) -> Result<Self, Fault>;

    fn read(json: &RawValue, at: Path<'_>, checks: &Checks) -> Result<Self, Fault> {
        let mut reader = serde_json::Deserializer::from_str(json.get());
        let values = Fields(Self::MEMBERS).deserialize(&mut reader).map_err(|_| wrong_type(at, "an object"))?;
        Self::fill(Members { names: Self::MEMBERS, values, at, checks })
    }
}

/// A structure inside another.
pub(crate) struct Nested<S>(PhantomData<fn() -> S>);

impl<S> Nested<S> {
    pub(crate) const RULE: Self = Self(PhantomData);
}

impl<S: Structure> Rule for Nested<S> {
    type Value = S;

    fn read(&self, json: &RawValue, at: Path<'_>, checks: &Checks) -> Result<S, Fault> {
        S::read(json, at, checks)
    }
}

/// The known members of an object, in the model's order.
pub(crate) struct Members<'a> {
    names: &'static [&'static str],
    values: Vec<Option<&'a RawValue>>,
    at: Path<'a>,
    checks: &'a Checks,
}

impl Members<'_> {
    /// The member of this number, or nothing.
    pub(crate) fn optional<R: Rule>(&self, index: usize, rule: R) -> Result<Option<R::Value>, Fault> {
        let at = self.at.then(Step::Member(self.names[index]));
        self.values[index].map(|json| rule.read(json, at, self.checks)).transpose()
    }

    /// The member of this number; if it is absent, a fault is noted and a default stands in.
    pub(crate) fn required<R: Rule>(&self, index: usize, rule: R) -> Result<R::Value, Fault> {
        let found = self.optional(index, rule)?;
        if found.is_none() {
            self.checks.fail(self.at.then(Step::Member(self.names[index])), || "must not be null".into());
        }
        Ok(found.unwrap_or_default())
    }
}

/// Collects members by name; `null` is the same as absent, of doubles the last counts.
struct Fields(&'static [&'static str]);

impl<'a> DeserializeSeed<'a> for Fields {
    type Value = Vec<Option<&'a RawValue>>;

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Fields {
    type Value = Vec<Option<&'a RawValue>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut values: Self::Value = vec![None; self.0.len()];
        while let Some(name) = object.next_key::<String>()? {
            match self.0.iter().position(|known| **known == *name) {
                Some(index) => values[index] = Some(object.next_value::<&RawValue>()?).filter(|json| !is_null(json)),
                None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(values)
    }
}

/// Makes an enum of words: parsing, printing and the list of all.
macro_rules! words {
    ($name:ident { $($variant:ident = $text:literal,)+ }) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            #[default]
            $($variant,)+
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word as it stands on the wire.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// The value of a word.
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl crate::shape::Words for $name {
            const SET: &'static [&'static str] = &[$($text,)+];

            fn parse_word(text: &str) -> Option<Self> {
                Self::parse(text)
            }

            fn word(&self) -> &'static str {
                self.as_str()
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::Pattern;
    use crate::{ecr, iam, organizations, sts};

    #[test]
    fn all_patterns_compile() {
        let all = [ecr::PATTERNED, iam::PATTERNED, organizations::PATTERNED, sts::PATTERNED].concat();
        for pattern in all.iter().filter_map(|text| text.pattern.as_ref()) {
            assert!(pattern.compiles(), "{}", pattern.text);
        }
    }

    #[test]
    fn tags() {
        let (key, value) = (Pattern::tag(r"[\p{L}]+"), Pattern::tag(r"^([\p{L}]*)$"));
        for good in ["a", "Zürich 東京_.:/=+-@", "\u{a0}\u{3000}", "٣½Ⅷ"] {
            assert!(key.matches(good) && value.matches(good), "{good}");
        }
        for bad in ["a\tb", "a\n", "a#", "a,b", "😀", "*", "\u{85}"] {
            assert!(!key.matches(bad) && !value.matches(bad), "{bad}");
        }
        assert!(!key.matches("") && value.matches(""));
    }

    /// The spelling without a look-ahead is the same as the model's.
    #[test]
    fn account_aliases() {
        let alias = iam::PATTERNED.iter().filter_map(|text| text.pattern.as_ref()).find(|p| p.text.contains("?!"));
        let alias = alias.expect("the pattern of aliases");
        let long = "x".repeat(63);
        for good in ["abc", "a-b", "a-b-c", "123", "ab-c", "a-bc", &long] {
            assert!(alias.matches(good), "{good}");
        }
        for bad in ["", "a", "ab", "-ab", "ab-", "a--b", "aBc", "a_b", "a-b\n", &format!("{long}{long}")] {
            assert!(!alias.matches(bad), "{bad}");
        }
    }
}
