//! The form of a request: names and values, sorted by name so that lists are found at once.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    ops::Bound,
};

use super::Fault;

/// More names than any request of the listed operations has: a list of as many items is refused by its rule anyway.
const PAIRS_MAX: usize = 10_000;
/// `ContextEntries.member.100.ContextKeyValues.member.100` has 53 bytes.
const NAME_BYTES_MAX: usize = 512;
/// That one has six parts.
const PARTS_MAX: usize = 16;

/// The pairs of a request. A name that comes twice is a fault, whether in the body, in the query string or in both: no
/// two readers must see different requests. Bytes that are no UTF-8 become U+FFFD, which no pattern of names takes.
pub struct Form {
    pairs: BTreeMap<String, String>,
}

impl Form {
    /// Reads `application/x-www-form-urlencoded` from a body and from the query string of its URL.
    pub fn parse(body: &[u8], query: &str) -> Result<Self, Fault> {
        let mut form = Self { pairs: BTreeMap::new() };
        for (name, value) in form_urlencoded::parse(body).chain(form_urlencoded::parse(query.as_bytes())) {
            if form.pairs.len() == PAIRS_MAX {
                return Err(Fault::Form(format!("more than {PAIRS_MAX} parameters")));
            }
            if name.len() > NAME_BYTES_MAX || name.split('.').count() > PARTS_MAX {
                return Err(Fault::Form("the name of a parameter is too long".into()));
            }
            match form.pairs.entry(name.into_owned()) {
                Entry::Vacant(entry) => entry.insert(value.into_owned()),
                Entry::Occupied(entry) => {
                    return Err(Fault::Form(format!("the parameter '{}' appears twice", entry.key())));
                }
            };
        }
        Ok(form)
    }

    /// The operation's name.
    pub fn action(&self) -> Option<&str> {
        self.get("Action")
    }

    /// The version of the service.
    pub fn version(&self) -> Option<&str> {
        self.get("Version")
    }

    /// The value of a whole name, as in `Tags.member.1.Key`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.get(name).map(String::as_str)
    }

    /// All names and values, in the order of the names.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// What follows this prefix in the names that begin with it, in the order of the names.
    pub(crate) fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        let from = self.pairs.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.map_while(move |(name, _)| name.strip_prefix(prefix))
    }
}

/// No values: there are passwords among them.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Form({} of {} parameters)", self.action().unwrap_or("?"), self.pairs.len())
    }
}
