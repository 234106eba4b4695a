//! Patterns in which `*` stands for any characters.

use std::fmt;

/// A pattern for names and tags: `*` stands for any characters, everything else for itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wildcard(Box<str>);

impl Wildcard {
    /// Takes the pattern's text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many `*` it has.
    pub fn stars(&self) -> usize {
        self.0.matches('*').count()
    }

    /// Whether it fits the whole text. Linear but for the number of stars.
    pub fn matches(&self, text: &str) -> bool {
        let mut pieces = self.0.split('*');
        let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
        let Some(mut piece) = pieces.next() else { return rest.is_empty() };
        for next in pieces {
            match rest.find(piece) {
                Some(at) => rest = &rest[at + piece.len()..],
                None => return false,
            }
            piece = next;
        }
        rest.ends_with(piece)
    }
}

impl fmt::Display for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("team/*", "team/web", true),
            ("team/*", "team2/web", false),
            ("*", "any", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("web", "web", true),
            ("web", "web2", false),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("ab*ba", "aba", false),
        ];
        for (pattern, text, want) in cases {
            assert_eq!(Wildcard::new(pattern).matches(text), want, "{pattern} {text}");
        }
    }
}
