//! The workshop: code generation and house rules.

mod codegen;
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
  tidy                                 check the house rules";

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
        _ => Err(USAGE.into()),
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
