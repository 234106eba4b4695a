//! `cargo xtask codegen`: Rust shapes from AWS's service models, as botocore ships them.
//!
//! Names, types and constraints are read; the models' prose is not copied.

mod emit;
mod model;
mod names;
mod query;
mod services;

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use crate::Failure;

/// The release of botocore whose models are the plan of record. A new one is a decision: its diff is reviewed.
const BOTOCORE: &str = "1.43.11";

/// Prints the version of botocore and then a model. Python is there wherever botocore is.
const READ: &str = "
import gzip, os, sys
folder, path = sys.argv[1:]
if folder:
    if not os.path.isdir(os.path.join(folder, 'botocore')):
        sys.exit(folder + ' has no package botocore')
    sys.path.insert(0, folder)
import botocore
print(botocore.__version__, flush=True)
print(gzip.open(os.path.join(os.path.dirname(botocore.__file__), 'data', path, 'service-2.json.gz'), 'rt').read())
";

/// Writes the generated files, or with `--check` wants no difference.
pub fn run(root: &Path, options: &[&str]) -> Result<(), Failure> {
    let (check, botocore) = match options {
        [] => (false, ""),
        ["--check"] => (true, ""),
        ["--botocore", folder] => (false, *folder),
        ["--check", "--botocore", folder] | ["--botocore", folder, "--check"] => (true, *folder),
        _ => return Err("codegen takes --check and --botocore DIR, the folder that holds the package".into()),
    };
    for service in services::ALL {
        let model = model::parse(&read(botocore, service.model)?)?;
        let text = format(root, &emit::module(service, &model)?)?;
        let path = root.join("crates/funaya-wire/src").join(service.module).with_extension("rs");
        if check {
            compare(&path, &text)?;
        } else {
            fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        }
    }
    Ok(())
}

fn compare(path: &Path, text: &str) -> Result<(), Failure> {
    match fs::read_to_string(path) {
        Ok(found) if found == text => Ok(()),
        Ok(_) => Err(format!("{} differs from its model: run `cargo xtask codegen`", path.display())),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// The text of a model, of the pinned release only.
fn read(botocore: &str, model: &str) -> Result<String, Failure> {
    let output = Command::new("python3").args(["-c", READ, botocore, model]).output();
    let output = output.map_err(|e| format!("python3 did not start: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (version, json) = text.split_once('\n').unwrap_or_default();
    if !version.is_empty() && version.trim() != BOTOCORE {
        return Err(format!("botocore is {}, but the shapes come from {BOTOCORE}", version.trim()));
    }
    if !output.status.success() {
        let cause = String::from_utf8_lossy(&output.stderr);
        let cause = cause.lines().last().unwrap_or_default();
        return Err(format!("the models of botocore could not be read (pip install botocore=={BOTOCORE}): {cause}"));
    }
    Ok(json.into())
}

/// As rustfmt has it, by the workspace's settings.
fn format(root: &Path, text: &str) -> Result<String, Failure> {
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("rustfmt did not start: {e}"))?;
    let input = rustfmt.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
    let output = rustfmt.wait_with_output().map_err(|e| format!("rustfmt: {e}"))?;
    match input {
        Some(Ok(())) if output.status.success() => String::from_utf8(output.stdout).map_err(|e| e.to_string()),
        _ => Err("rustfmt refused the generated text".into()),
    }
}
