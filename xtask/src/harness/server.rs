//! The server under test: a child process on a folder of its own.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::Failure;

pub(crate) const ACCESS_KEY: &str = "AKIAHARNESS";
pub(crate) const SECRET_KEY: &str = "harness-secret-key";
pub(crate) const REGION: &str = "us-east-1";

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    /// Starts it and waits until it says that it is ready.
    pub(crate) fn start(bin: &Path, data: &Path, settings: &[(&str, &str)]) -> Result<Self, Failure> {
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

    /// SIGKILL: no chance to tidy up.
    pub(crate) fn kill(mut self) {
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

/// A folder that is gone after the run.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("funaya-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| error.to_string())?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs an operator command on the folder; its output if it ended well.
pub(crate) fn operator(bin: &Path, data: &Path, command: &str) -> Result<String, Failure> {
    let out = Command::new(bin).args([command, "--data"]).arg(data).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() { Ok(text) } else { Err(format!("funaya {command} failed:\n{text}")) }
}
