//! The server under test: a child process on a folder of its own.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// One sentence.
pub type Failure = String;

/// The root's access key of every server under test.
pub const ACCESS_KEY: &str = "AKIAHARNESS";
/// Its secret.
pub const SECRET_KEY: &str = "harness-secret-key";
/// The default Region.
pub const REGION: &str = "us-east-1";

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub url: String,
}

impl Server {
    /// Starts it and waits until it says that it is ready. What it logs goes where the caller's errors go.
    pub fn start(bin: &Path, data: &Path, settings: &[(&str, &str)]) -> Result<Self, Failure> {
        Self::start_with_log(bin, data, settings, Stdio::inherit())
    }

    /// The same, with a place for what it logs.
    pub fn start_with_log(bin: &Path, data: &Path, settings: &[(&str, &str)], log: Stdio) -> Result<Self, Failure> {
        let mut child = Command::new(bin)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .envs([
                ("FUNAYA_ROOT_ACCESS_KEY_ID", ACCESS_KEY),
                ("FUNAYA_ROOT_SECRET_ACCESS_KEY", SECRET_KEY),
                ("FUNAYA_REGION", REGION),
                ("FUNAYA_ACCOUNT", "123456789012"),
                ("FUNAYA_RATE_QUOTAS", "off"),
                ("FUNAYA_LOG", "error"),
            ])
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{} can't be started: {error}", bin.display()))?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(|error| error.to_string())?;
        }
        match line.trim().strip_prefix("funaya ready on ") {
            Some(url) => Ok(Self { url: url.into(), child }),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("the server did not become ready on {}", data.display()))
            }
        }
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and waits; true if it ended well.
    pub fn terminate(mut self) -> bool {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        asked.is_ok_and(|status| status.success()) && self.child.wait().is_ok_and(|status| status.success())
    }

    /// SIGKILL: no chance to tidy up.
    pub fn kill(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder that is gone after the run.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new folder below the system's temporary one.
    pub fn new(name: &str) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!(
            "funaya-{name}-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        std::fs::create_dir_all(&path).map_err(|error| error.to_string())?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs an operator command (words with spaces between) on the folder; its output if it ended well.
pub fn operator(bin: &Path, data: &Path, command: &str) -> Result<String, Failure> {
    let out = Command::new(bin)
        .args(command.split(' '))
        .arg("--data")
        .arg(data)
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() { Ok(text) } else { Err(format!("funaya {command} failed:\n{text}")) }
}
