//! How requests are read from forms: the rules of [`crate::shape`], with the texts of the query services.
//!
//! A value of the wrong type ends the reading at once; the constraint faults are collected and told together.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Fault, Form};
use crate::{
    Blob, EpochSeconds, Hidden,
    shape::{Bytes, Concealed, Flag, Int, List, Map, Nested, Text, Time, Word, Words},
};

/// So many faults are told; the others are only counted.
const FAULTS_MAX: usize = 100;
/// A fault quotes at most so many characters of a value.
const QUOTED_CHARS_MAX: usize = 1_024;

/// Reads a whole request.
pub(crate) fn read<S: Structure>(form: &Form) -> Result<S, Fault> {
    let checks = Checks::default();
    let read = S::fill(&Members { prefix: "", form, checks: &checks })?;
    let Found { count, texts } = checks.found.into_inner();
    match count {
        0 => Ok(read),
        1 => Err(Fault::Validation(format!("1 validation error detected: {texts}"))),
        _ => Err(Fault::Validation(format!("{count} validation errors detected: {texts}"))),
    }
}

/// The constraint faults so far.
#[derive(Default)]
pub(crate) struct Checks {
    found: RefCell<Found>,
}

#[derive(Default)]
struct Found {
    count: usize,
    texts: String,
}

/// A name in the form, and what stands there.
pub(crate) struct Place<'a> {
    name: String,
    form: &'a Form,
    checks: &'a Checks,
}

impl<'a> Place<'a> {
    fn value(&self) -> Option<&'a str> {
        self.form.get(&self.name)
    }

    fn then(&self, step: impl Display) -> Place<'a> {
        Place { name: format!("{}.{step}", self.name), form: self.form, checks: self.checks }
    }

    fn is_empty(&self) -> bool {
        self.form.below(&format!("{}.", self.name)).next().is_none()
    }

    fn wrong_type(&self, wanted: &str) -> Fault {
        Fault::Malformed(format!("'{}' must be {wanted}", self.shown()))
    }

    /// `Tags.member.1.Key` is `tags.1.member.key` in faults.
    fn shown(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        for part in self.name.split('.').filter(|part| *part != "member" && *part != "entry") {
            parts.push(match part.split_at_checked(1) {
                Some((first, _)) if first.starts_with(|c: char| c.is_ascii_digit()) => format!("{part}.member"),
                Some((first, rest)) => first.to_ascii_lowercase() + rest,
                None => String::new(),
            });
        }
        parts.join(".")
    }

    /// Notes that a value, `None` if it is absent, is not as it must be.
    fn fail(&self, value: Option<&str>, must: impl Display) {
        let mut found = self.checks.found.borrow_mut();
        found.count += 1;
        if found.count > FAULTS_MAX {
            return;
        }
        if found.count > 1 {
            found.texts += "; ";
        }
        let value = value.map_or_else(|| "null".into(), |value| format!("'{}'", shortened(value)));
        found.texts += &format!("Value {value} at '{}' failed to satisfy constraint: Member must {must}", self.shown());
    }

    fn check(&self, of: i64, bounds: (Option<i64>, Option<i64>), what: &str, value: &str) {
        if let Some(min) = bounds.0.filter(|min| of < *min) {
            self.fail(Some(value), format_args!("have {what} greater than or equal to {min}"));
        }
        if let Some(max) = bounds.1.filter(|max| of > *max) {
            self.fail(Some(value), format_args!("have {what} less than or equal to {max}"));
        }
    }
}

fn shortened(value: &str) -> String {
    match value.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value.into(),
    }
}

/// How one shape of the model is read and checked.
pub(crate) trait Rule {
    type Value: Default;

    /// Nothing if nothing stands there.
    fn read(&self, at: &Place<'_>) -> Result<Option<Self::Value>, Fault>;

    /// What a fault may quote of a value.
    fn quote<'a>(&self, at: &Place<'a>) -> &'a str {
        at.value().unwrap_or("...")
    }
}

impl<R: Rule> Rule for &R {
    type Value = R::Value;

    fn read(&self, at: &Place<'_>) -> Result<Option<R::Value>, Fault> {
        (**self).read(at)
    }

    fn quote<'a>(&self, at: &Place<'a>) -> &'a str {
        (**self).quote(at)
    }
}

/// Checks a text, of which faults quote only what is given.
fn check_text(rule: &Text, text: &str, quote: &str, at: &Place<'_>) {
    if rule.min.is_some() || rule.max.is_some() {
        at.check(length(text.chars().count()), (rule.min, rule.max), "length", quote);
    }
    if let Some(pattern) = rule.missed(text) {
        at.fail(Some(quote), format_args!("satisfy regular expression pattern: {}", pattern.text));
    }
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Rule for Text {
    type Value = String;

    fn read(&self, at: &Place<'_>) -> Result<Option<String>, Fault> {
        let text = at.value();
        text.inspect(|text| check_text(self, text, text, at));
        Ok(text.map(str::to_owned))
    }
}

impl Rule for Concealed {
    type Value = Hidden;

    fn read(&self, at: &Place<'_>) -> Result<Option<Hidden>, Fault> {
        let text = at.value();
        text.inspect(|text| check_text(&self.0, text, "***", at));
        Ok(text.map(|text| Hidden(text.into())))
    }

    fn quote<'a>(&self, _: &Place<'a>) -> &'a str {
        "***"
    }
}

impl<W: Words> Rule for Word<W> {
    type Value = W;

    fn read(&self, at: &Place<'_>) -> Result<Option<W>, Fault> {
        let Some(text) = at.value() else { return Ok(None) };
        let word = W::parse_word(text);
        if word.is_none() {
            at.fail(Some(text), format_args!("satisfy enum value set: [{}]", W::SET.join(", ")));
        }
        Ok(Some(word.unwrap_or_default()))
    }
}

impl Rule for Int {
    type Value = i64;

    fn read(&self, at: &Place<'_>) -> Result<Option<i64>, Fault> {
        let Some(text) = at.value() else { return Ok(None) };
        let number = text.parse().map_err(|_| at.wrong_type("a whole number"))?;
        at.check(number, (self.min, self.max), "value", text);
        Ok(Some(number))
    }
}

impl Rule for Bytes {
    type Value = Blob;

    fn read(&self, at: &Place<'_>) -> Result<Option<Blob>, Fault> {
        let Some(text) = at.value() else { return Ok(None) };
        let bytes = STANDARD.decode(text).map_err(|_| at.wrong_type("base64"))?;
        at.check(length(bytes.len()), (self.min, self.max), "length", self.quote(at));
        Ok(Some(Blob(bytes)))
    }

    fn quote<'a>(&self, _: &Place<'a>) -> &'a str {
        "..."
    }
}

impl Rule for Time {
    type Value = EpochSeconds;

    fn read(&self, at: &Place<'_>) -> Result<Option<EpochSeconds>, Fault> {
        let time = |text| EpochSeconds::from_iso(text).ok_or_else(|| at.wrong_type("a time of ISO 8601"));
        at.value().map(time).transpose()
    }
}

impl Rule for Flag {
    type Value = bool;

    fn read(&self, at: &Place<'_>) -> Result<Option<bool>, Fault> {
        match at.value() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(at.wrong_type("true or false")),
        }
    }
}

impl<R: Rule> Rule for List<R> {
    type Value = Vec<R::Value>;

    fn read(&self, at: &Place<'_>) -> Result<Option<Self::Value>, Fault> {
        let items = items(at, "member")?;
        // An empty list is the bare name with an empty value.
        match at.value() {
            None if items.is_empty() => return Ok(None),
            Some(text) if !text.is_empty() => return Err(at.wrong_type("a list")),
            _ => {}
        }
        self.check_count(&items, at);
        let value = |item: &Place<'_>| self.item.read(item)?.ok_or_else(|| item.wrong_type("an item of the list"));
        items.iter().map(value).collect::<Result<_, _>>().map(Some)
    }
}

impl<R: Rule> List<R> {
    fn check_count(&self, items: &[Place<'_>], at: &Place<'_>) {
        let count = length(items.len());
        if self.min.is_some_and(|min| count < min) || self.max.is_some_and(|max| count > max) {
            let quotes: Vec<&str> = items.iter().take(FAULTS_MAX).map(|item| self.item.quote(item)).collect();
            at.check(count, (self.min, self.max), "length", &format!("[{}]", quotes.join(", ")));
        }
    }
}

impl<K: Rule<Value: Ord>, V: Rule> Rule for Map<K, V> {
    type Value = BTreeMap<K::Value, V::Value>;

    fn read(&self, at: &Place<'_>) -> Result<Option<Self::Value>, Fault> {
        let entries = items(at, "entry")?;
        let mut map = BTreeMap::new();
        for entry in &entries {
            let part = |place: Place<'_>| place.wrong_type("part of an entry");
            let (key, value) = (entry.then("key"), entry.then("value"));
            let read = (self.key.read(&key)?.ok_or_else(|| part(key))?, self.value.read(&value)?);
            map.insert(read.0, read.1.ok_or_else(|| part(value))?);
        }
        if map.len() < entries.len() {
            return Err(at.wrong_type("a map whose keys come once"));
        }
        at.check(length(map.len()), (self.min, self.max), "length", "{...}");
        Ok(if map.is_empty() { None } else { Some(map) })
    }
}

/// The items of a list in the order of their numbers, whatever those are: `Name.member.N` (a map has another word), or
/// `Name.N`. A name that is neither, and the two mixed, is a fault: no item may be dropped unseen.
fn items<'a>(at: &Place<'a>, word: &str) -> Result<Vec<Place<'a>>, Fault> {
    let (bare, full) = (format!("{}.", at.name), format!("{}.{word}.", at.name));
    let is_full = at.form.below(&full).next().is_some();
    let mut numbers = BTreeSet::new();
    for rest in at.form.below(&bare) {
        let rest = if is_full { rest.strip_prefix(word).and_then(|rest| rest.strip_prefix('.')) } else { Some(rest) };
        let number = rest.and_then(|rest| number(rest.split('.').next().unwrap_or_default()));
        numbers.insert(number.ok_or_else(|| at.wrong_type("a list whose items are numbered"))?);
    }
    let place = |number: u64| if is_full { at.then(format_args!("{word}.{number}")) } else { at.then(number) };
    Ok(numbers.into_iter().map(place).collect())
}

/// One spelling for each number, so that no item comes twice.
fn number(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| canonical)
}

/// A generated structure.
pub(crate) trait Structure: Sized + Default {
    fn fill(members: &Members<'_>) -> Result<Self, Fault>;
}

impl<S: Structure> Rule for Nested<S> {
    type Value = S;

    fn read(&self, at: &Place<'_>) -> Result<Option<S>, Fault> {
        if at.is_empty() {
            return Ok(None);
        }
        let prefix = format!("{}.", at.name);
        S::fill(&Members { prefix: &prefix, form: at.form, checks: at.checks }).map(Some)
    }
}

/// The members of a structure.
pub(crate) struct Members<'a> {
    prefix: &'a str,
    form: &'a Form,
    checks: &'a Checks,
}

impl Members<'_> {
    /// The member of this name, or nothing.
    pub(crate) fn optional<R: Rule>(&self, name: &str, rule: R) -> Result<Option<R::Value>, Fault> {
        rule.read(&self.place(name))
    }

    /// The member of this name; if it is absent, a fault is noted and a default stands in.
    pub(crate) fn required<R: Rule>(&self, name: &str, rule: R) -> Result<R::Value, Fault> {
        let place = self.place(name);
        let found = rule.read(&place)?;
        if found.is_none() {
            place.fail(None, "not be null");
        }
        Ok(found.unwrap_or_default())
    }

    fn place(&self, name: &str) -> Place<'_> {
        Place { name: format!("{}{name}", self.prefix), form: self.form, checks: self.checks }
    }
}
