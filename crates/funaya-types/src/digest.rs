//! Content digests: `sha256:<64 hex>` and `sha512:<128 hex>`.

use std::{fmt, str::FromStr};

/// A hash algorithm of the OCI image specification, "Registered algorithms".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, the default everywhere.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name in front of the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of a hash, in bytes.
    pub const fn hash_bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The algorithm of that name, if it is one of ours.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "sha256" => Some(Self::Sha256),
            "sha512" => Some(Self::Sha512),
            _ => None,
        }
    }
}

/// The digest of a blob or manifest.
///
/// Written `algorithm:hex` with lower-case hex of the algorithm's length.
/// Source: OCI image specification, "Digests".
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hash: [u8; 64],
}

/// Why a text is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDigest {
    /// No colon, or an algorithm that is not supported.
    #[error("the digest's algorithm is not supported")]
    Algorithm,
    /// Not lower-case hex of the right length.
    #[error("the digest's hash is not lower-case hex of its algorithm's length")]
    Hash,
}

impl Digest {
    /// A digest of raw hash bytes; fails when their length is not the algorithm's.
    pub fn from_hash(algorithm: Algorithm, raw: &[u8]) -> Result<Self, BadDigest> {
        if raw.len() != algorithm.hash_bytes() {
            return Err(BadDigest::Hash);
        }
        let mut hash = [0; 64];
        hash[..raw.len()].copy_from_slice(raw);
        Ok(Self { algorithm, hash })
    }

    /// The algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw hash: 32 or 64 bytes.
    pub fn hash(&self) -> &[u8] {
        &self.hash[..self.algorithm.hash_bytes()]
    }

    /// One algorithm byte (1 = sha256, 2 = sha512), then the raw hash: the form in the database.
    pub fn to_bytes(&self) -> Vec<u8> {
        let tag = match self.algorithm {
            Algorithm::Sha256 => 1,
            Algorithm::Sha512 => 2,
        };
        let mut out = Vec::with_capacity(65);
        out.push(tag);
        out.extend_from_slice(self.hash());
        out
    }

    /// Reads the form that [`Digest::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadDigest> {
        match bytes.split_first() {
            Some((1, hash)) => Self::from_hash(Algorithm::Sha256, hash),
            Some((2, hash)) => Self::from_hash(Algorithm::Sha512, hash),
            _ => Err(BadDigest::Algorithm),
        }
    }
}

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let (name, hex) = text.split_once(':').ok_or(BadDigest::Algorithm)?;
        let algorithm = Algorithm::from_name(name).ok_or(BadDigest::Algorithm)?;
        let hex = hex.as_bytes();
        if hex.len() != 2 * algorithm.hash_bytes() {
            return Err(BadDigest::Hash);
        }
        let mut hash = [0; 64];
        for (byte, pair) in hash.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self { algorithm, hash })
    }
}

fn nibble(c: u8) -> Result<u8, BadDigest> {
    match c {
        b'0'..=b'9' => Ok(c - b'0'),
        b'a'..=b'f' => Ok(c - b'a' + 10),
        _ => Err(BadDigest::Hash),
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut out = [0u8; 128];
        for (pair, byte) in out.chunks_exact_mut(2).zip(self.hash()) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        let hex = &out[..2 * self.algorithm.hash_bytes()];
        f.write_str(self.algorithm.name())?;
        f.write_str(":")?;
        f.write_str(std::str::from_utf8(hex).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_round_trip() {
        for text in [format!("sha256:{}", "0a".repeat(32)), format!("sha512:{}", "f1".repeat(64))] {
            let digest: Digest = text.parse().unwrap();
            assert_eq!(digest.to_string(), text);
            assert_eq!(Digest::from_bytes(&digest.to_bytes()), Ok(digest));
        }
    }

    #[test]
    fn bad_texts_are_refused() {
        let upper = format!("sha256:{}", "0A".repeat(32));
        let short = format!("sha256:{}", "0a".repeat(31));
        let long = format!("sha256:{}", "0a".repeat(33));
        let other = format!("md5:{}", "0a".repeat(16));
        for text in ["", ":", "sha256", "sha256:", &upper, &short, &long, &other, "sha256:../../etc"] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
