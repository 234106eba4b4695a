//! Wildcards: `*` is any run of characters, `?` is any one.
//!
//! A pattern is cut at its stars into segments of fixed length. The first must begin the text, the last must end it,
//! and each one between is taken where it ends first, which is always good enough. So no choice is ever taken back,
//! and the cost is linear in the text for literal segments (two-way search) and `text × segment / 64` for those with
//! a `?` (Shift-And: one bit for each place in the segment).

/// One unit of a pattern before it is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// This character.
    Char(char),
    /// `?`
    One,
    /// `*`
    Many,
}

impl Unit {
    /// What a character of a policy means where wildcards count.
    pub(crate) fn of(c: char) -> Self {
        match c {
            '*' => Self::Many,
            '?' => Self::One,
            c => Self::Char(c),
        }
    }
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// One more than there are stars.
    segments: Box<[Segment]>,
}

impl Pattern {
    /// Compiles a text in which `*` and `?` are wildcards.
    pub(crate) fn new(text: &str) -> Self {
        Self::from_units(text.chars().map(Unit::of))
    }

    pub(crate) fn from_units(units: impl IntoIterator<Item = Unit>) -> Self {
        let mut segments = Vec::new();
        let mut open = Vec::new();
        for unit in units {
            match unit {
                Unit::Char(c) => open.push(Some(c)),
                Unit::One => open.push(None),
                Unit::Many => segments.push(std::mem::take(&mut open)),
            }
        }
        segments.push(open);
        let last = segments.len() - 1;
        let compile = |(at, places): (usize, Vec<Option<char>>)| Segment::new(places, at != 0 && at != last);
        Self { segments: segments.into_iter().enumerate().map(compile).collect() }
    }

    /// Whether the whole text fits.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let [first, rest @ ..] = &*self.segments else { return false };
        let Some(text) = first.strip_prefix(text) else { return false };
        let [between @ .., last] = rest else { return text.is_empty() };
        let Some(mut text) = last.strip_suffix(text) else { return false };
        for segment in between {
            match segment.find_end(text) {
                Some(end) => text = &text[end..],
                None => return false,
            }
        }
        true
    }
}

/// What stands between two stars.
#[derive(Clone, Debug)]
enum Segment {
    Literal(Box<str>),
    Masked(Masked),
}

/// A segment with at least one `?`.
#[derive(Clone, Debug)]
struct Masked {
    /// `None` is a `?`.
    places: Box<[Option<char>]>,
    rows: Rows,
}

impl Segment {
    /// `searched`: whether it will be looked for, not only held against a beginning or an end.
    fn new(places: Vec<Option<char>>, searched: bool) -> Self {
        match places.iter().copied().collect::<Option<String>>() {
            Some(literal) => Self::Literal(literal.into()),
            None => {
                let rows = if searched { Rows::new(&places) } else { Rows::default() };
                Self::Masked(Masked { places: places.into(), rows })
            }
        }
    }

    fn strip_prefix<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(literal) => text.strip_prefix(&**literal),
            Self::Masked(masked) => {
                let mut chars = text.chars();
                let fits = |place: &Option<char>| chars.next().is_some_and(|c| place.is_none_or(|p| p == c));
                masked.places.iter().all(fits).then_some(chars.as_str())
            }
        }
    }

    fn strip_suffix<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(literal) => text.strip_suffix(&**literal),
            Self::Masked(masked) => {
                let mut chars = text.chars();
                let fits = |place: &Option<char>| chars.next_back().is_some_and(|c| place.is_none_or(|p| p == c));
                masked.places.iter().rev().all(fits).then_some(chars.as_str())
            }
        }
    }

    /// Where the first place that fits ends.
    fn find_end(&self, text: &str) -> Option<usize> {
        match self {
            Self::Literal(literal) => text.find(&**literal).map(|at| at + literal.len()),
            Self::Masked(masked) => masked.rows.find_end(masked.places.len(), text),
        }
    }
}

/// For each character, the places of the segment where it may stand, as bits.
#[derive(Clone, Debug, Default)]
struct Rows {
    /// The segment's own characters, sorted.
    chars: Box<[char]>,
    /// A row for each of them and one, the last, for all other characters.
    bits: Box<[u64]>,
    words: usize,
}

impl Rows {
    fn new(places: &[Option<char>]) -> Self {
        let mut chars: Vec<char> = places.iter().flatten().copied().collect();
        chars.sort_unstable();
        chars.dedup();
        let words = places.len().div_ceil(64);
        let mut bits = vec![0; (chars.len() + 1) * words];
        for (at, place) in places.iter().enumerate() {
            let (word, bit) = (at / 64, 1 << (at % 64));
            match place.and_then(|c| chars.binary_search(&c).ok()) {
                Some(row) => bits[row * words + word] |= bit,
                None => bits.iter_mut().skip(word).step_by(words).for_each(|row| *row |= bit),
            }
        }
        Self { chars: chars.into(), bits: bits.into(), words }
    }

    fn find_end(&self, places: usize, text: &str) -> Option<usize> {
        let mut state = vec![0_u64; self.words];
        let done = places - 1;
        for (at, c) in text.char_indices() {
            let row = self.chars.binary_search(&c).unwrap_or(self.chars.len()) * self.words;
            let mut carry = 1;
            for (state, row) in state.iter_mut().zip(&self.bits[row..row + self.words]) {
                let out = *state >> 63;
                *state = (*state << 1 | carry) & row;
                carry = out;
            }
            if state[done / 64] >> (done % 64) & 1 == 1 {
                return Some(at + c.len_utf8());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All pairs of places, one by one.
    fn naive(pattern: &str, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let mut fits = vec![false; text.len() + 1];
        fits[0] = true;
        for p in pattern.chars() {
            let before = fits.clone();
            for t in 0..=text.len() {
                fits[t] = match p {
                    '*' => before[t] || (t > 0 && fits[t - 1]),
                    '?' => t > 0 && before[t - 1],
                    p => t > 0 && before[t - 1] && text[t - 1] == p,
                };
            }
        }
        fits[text.len()]
    }

    #[test]
    fn examples() {
        let cases = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "abc", true),
            ("?", "", false),
            ("?", "ü", true),
            ("*?", "", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("ab*ba", "aba", false),
            ("*ab?*", "xxabab", true),
            ("*ab?*", "xxab", false),
            ("a/*/c", "a/b/b/c", true),
            ("*.amazonaws.com", "ecr.amazonaws.com", true),
        ];
        for (pattern, text, fits) in cases {
            assert_eq!(Pattern::new(pattern).matches(text), fits, "{pattern} {text}");
        }
    }

    /// Segments longer than a machine word.
    #[test]
    fn long_segments() {
        for length in [1, 63, 64, 65, 127, 128, 129, 300] {
            let body = "ab?".repeat(length);
            let pattern = Pattern::new(&format!("x*{body}*y"));
            assert!(pattern.matches(&format!("xabaab{}y", "abz".repeat(length))), "{length}");
            assert!(!pattern.matches(&format!("x{}acy", "abz".repeat(length - 1))), "{length}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn as_the_naive_one(pattern in "[abü*?]{0,12}", text in "[abü]{0,16}") {
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), naive(&pattern, &text));
        }

        #[test]
        fn a_text_fits_what_was_made_from_it(text in "[abcü/:]{0,200}", holes in prop::collection::vec((0_usize..200, 0_usize..20), 0..6)) {
            let mut pattern: Vec<char> = text.chars().collect();
            for (at, length) in holes {
                let end = (at + length).min(pattern.len());
                if at < end {
                    // Every other hole by question marks, which keep the length.
                    if length % 2 == 0 {
                        pattern[at..end].iter_mut().filter(|c| **c != '*').for_each(|c| *c = '?');
                    } else {
                        pattern.splice(at..end, ['*']);
                    }
                }
            }
            let pattern: String = pattern.into_iter().collect();
            prop_assert!(Pattern::new(&pattern).matches(&text), "{} {}", pattern, text);
        }
    }
}
