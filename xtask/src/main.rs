//! The workshop: code generation, house rules, harnesses, fuzzing.

mod codegen;
mod fuzz;
mod harness;
mod model;
mod tidy;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Why a task failed: one sentence, or one line for each fault.
type Failure = String;

const USAGE: &str = "\
usage: cargo xtask <task>
  codegen [--check] [--botocore DIR]   write crates/funaya-wire from the service models, or only compare
  tidy                                 check the house rules
  crash --kills N [--seed S]           kill a server under writers, and check every acknowledged write
  race --rounds N --tags N [--seed S] [--database sqlite|postgres]
                                       let writers race for one upload session, then for tags that never move
  soak --minutes N | --seconds N [--seed S]
                                       do everything at once for a long time, with the collector on
  model [--ticks N] [--uploads N] [--rules plain|undo|index]
                                       explore every state of the collector's rules, and miss each guard
  populate --url URL --images N        fill a repository of a running server, for measurements
  populate --data DIR --repositories R --images N
                                       fill the folder of a stopped server in bulk
  scale --data DIR                     measure lists and a restore on such a folder
  collect --objects N                  measure the collector, and what pushes feel of it
  fuzz [--target NAME] [--seconds N] [--seed S]
                                       give mangled input to every parser that strangers reach
Those that start a server take the server's program from --bin FILE (default: target/release/funaya).";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[&str]) -> Result<(), Failure> {
    match args {
        ["codegen", options @ ..] => codegen::run(&root(), options),
        ["tidy"] => tidy::run(&root()),
        ["crash", options @ ..] => harness::crash(&harness::Options::parse(options)?),
        ["race", options @ ..] => harness::race(&harness::Options::parse(options)?),
        ["scale", options @ ..] => harness::scale(&harness::Options::parse(options)?),
        ["collect", options @ ..] => harness::collect(&harness::Options::parse(options)?),
        ["model", options @ ..] => model::run(options),
        ["soak", options @ ..] => harness::soak(&harness::Options::parse(options)?),
        ["fuzz", options @ ..] => fuzz::run(options),
        ["populate", options @ ..] => harness::populate(&harness::Options::parse(options)?),
        _ => Err(USAGE.into()),
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
