//! `cargo xtask tidy`: the house rules that a compiler does not know.
//!
//! Who may import whom, what no file may hold, and how files are named. It runs as a test, too.

use std::{fs, path::Path, process::Command};

use serde::Deserialize;

use crate::Failure;

const LAW: [&str; 4] = ["policy", "sigv4", "rules", "scan"];
const HALLS: [&str; 4] = ["registry", "identity", "keys", "watch"];

/// Every room and the groups of rooms that it may import. A room that does not exist yet has its line already.
const ROOMS: [(&str, &[&[&str]]); 21] = [
    ("oci", &[&["gate", "types"], &HALLS]),
    ("aws", &[&["gate", "wire", "types"], &HALLS]),
    ("registry", HALL),
    ("identity", HALL),
    ("keys", HALL),
    ("watch", HALL),
    ("gate", &[&["ports", "types"], &LAW]),
    ("meta", WORKSHOP),
    ("blobs", WORKSHOP),
    ("remote", WORKSHOP),
    ("ports", GROUND),
    ("policy", GROUND),
    ("sigv4", GROUND),
    ("rules", GROUND),
    ("scan", GROUND),
    ("wire", GROUND),
    ("types", &[]),
    // The roof and what stands beside the house; `import_fault` has the exceptions.
    ("", ALL),
    ("testkit", ALL),
    ("xtask", ALL),
    ("bench", ALL),
];
const HALL: &[&[&str]] = &[&["gate", "ports", "types"], &LAW];
const WORKSHOP: &[&[&str]] = &[&["ports", "types"]];
const GROUND: &[&[&str]] = &[&["types"]];
const ALL: &[&[&str]] =
    &[&["", "oci", "aws", "gate", "meta", "blobs", "remote", "ports", "wire", "types", "testkit"], &HALLS, &LAW];

/// Crates that law and ground must not touch: they know no HTTP, SQL, files or clock.
const WORLDLY: [&str; 6] = ["tokio", "hyper", "http", "rusqlite", "tokio-postgres", "reqwest"];

/// Rooms where time is passed in.
const TIMELESS: [&str; 9] = ["types", "sigv4", "rules", "policy", "scan", "registry", "identity", "keys", "watch"];

/// Words of no Rust file.
const BANNED: [&str; 4] = ["unsafe", "todo!", "unimplemented!", "dbg!"];
const CLOCKS: [&str; 3] = ["SystemTime::now", "Instant::now", "Utc::now"];

/// Files speak of the product, not of how it came about. In lower case.
const TELLTALE: [&str; 4] = ["issue #", "session transcript", " llm", "/work/"];

const LINES_MAX: usize = 800;
const GENERATED: [&str; 3] =
    ["crates/funaya-wire/src/ecr.rs", "crates/funaya-wire/src/iam.rs", "crates/funaya-wire/src/organizations.rs"];
/// This file must name what it forbids.
const SELF: &str = "xtask/src/tidy.rs";

/// All faults, one a line.
pub fn run(root: &Path) -> Result<(), Failure> {
    let mut faults = imports(root)?;
    faults.extend(files(root)?);
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `None` for a normal one, else `dev` or `build`.
    kind: Option<String>,
}

fn imports(root: &Path) -> Result<Vec<String>, Failure> {
    let json = output(root, "cargo", &["metadata", "--no-deps", "--offline", "--format-version", "1"])?;
    let metadata: Metadata = serde_json::from_str(&json).map_err(|e| format!("cargo metadata: {e}"))?;
    Ok(metadata.packages.iter().flat_map(package_faults).collect())
}

fn package_faults(package: &Package) -> Vec<String> {
    let name = &package.name;
    let normal = package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
    let mut faults: Vec<String> = match room(name).and_then(|room| ROOMS.iter().find(|(known, _)| *known == room)) {
        Some((room, may)) => normal.filter_map(|dependency| import_fault(room, may, &dependency.name)).collect(),
        None => vec![format!("the import table has no room `{name}`")],
    };
    let folder = Path::new(&package.manifest_path).parent().and_then(Path::file_name).unwrap_or_default();
    let bare = name.strip_prefix("funaya-").unwrap_or(name);
    if folder != name.as_str() && folder != bare {
        faults.push(format!("the folder of `{name}` must bear its name"));
    }
    faults
}

/// `funaya-gate` → `gate`, `funaya` → ``; `None` for crates of others.
fn room(name: &str) -> Option<&str> {
    match name {
        "funaya" => Some(""),
        "xtask" => Some(name),
        _ => name.strip_prefix("funaya-"),
    }
}

fn import_fault(importer: &str, may: &[&[&str]], dependency: &str) -> Option<String> {
    let pure = LAW.contains(&importer) || importer == "types";
    let forbidden = match room(dependency) {
        None => pure && WORLDLY.contains(&dependency),
        Some("wire") => importer != "aws" && importer != "xtask",
        Some("") => importer != "testkit" && importer != "bench",
        Some("testkit") => importer != "xtask" && importer != "bench",
        Some(imported) => !may.iter().any(|group| group.contains(&imported)),
    };
    let importer = if importer.is_empty() { "funaya" } else { importer };
    forbidden.then(|| format!("`{importer}` must not import `{dependency}`"))
}

/// Faults in the files that are, or are about to be, in the repository.
fn files(root: &Path) -> Result<Vec<String>, Failure> {
    let listed = output(root, "git", &["ls-files", "--cached", "--others", "--exclude-standard"])?;
    let mut faults = Vec::new();
    for path in listed.lines() {
        // A deleted file is still listed; one that is not text has no words.
        let Ok(text) = fs::read_to_string(root.join(path)) else { continue };
        faults.extend(file_faults(path, &text));
    }
    Ok(faults)
}

fn file_faults(path: &str, text: &str) -> Vec<String> {
    if path == SELF {
        return Vec::new();
    }
    let mut faults: Vec<String> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let lower = line.to_lowercase();
        let word = TELLTALE.iter().find(|word| lower.contains(**word));
        faults.extend(word.map(|word| format!("{path}:{number}: `{word}` does not belong here")));
    }
    // The load generator is a tool of its own, with system calls that no crate of the house makes.
    if path.ends_with(".rs") && !path.starts_with("bench/loadgen/") {
        faults.extend(source_faults(path, text));
    }
    faults
}

fn source_faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let stem = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
    if !stem.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
        faults.push(format!("{path}: file names are snake_case"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX && !GENERATED.contains(&path) {
        faults.push(format!("{path}: {lines} lines are more than {LINES_MAX}"));
    }
    let room = path.strip_prefix("crates/").and_then(|rest| rest.split('/').next()).and_then(room);
    let mut in_tests = path.split('/').any(|part| part == "tests" || part == "testkit");
    for (number, line) in (1..).zip(text.lines()) {
        in_tests |= line.trim() == "#[cfg(test)]";
        let bans = bans(room, in_tests).into_iter().filter(|ban| holds(line, ban));
        faults.extend(bans.map(|ban| format!("{path}:{number}: `{ban}` is banned here")));
    }
    faults
}

/// What a line must not hold, by room. Tests may panic, print and read clocks.
fn bans(room: Option<&str>, in_tests: bool) -> Vec<&'static str> {
    let mut bans = BANNED.to_vec();
    if in_tests {
        return bans;
    }
    bans.push(".unwrap()");
    if room.is_some_and(|room| !room.is_empty()) {
        bans.push("println!");
    }
    if room.is_some_and(|room| TIMELESS.contains(&room)) {
        bans.extend(CLOCKS);
    }
    bans
}

/// Whether code, not a comment, holds this text as a word of its own.
fn holds(line: &str, banned: &str) -> bool {
    if line.trim_start().starts_with("//") {
        return false;
    }
    let part_of_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(banned).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + banned.len()..]);
        let (starts, ends) = (banned.starts_with('.'), banned.ends_with(['!', ')']));
        // `eprintln!` prints as well.
        let printed = banned == "println!" && before.ends_with('e');
        (starts || printed || !part_of_name(before.chars().last())) && (ends || !part_of_name(after.chars().next()))
    })
}

fn output(root: &Path, program: &str, args: &[&str]) -> Result<String, Failure> {
    let output = Command::new(program).args(args).current_dir(root).output();
    let output = output.map_err(|e| format!("{program} did not start: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into()),
        false => Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        assert_eq!(run(&crate::root()), Ok(()));
    }

    #[test]
    fn imports_go_downwards() {
        let cases = [
            ("funaya-aws", "funaya-wire", true),
            ("funaya-aws", "funaya-registry", true),
            ("funaya-aws", "funaya-meta", false),
            ("funaya-oci", "funaya-wire", false),
            ("funaya", "funaya-wire", false),
            ("funaya", "funaya-meta", true),
            ("funaya-registry", "funaya-identity", false),
            ("funaya-registry", "funaya-rules", true),
            ("funaya-gate", "funaya-registry", false),
            ("funaya-gate", "tokio", true),
            ("funaya-meta", "funaya-types", true),
            ("funaya-meta", "funaya-blobs", false),
            ("funaya-sigv4", "funaya-types", true),
            ("funaya-sigv4", "http", false),
            ("funaya-types", "tokio", false),
            ("funaya-aws", "funaya", false),
            ("funaya-aws", "funaya-testkit", false),
            ("funaya-testkit", "funaya", true),
        ];
        for (importer, imported, allowed) in cases {
            let package = Package {
                name: importer.into(),
                manifest_path: format!("/x/{importer}/Cargo.toml"),
                dependencies: vec![Dependency { name: imported.into(), kind: None }],
            };
            assert_eq!(package_faults(&package).is_empty(), allowed, "{importer} imports {imported}");
        }
    }

    #[test]
    fn texts() {
        let cases = [
            ("crates/funaya-x/src/a.rs", "x.unwrap()", false),
            ("crates/funaya-x/src/a.rs", "#[cfg(test)]\nx.unwrap()", true),
            ("crates/funaya-x/tests/a.rs", "x.unwrap()", true),
            ("crates/funaya-x/src/a.rs", "eprintln!()", false),
            ("crates/funaya/src/a.rs", "println!()", true),
            ("crates/funaya-x/src/a.rs", "// println!() of old", true),
            ("crates/funaya-x/src/a.rs", "#![forbid(unsafe_code)]", true),
            ("crates/funaya-x/tests/a.rs", "unsafe { x }", false),
            ("crates/funaya-x/src/a.rs", "Instant::now()", true),
            ("crates/funaya-rules/src/a.rs", "Instant::now()", false),
            ("crates/funaya-rules/src/aB.rs", "", false),
            ("docs/a.md", "see Issue #4", false),
        ];
        for (path, text, tidy) in cases {
            assert_eq!(file_faults(path, text).is_empty(), tidy, "{path}: {text}");
        }
        assert!(!source_faults("a.rs", &"\n".repeat(LINES_MAX + 1)).is_empty());
    }
}
