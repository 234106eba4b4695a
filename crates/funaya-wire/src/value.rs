//! Values that need care when printed.

use std::fmt;

use serde::{Serialize, Serializer};

/// Bytes, base64 on the wire; only their count shows in `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

/// Text that must not leak: hidden in `Debug`, plain on the wire.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(…)")
    }
}

/// A point in time: a JSON number of seconds since the Unix epoch, such as `1499287667.123`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct EpochSeconds(pub f64);

impl EpochSeconds {
    /// As XML has it, without fractions: `2013-06-25T13:45:00Z`. What no calendar holds becomes the epoch.
    pub fn iso(self) -> String {
        // The cast saturates, and no number is 0.
        let time = jiff::Timestamp::from_second(self.0.floor() as i64).unwrap_or_default();
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Reads ISO 8601 with `Z` or an offset.
    pub fn from_iso(text: &str) -> Option<Self> {
        let time: jiff::Timestamp = text.parse().ok()?;
        Some(Self(time.as_millisecond() as f64 / 1000.0))
    }
}

impl Serialize for EpochSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::EpochSeconds;

    #[test]
    fn iso() {
        let cases = [
            (0.0, "1970-01-01T00:00:00Z"),
            (1_372_167_900.0, "2013-06-25T13:45:00Z"),
            (1_372_167_900.999, "2013-06-25T13:45:00Z"),
            (-0.5, "1969-12-31T23:59:59Z"),
            (951_827_696.0, "2000-02-29T12:34:56Z"),
            (f64::NAN, "1970-01-01T00:00:00Z"),
            (f64::INFINITY, "1970-01-01T00:00:00Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(EpochSeconds(seconds).iso(), text);
        }
        let read = |text| EpochSeconds::from_iso(text).map(|time| time.0);
        assert_eq!(read("2013-06-25T13:45:00Z"), Some(1_372_167_900.0));
        assert_eq!(read("2013-06-25T15:45:00.25+02:00"), Some(1_372_167_900.25));
        for bad in ["", "2013-06-25", "2013-02-30T00:00:00Z", "1372167900", "2013-06-25T13:45:00"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
