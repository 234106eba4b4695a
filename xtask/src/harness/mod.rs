//! Harnesses that run a real server from outside: crashes, races, mass data.

mod client;
mod crash;
mod model;
mod populate;
mod race;
mod server;

use std::path::PathBuf;

use crate::{Failure, root};

pub(crate) use crash::run as crash;
pub(crate) use populate::run as populate;
pub(crate) use race::run as race;

/// What the harnesses are told on the command line.
pub(crate) struct Options {
    kills: u32,
    rounds: u32,
    images: u32,
    seed: u64,
    url: Option<String>,
    bin: PathBuf,
}

impl Options {
    pub(crate) fn parse(args: &[&str]) -> Result<Self, Failure> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
        let mut options =
            Self { kills: 50, rounds: 200, images: 1_000, seed: 1, url: None, bin: target.join("release/funaya") };
        for pair in args.chunks(2) {
            let [name, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
            let number = || value.parse::<u64>().map_err(|_| format!("{name}: {value} is not a number"));
            let small = || number().and_then(|n| u32::try_from(n).map_err(|_| format!("{name} is too large")));
            match *name {
                "--kills" => options.kills = small()?,
                "--rounds" => options.rounds = small()?,
                "--images" => options.images = small()?,
                "--seed" => options.seed = number()?,
                "--url" => options.url = Some((*value).into()),
                "--bin" => options.bin = PathBuf::from(value),
                _ => return Err(format!("{name} is not an option here")),
            }
        }
        Ok(options)
    }
}

/// A small generator: what matters is that a seed replays a run's choices.
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(length + 8);
        while out.len() < length {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        out.truncate(length);
        out
    }
}

/// The digest of some bytes, as text.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", funaya_sigv4::payload_hash(bytes))
}
