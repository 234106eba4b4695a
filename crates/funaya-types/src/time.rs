//! Points in time, in microseconds. Nobody here reads a clock: time is passed in.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Microseconds since the Unix epoch, UTC: the form in the database.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * 1_000_000)
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Seconds since the epoch with milliseconds, as AWS JSON has it.
    pub fn epoch_seconds(self) -> f64 {
        self.0.div_euclid(1_000) as f64 / 1_000.0
    }

    /// This much later, or the end of time.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This much earlier, or the beginning of time.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// `2018-07-11T22:17:43Z`
    pub fn iso8601(self) -> String {
        self.format("%Y-%m-%dT%H:%M:%SZ")
    }

    /// Reads what [`Timestamp::iso8601`] writes, and other forms of ISO 8601 with an offset.
    pub fn parse_iso8601(text: &str) -> Option<Self> {
        Some(Self(text.parse::<jiff::Timestamp>().ok()?.as_microsecond()))
    }

    /// `20180711T221743Z`, the form in signatures.
    pub fn basic(self) -> String {
        self.format("%Y%m%dT%H%M%SZ")
    }

    /// `Jul 11, 2018 10:17:44 PM`, the form of times inside audit records (TRAIL-13).
    pub fn audit_text(self) -> String {
        self.format("%b %-d, %Y %-I:%M:%S %p")
    }

    /// `Wed, 11 Jul 2018 22:17:43 GMT`, RFC 9110 section 5.6.7.
    pub fn http_date(self) -> String {
        self.format("%a, %d %b %Y %H:%M:%S GMT")
    }

    fn format(self, pattern: &str) -> String {
        jiff::Timestamp::from_second(self.secs()).unwrap_or_default().strftime(pattern).to_string()
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}µs", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let t = Timestamp::from_secs(1_531_347_464);
        assert_eq!(t.iso8601(), "2018-07-11T22:17:44Z");
        assert_eq!(t.basic(), "20180711T221744Z");
        assert_eq!(t.audit_text(), "Jul 11, 2018 10:17:44 PM");
        assert_eq!(t.http_date(), "Wed, 11 Jul 2018 22:17:44 GMT");
    }
}
