//! Paging tokens: sealed, so that they are opaque and tamper-proof, and without
//! state, so that they survive a restart (API-76).

use funaya_gate::Sealer;

use crate::fail::Fail;

/// Items of a page where the caller names no number.
pub(crate) const DEFAULT: u32 = 100;

/// Makes and reads tokens of one operation with one set of parameters.
pub(crate) struct Paging<'a> {
    sealer: &'a Sealer,
    binding: String,
}

impl<'a> Paging<'a> {
    /// `parameters`: everything that a next page must share with the first.
    pub(crate) fn new(sealer: &'a Sealer, operation: &str, parameters: &[&str]) -> Self {
        Self { sealer, binding: format!("{operation}\n{}", parameters.join("\n")) }
    }

    pub(crate) fn open(&self, token: Option<&str>) -> Result<Option<String>, Fail> {
        let bad = || Fail::parameter("nextToken", "Invalid token");
        token.map(|token| self.sealer.open(token, &self.binding).ok_or_else(bad)).transpose()
    }

    pub(crate) fn seal(&self, place: &str) -> String {
        self.sealer.seal(place, &self.binding)
    }
}

/// The page's size; the shapes have checked its bounds.
pub(crate) fn limit(max_results: Option<i64>, default: u32) -> u32 {
    max_results.and_then(|n| u32::try_from(n).ok()).unwrap_or(default)
}
