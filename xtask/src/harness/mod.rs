//! Harnesses that run a real server from outside: crashes, races, mass data.

mod crash;
mod model;
mod populate;
mod race;

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
