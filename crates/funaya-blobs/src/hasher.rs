//! The running hash of an upload, and its saved form (D4).

use funaya_ports::StoreError;
use funaya_types::{Algorithm, Digest};
use sha2::{Digest as _, Sha256, Sha512, digest::common::hazmat::SerializableState};

#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Goes on from a saved state; an empty one is the start.
    pub(crate) fn resume(algorithm: Algorithm, state: &[u8]) -> Result<Self, StoreError> {
        if state.is_empty() {
            return Ok(Self::new(algorithm));
        }
        let damaged = || StoreError::Damaged("the hash state of an upload".into());
        match algorithm {
            Algorithm::Sha256 => {
                let state = state.try_into().map_err(|_| damaged())?;
                Ok(Self::Sha256(Sha256::deserialize(&state).map_err(|_| damaged())?))
            }
            Algorithm::Sha512 => {
                let state = state.try_into().map_err(|_| damaged())?;
                Ok(Self::Sha512(Sha512::deserialize(&state).map_err(|_| damaged())?))
            }
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub(crate) fn state(&self) -> Vec<u8> {
        match self {
            Self::Sha256(hasher) => hasher.serialize().to_vec(),
            Self::Sha512(hasher) => hasher.serialize().to_vec(),
        }
    }

    pub(crate) fn finish(self) -> Result<Digest, StoreError> {
        let algorithm = self.algorithm();
        let digest = match self {
            Self::Sha256(hasher) => Digest::from_hash(algorithm, &hasher.finalize()),
            Self::Sha512(hasher) => Digest::from_hash(algorithm, &hasher.finalize()),
        };
        digest.map_err(|_| StoreError::failed("a hash has the wrong length"))
    }
}
