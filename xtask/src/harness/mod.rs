//! Harnesses that run a real server from outside: crashes, races, mass data.

mod bulk;
mod collect;
mod crash;
mod doors;
mod model;
mod populate;
mod race;
mod race_tags;
mod scale;
mod soak;

use std::{path::PathBuf, time::Duration};

use crate::{Failure, root};

pub(crate) use collect::run as collect;
pub(crate) use crash::run as crash;
pub(crate) use populate::run as populate;
pub(crate) use scale::run as scale;
pub(crate) use soak::run as soak;

/// What the harnesses are told on the command line.
pub(crate) struct Options {
    kills: u32,
    rounds: u32,
    /// Rounds of races for a tag.
    tags: u32,
    /// PostgreSQL instead of SQLite.
    postgres: bool,
    images: u32,
    repositories: u32,
    objects: u32,
    /// How long a load runs.
    load: Duration,
    seed: u64,
    url: Option<String>,
    data: Option<PathBuf>,
    bin: PathBuf,
}

impl Options {
    pub(crate) fn parse(args: &[&str]) -> Result<Self, Failure> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
        let mut options = Self {
            kills: 50,
            rounds: 200,
            tags: 200,
            postgres: false,
            images: 1_000,
            repositories: 0,
            objects: 100_000,
            load: Duration::from_secs(60),
            seed: 1,
            url: None,
            data: None,
            bin: target.join("release/funaya"),
        };
        for pair in args.chunks(2) {
            let [name, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
            let number = || value.parse::<u64>().map_err(|_| format!("{name}: {value} is not a number"));
            let small = || number().and_then(|n| u32::try_from(n).map_err(|_| format!("{name} is too large")));
            match *name {
                "--kills" => options.kills = small()?,
                "--rounds" => options.rounds = small()?,
                "--tags" => options.tags = small()?,
                "--database" => options.postgres = database_is_postgres(value)?,
                "--images" => options.images = small()?,
                "--minutes" => options.load = Duration::from_secs(60 * u64::from(small()?)),
                "--seconds" => options.load = Duration::from_secs(number()?),
                "--seed" => options.seed = number()?,
                "--repositories" => options.repositories = small()?,
                "--objects" => options.objects = small()?,
                "--data" => options.data = Some(PathBuf::from(value)),
                "--url" => options.url = Some((*value).into()),
                "--bin" => options.bin = PathBuf::from(value),
                _ => return Err(format!("{name} is not an option here")),
            }
        }
        Ok(options)
    }
}

fn database_is_postgres(name: &str) -> Result<bool, Failure> {
    match name {
        "sqlite" => Ok(false),
        "postgres" => Ok(true),
        _ => Err(format!("--database: {name} is neither sqlite nor postgres")),
    }
}

/// Both kinds of races.
pub(crate) fn race(options: &Options) -> Result<(), Failure> {
    if options.rounds > 0 {
        race::run(options)?;
    }
    if options.tags > 0 { race_tags::run(options) } else { Ok(()) }
}
