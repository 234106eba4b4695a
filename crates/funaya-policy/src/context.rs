//! Condition keys of a request and their values.

use std::fmt;

/// The condition keys that one request has, each with one value or several.
///
/// Names are compared without regard to ASCII case, also the part after `/` of `aws:ResourceTag/<key>`. All text lies
/// in one buffer, so that filling a context takes a handful of allocations however many keys it has. A key with an
/// empty list counts as absent.
///
/// Source: IAM user guide, "IAM JSON policy elements: Condition" (IAM-50, IAM-51).
#[derive(Clone, Default)]
pub struct Context {
    text: String,
    spans: Vec<Span>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    key: Span,
    /// Into `spans`.
    values: Span,
    several: bool,
}

impl Context {
    /// Without keys, but with room for the usual ones.
    pub fn new() -> Self {
        Self { text: String::with_capacity(1_024), spans: Vec::with_capacity(32), entries: Vec::with_capacity(32) }
    }

    /// Gives a key one value, in place of what it had.
    pub fn set(&mut self, key: &str, value: &str) {
        self.put(&[key], &[value], false);
    }

    /// Gives `prefix/name` one value, as for `aws:ResourceTag` and the name of a tag.
    pub fn set_tag(&mut self, prefix: &str, name: &str, value: &str) {
        self.put(&[prefix, "/", name], &[value], false);
    }

    /// Gives a key a list of values, as for `aws:TagKeys`.
    pub fn set_all(&mut self, key: &str, values: &[&str]) {
        self.put(&[key], values, true);
    }

    /// The values of a key; `None` if it is absent.
    pub fn get<'c>(&'c self, key: &str) -> Option<impl Iterator<Item = &'c str> + use<'c>> {
        self.values(&Key::new(key))
    }

    /// All keys with their values, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &str>)> {
        self.entries.iter().map(|entry| (self.slice(entry.key), self.values_of(entry)))
    }

    /// The values of a compiled key.
    pub(crate) fn values<'c>(&'c self, key: &Key) -> Option<impl ExactSizeIterator<Item = &'c str> + Clone + use<'c>> {
        self.find(key).map(|entry| self.values_of(entry))
    }

    /// The value of a key that has exactly one; a key with a list has none.
    pub(crate) fn single(&self, key: &Key) -> Option<&str> {
        let entry = self.find(key).filter(|entry| !entry.several)?;
        self.values_of(entry).next()
    }

    fn put(&mut self, key: &[&str], values: &[&str], several: bool) {
        let start = self.text.len();
        key.iter().for_each(|part| self.text.push_str(part));
        let key = Span { start, end: self.text.len() };
        let hash = hash(self.slice(key));
        let first = self.spans.len();
        for value in values {
            let start = self.text.len();
            self.text.push_str(value);
            self.spans.push(Span { start, end: self.text.len() });
        }
        let entry = Entry { hash, key, values: Span { start: first, end: self.spans.len() }, several };
        let same = |old: &Entry| old.hash == hash && self.slice(old.key).eq_ignore_ascii_case(self.slice(key));
        match self.entries.iter().position(same) {
            Some(at) => self.entries[at] = entry,
            None => self.entries.push(entry),
        }
    }

    fn find(&self, key: &Key) -> Option<&Entry> {
        let same = |entry: &&Entry| entry.hash == key.hash && self.slice(entry.key).eq_ignore_ascii_case(&key.text);
        self.entries.iter().find(same).filter(|entry| entry.values.start < entry.values.end)
    }

    fn values_of<'c>(&'c self, entry: &Entry) -> impl ExactSizeIterator<Item = &'c str> + Clone + use<'c> {
        self.spans[entry.values.start..entry.values.end].iter().map(|span| self.slice(*span))
    }

    fn slice(&self, span: Span) -> &str {
        &self.text[span.start..span.end]
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(key, values)| (key, values.collect::<Vec<_>>()))).finish()
    }
}

/// A condition key as a policy names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) text: Box<str>,
    hash: u32,
}

impl Key {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: text.into(), hash: hash(text) }
    }
}

/// FNV-1a of the text in lower case. It only saves comparisons; collisions do no harm.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0193))
}
