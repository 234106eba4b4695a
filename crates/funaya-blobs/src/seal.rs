//! The sealed form: 64 KiB segments, AES-256-GCM, a random nonce each.
//!
//! A segment is `nonce (12) | ciphertext | tag (16)`. Its number is
//! authenticated with it, so segments can't change places. The object's digest
//! and size are authenticated with the wrapped data key (see `keyring`), so a
//! row can't be made to fit other bytes.
//!
//! Nonces are random, not counted: the tail of an interrupted upload is sealed
//! again with more bytes, and a counter's value would then be used twice.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use funaya_ports::{Random, StoreError};

/// Plain bytes of a segment.
pub const PLAIN: usize = 64 * 1024;
/// What a sealed segment is longer than its plain bytes.
pub const OVERHEAD: usize = NONCE + TAG;
/// Bytes of a full sealed segment.
pub const SEALED: usize = PLAIN + OVERHEAD;
pub(crate) const NONCE: usize = 12;
const TAG: usize = 16;

/// What a segment is part of; keeps an unfinished tail from passing as a segment.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Segment(u64),
    Tail(u64),
}

impl Place {
    fn bytes(self) -> [u8; 9] {
        let (kind, number) = match self {
            Self::Segment(number) => (0, number),
            Self::Tail(number) => (1, number),
        };
        let mut out = [kind; 9];
        out[1..].copy_from_slice(&number.to_le_bytes());
        out
    }
}

/// Bytes on disk of an object of so many plain bytes.
pub fn sealed_size(plain: u64) -> u64 {
    plain + plain.div_ceil(PLAIN as u64) * OVERHEAD as u64
}

pub(crate) fn key(raw: &[u8]) -> Result<LessSafeKey, StoreError> {
    let key = UnboundKey::new(&AES_256_GCM, raw).map_err(|_| StoreError::failed("a data key has the wrong length"))?;
    Ok(LessSafeKey::new(key))
}

/// Seals in place: `buffer` holds room for the nonce, then the plain bytes; the tag is appended.
pub(crate) fn seal(
    key: &LessSafeKey,
    random: &dyn Random,
    place: Place,
    buffer: &mut Vec<u8>,
    start: usize,
) -> Result<(), StoreError> {
    let mut nonce = [0; NONCE];
    random.fill(&mut nonce);
    let segment = &mut buffer[start..];
    segment[..NONCE].copy_from_slice(&nonce);
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(place.bytes()),
            &mut segment[NONCE..],
        )
        .map_err(|_| StoreError::failed("sealing failed"))?;
    buffer.extend_from_slice(tag.as_ref());
    Ok(())
}

/// Opens in place; the plain bytes then begin at [`NONCE`]. `None`: damaged.
pub(crate) fn open(key: &LessSafeKey, place: Place, segment: &mut [u8]) -> Option<usize> {
    let (nonce, sealed) = segment.split_at_mut_checked(NONCE)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    key.open_in_place(nonce, Aad::from(place.bytes()), sealed).ok().map(|plain| plain.len())
}
