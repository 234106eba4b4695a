//! A real PostgreSQL server for tests, one a process.
//!
//! It listens on a Unix socket in its own temporary folder only. A shell
//! watches over it: when the test process ends, however it ends, the pipe to
//! the shell closes, the server stops and its folder goes.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// Starts a server, prints its folder, stops it at the end of the standard input. `$1`: the programs.
const WATCH: &str = r#"
set -e
dir=$(mktemp -d /tmp/funaya-postgres.XXXXXX)
trap 'rm -rf "$dir"' EXIT
"$1/initdb" --no-sync --auth=trust --username=funaya --encoding=UTF8 --locale=C -D "$dir/data" </dev/null >"$dir/log" 2>&1 ||
    { cat "$dir/log" >&2; exit 1; }
"$1/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c fsync=off -c full_page_writes=off \
    -c synchronous_commit=off -c max_connections=300 -c deadlock_timeout=100ms -c autovacuum=off \
    </dev/null >"$dir/log" 2>&1 &
server=$!
for i in $(seq 300); do
    "$1/pg_isready" -q -h "$dir" </dev/null && break
    kill -0 $server || { cat "$dir/log" >&2; exit 1; }
    sleep 0.1
done
echo "$dir"
read -r _ || true
kill -QUIT $server
wait $server || true
"#;

/// A database of its own on the server of this test process.
#[derive(Debug)]
pub struct Database {
    folder: String,
    name: String,
    url: String,
}

impl Database {
    /// How to connect, as `tokio-postgres` reads it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The same as a URL, as the product's setting has it.
    pub fn as_setting(&self) -> String {
        format!("postgres://funaya@{}/{}", self.folder.replace('/', "%2F"), self.name)
    }
}

/// Makes an empty database; starts the server at the first call.
///
/// # Panics
/// If PostgreSQL is not installed or does not start.
pub fn start_postgres() -> Database {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let server = SERVER.get_or_init(Server::start);
    let name = format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let made = Command::new(server.programs.join("createdb"))
        .args(["--host", &server.folder, "--username", "funaya", &name])
        .output()
        .expect("createdb starts");
    assert!(made.status.success(), "createdb {name}: {}", String::from_utf8_lossy(&made.stderr));
    let url = format!("host={} user=funaya dbname={name}", server.folder);
    Database { folder: server.folder.clone(), name, url }
}

struct Server {
    programs: PathBuf,
    folder: String,
    /// Holds the pipe open.
    _watch: Child,
}

impl Server {
    fn start() -> Self {
        let programs = programs().unwrap_or_else(|| {
            panic!("PostgreSQL is not installed: these tests need /usr/lib/postgresql/*/bin (Debian: `apt-get install postgresql`)")
        });
        let mut command = shell();
        command.args(["-c", WATCH, "watch"]).arg(&programs).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut watch = command.spawn().expect("the shell that watches PostgreSQL starts");
        let mut folder = String::new();
        let out = watch.stdout.take().expect("the shell has an output");
        BufReader::new(out).read_line(&mut folder).expect("the shell prints the server's folder");
        let folder = folder.trim().to_owned();
        assert!(!folder.is_empty(), "PostgreSQL did not start; its log stands above");
        Self { programs, folder, _watch: watch }
    }
}

/// A shell; as user `postgres` if we are root, since the server refuses to run as root.
fn shell() -> Command {
    let id = Command::new("id").arg("-u").output().expect("id starts");
    if id.stdout.trim_ascii() != b"0" {
        return Command::new("sh");
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--", "sh"]).current_dir("/");
    command
}

/// The newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, programs): &(u32, PathBuf)| Path::new(programs).join("postgres").exists())
        .collect();
    found.sort();
    found.pop().map(|(_, programs)| programs)
}
