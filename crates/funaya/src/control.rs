//! The local socket in the data folder by which operator commands reach a running server.
//!
//! One line of JSON asks; lines of `out <text>` answer, and at last `exit <code>`.
//! The folder is the owner's alone (0700), and so is the socket.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
};

use crate::{
    data::Failed,
    house::House,
    operator::{self, Task},
    settings::Settings,
};

const NAME: &str = "control.sock";
/// A policy may be part of the question.
const QUESTION_MAX: u64 = 256 * 1024;

/// Answers operators until the process ends.
pub(crate) fn listen(house: Arc<House>, settings: &Settings) -> Result<(), Failed> {
    // The lock is ours, so a socket that is there was left by a crash.
    remove(&settings.data);
    let (_folder, path) = short_path(&settings.data)?;
    let listener = UnixListener::bind(&path).map_err(|error| {
        format!("the control socket `{}` can't be made: {error}", settings.data.join(NAME).display())
    })?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let house = house.clone();
            tokio::spawn(async move {
                if let Err(error) = answer(house, stream).await {
                    tracing::debug!(%error, "an operator went away");
                }
            });
        }
    });
    Ok(())
}

/// The socket's path through an open folder: a socket's name may have 107 bytes only,
/// a data folder's more.
fn short_path(folder: &Path) -> io::Result<(File, PathBuf)> {
    let folder = File::open(folder)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
    Ok((folder, path))
}

pub(crate) fn remove(folder: &Path) {
    // Not there: as wanted.
    let _ = std::fs::remove_file(folder.join(NAME));
}

async fn answer(house: Arc<House>, stream: UnixStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut question = String::new();
    BufReader::new(reader.take(QUESTION_MAX)).read_line(&mut question).await?;
    let Ok(task) = serde_json::from_str::<Task>(&question) else {
        return writer.write_all(b"out the server does not know this command\nexit 1\n").await;
    };
    let (lines, mut out) = tokio::sync::mpsc::channel(256);
    let done = operator::spawn(house, task, lines);
    while let Some(text) = out.recv().await {
        for line in text.lines() {
            writer.write_all(format!("out {line}\n").as_bytes()).await?;
        }
    }
    let code = if done.await.unwrap_or(false) { 0 } else { 1 };
    writer.write_all(format!("exit {code}\n").as_bytes()).await
}

/// Asks the server that runs on this folder; `None` if none does.
pub(crate) async fn ask(folder: &Path, task: &Task) -> Result<Option<ExitCode>, Failed> {
    let Ok((_folder, path)) = short_path(folder) else { return Ok(None) };
    let Ok(stream) = UnixStream::connect(path).await else { return Ok(None) };
    let (reader, mut writer) = stream.into_split();
    writer.write_all(format!("{}\n", serde_json::to_string(task)?).as_bytes()).await?;
    let mut lines = BufReader::new(reader).lines();
    let mut out = io::stdout();
    while let Some(line) = lines.next_line().await? {
        if let Some(text) = line.strip_prefix("out ") {
            if io::Write::write_all(&mut out, format!("{text}\n").as_bytes()).is_err() {
                // Nobody reads on, as with `| head`.
                return Ok(Some(ExitCode::SUCCESS));
            }
        } else if let Some(code) = line.strip_prefix("exit ") {
            return Ok(Some(if code == "0" { ExitCode::SUCCESS } else { ExitCode::FAILURE }));
        }
    }
    Err("the server ended before the command was done".into())
}
