//! Keys of identity providers, from files: for machines that call nobody.

use std::path::PathBuf;

use funaya_ports::{
    Fut,
    issuers::{IssuerError, IssuerKeys},
};
use serde::Deserialize;

/// The largest file.
const FILE_MAX: u64 = 128 * 1024;

/// Reads key sets from files, anew each time, so that they can be exchanged.
pub struct FileIssuers {
    pairs: Vec<(String, PathBuf)>,
    folders: Vec<PathBuf>,
}

/// A key set in a folder says whose it is.
#[derive(Deserialize)]
struct Named {
    issuer: String,
}

impl FileIssuers {
    /// `setting`: issuers with the files of their key sets (`https://token.example.com=/etc/keys.json`), and folders
    /// whose files name their `issuer` beside the `keys`.
    pub fn new(setting: &[String]) -> Self {
        let (mut pairs, mut folders) = (Vec::new(), Vec::new());
        for part in setting {
            match part.split_once('=') {
                Some((issuer, path)) => pairs.push((issuer.trim_end_matches('/').to_owned(), path.into())),
                None => folders.push(part.into()),
            }
        }
        Self { pairs, folders }
    }

    async fn find(&self, issuer: &str) -> Result<String, IssuerError> {
        let issuer = issuer.trim_end_matches('/');
        if let Some((_, path)) = self.pairs.iter().find(|(known, _)| known == issuer) {
            return read(path.clone()).await;
        }
        for folder in &self.folders {
            let mut files = tokio::fs::read_dir(folder).await.map_err(|_| IssuerError::Unreachable)?;
            while let Some(file) = files.next_entry().await.map_err(|_| IssuerError::Unreachable)? {
                let Ok(text) = read(file.path()).await else { continue };
                let named: Option<Named> = serde_json::from_str(&text).ok();
                if named.is_some_and(|named| named.issuer.trim_end_matches('/') == issuer) {
                    return Ok(text);
                }
            }
        }
        Err(IssuerError::Unreachable)
    }
}

async fn read(path: PathBuf) -> Result<String, IssuerError> {
    let metadata = tokio::fs::metadata(&path).await.map_err(|_| IssuerError::Unreachable)?;
    if !metadata.is_file() || metadata.len() > FILE_MAX {
        return Err(IssuerError::Unusable);
    }
    tokio::fs::read_to_string(&path).await.map_err(|_| IssuerError::Unusable)
}

impl IssuerKeys for FileIssuers {
    fn keys<'a>(&'a self, issuer: &'a str) -> Fut<'a, Result<String, IssuerError>> {
        Box::pin(self.find(issuer))
    }
}
