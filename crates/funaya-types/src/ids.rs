//! Ids that the product makes: uploads and stored objects.

use std::{fmt, str::FromStr};

/// The id of an upload session: a UUID in its hyphenated lower-case form (IMG-20).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadId([u8; 16]);

/// Not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an upload id is a UUID")]
pub struct BadUploadId;

impl UploadId {
    /// A random (version 4) UUID of these bytes.
    pub fn from_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for UploadId {
    type Err = BadUploadId;

    fn from_str(text: &str) -> Result<Self, BadUploadId> {
        let hyphens =
            text.len() == 36 && text.bytes().enumerate().all(|(i, c)| (c == b'-') == matches!(i, 8 | 13 | 18 | 23));
        if !hyphens {
            return Err(BadUploadId);
        }
        let mut digits = text.bytes().filter(|c| *c != b'-').map(|c| (c as char).to_digit(16));
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            let (Some(Some(high)), Some(Some(low))) = (digits.next(), digits.next()) else {
                return Err(BadUploadId);
            };
            *byte = (high << 4 | low) as u8;
        }
        Ok(Self(bytes))
    }
}

/// The key of one stored object: 26 characters of time and randomness, never reused (D2).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorageKey(Box<str>);

/// Crockford's base 32.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl StorageKey {
    /// A key of 48 bits of milliseconds and 80 random bits, in Crockford's base 32 (a ULID).
    pub fn new(millis: u64, random: [u8; 10]) -> Self {
        let mut value = u128::from(millis & 0xffff_ffff_ffff) << 80;
        for (index, byte) in random.iter().enumerate() {
            value |= u128::from(*byte) << (8 * (9 - index));
        }
        let text: String = (0..26).rev().map(|i| ALPHABET[(value >> (5 * i)) as usize & 31] as char).collect();
        Self(text.into())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When the key was made, in milliseconds since the epoch.
    pub fn millis(&self) -> u64 {
        let value = |c: u8| ALPHABET.iter().position(|have| *have == c).unwrap_or_default() as u64;
        self.0.bytes().take(10).fold(0, |sum, c| sum << 5 | value(c))
    }
}

impl FromStr for StorageKey {
    type Err = BadUploadId;

    fn from_str(text: &str) -> Result<Self, BadUploadId> {
        let valid = text.len() == 26 && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if valid { Ok(Self(text.into())) } else { Err(BadUploadId) }
    }
}

impl fmt::Display for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upload_ids_round_trip() {
        let id = UploadId::from_random([0xab; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "../../etc/passwd", "abababab-abab-4bab-abab-ababababab", &"g".repeat(36)] {
            assert!(bad.parse::<UploadId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn storage_keys_sort_by_time() {
        let (a, b) = (StorageKey::new(1, [255; 10]), StorageKey::new(2, [0; 10]));
        assert!(a < b);
        assert_eq!(StorageKey::new(1_795_520_200_037, [9; 10]).millis(), 1_795_520_200_037);
        assert_eq!(a.as_str().parse(), Ok(a.clone()));
        assert!("../aaaaaaaaaaaaaaaaaaaaaaa".parse::<StorageKey>().is_err());
    }
}
