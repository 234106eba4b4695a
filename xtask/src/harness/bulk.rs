//! Rows in bulk, straight into the SQLite database of a stopped server: millions of images in
//! minutes. What is written is what pushes would have left, but for the audit records.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use funaya_testkit::{Client, Dice, Gone, Server, digest};
use funaya_types::{Digest, StorageKey};
use rusqlite::{Connection, params};
use serde_json::json;

use super::{
    doors::{Door, IMAGE},
    model::{Layer, manifest},
};
use crate::Failure;

/// The repository whose image all others are copies of.
const SEED: &str = "populate/seed";
/// Images of each repository that are attached to its first one.
const ATTACHED: u64 = 20;
/// Where a manifest's note stands, which makes its digest.
const NOTE: &str = "4242424242";
const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;

const REPOSITORY: &str = "INSERT INTO repositories (rid, repo_id, name, created_at, mutability, scan_on_push, \
    image_count, deleted_at, deleted_name, ver) VALUES (?1, ?2, ?3, ?4, 'MUTABLE', 0, ?5, 0, '', 1)";
const LINK: &str = "INSERT INTO repo_blobs (rid, repo_id, digest, blob_id, size, media_type, keep_until, deleted_at) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)";
const MANIFEST: &str = "INSERT INTO manifests (rid, repo_id, man_id, digest, media_type, artifact_type, subject, \
    manifest_bytes, image_bytes, pushed_at, deleted_at, tag_count, ver) \
    VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6, ?7, 4000, ?8, ?9, CASE WHEN ?9 = 0 THEN 1 ELSE -1 END, 1)";
const BODY: &str = "INSERT INTO manifest_bodies (rid, repo_id, man_id, body) VALUES (?1, ?2, ?3, ?4)";
const EDGE: &str = "INSERT INTO manifest_blobs (rid, repo_id, blob_id, man_id) VALUES (?1, ?2, ?3, ?4)";
const TAG: &str = "INSERT INTO tags (rid, repo_id, tag, man_id, updated_at, ver) VALUES (?1, ?2, ?3, ?4, ?5, 1)";
const TAG_EVENT: &str = "INSERT INTO tag_history (rid, repo_id, tag, at, man_id) VALUES (?1, ?2, ?3, ?4, ?5)";
const BLOB: &str = "INSERT INTO blobs (rid, blob_id, dom_id, digest, size, storage_key, wrapped_key, keep_until) \
    VALUES (?1, ?2, 1, ?3, 100, ?4, x'00', ?5)";
const TOMBSTONE: &str =
    "INSERT INTO tombstones (rid, repo_id, man_id, deleted_at, purge_at) VALUES (?1, ?2, ?3, ?4, ?5)";

/// A stopped server's database, open for filling.
pub(crate) struct Bulk {
    database: Connection,
    rid: i64,
    /// Digest, row and size of the layers that all images share.
    layers: Vec<(Vec<u8>, i64, i64)>,
    /// A manifest of these layers up to its note, and from there on.
    template: (String, String),
    next_id: i64,
    now: i64,
}

fn failed(error: rusqlite::Error) -> Failure {
    format!("the database can't be filled: {error}")
}

fn raw(text: &str) -> Result<Vec<u8>, Failure> {
    Ok(text.parse::<Digest>().map_err(|_| format!("{text} is no digest"))?.to_bytes().to_vec())
}

impl Bulk {
    /// Lets a server make the folder and store the layers, stops it, and opens its database.
    pub(crate) fn open(bin: &Path, data: &Path) -> Result<Self, Failure> {
        let gone = |Gone| "the server went away".to_owned();
        let layers = [Layer { seed: 1, size: 500 }, Layer { seed: 2, size: 4_000 }];
        let body = manifest(&layers, NOTE.parse().unwrap_or_default());
        let server = Server::start(bin, data, &[])?;
        let client = Client::new(&server.url).map_err(gone)?;
        client.ecr("CreateRepository", &json!({"repositoryName": SEED})).map_err(gone)?;
        for layer in &layers {
            Door::Registry.push_layer(&client, SEED, &layer.bytes(), &mut Dice::new(1)).map_err(gone)?;
        }
        Door::Registry.put_image(&client, SEED, Some("v1"), IMAGE, &body).map_err(gone)?;
        server.terminate();
        let database = Connection::open(data.join("meta.db")).map_err(failed)?;
        // A fill that is cut off is begun anew: nothing needs to be durable until its end, and no
        // page needs to be written to a log first. The server sets its own mode when it starts.
        let pragmas = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; \
            PRAGMA cache_size = -500000;";
        database.execute_batch(pragmas).map_err(failed)?;
        let rid = database.query_row("SELECT rid FROM registries", [], |row| row.get(0)).map_err(failed)?;
        let text = String::from_utf8_lossy(&body).into_owned();
        let (before, after) = text.split_once(NOTE).ok_or("a manifest has no note")?;
        let template = (before.to_owned(), after.to_owned());
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let mut bulk = Self { database, rid, layers: Vec::new(), template, next_id: now, now };
        for layer in &layers {
            bulk.layers.push(bulk.stored(layer)?);
        }
        Ok(bulk)
    }

    fn stored(&self, layer: &Layer) -> Result<(Vec<u8>, i64, i64), Failure> {
        let digest = raw(&digest(&layer.bytes()))?;
        let find = "SELECT blob_id FROM blobs WHERE rid = ?1 AND digest = ?2";
        let blob_id = self.database.query_row(find, params![self.rid, digest], |row| row.get(0)).map_err(failed)?;
        Ok((digest, blob_id, layer.size as i64))
    }

    fn id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    fn run(&self, statement: &str, values: impl rusqlite::Params) -> Result<(), Failure> {
        self.database.prepare_cached(statement).and_then(|mut ready| ready.execute(values)).map(drop).map_err(failed)
    }

    fn body(&self, note: i64, subject: Option<&str>) -> String {
        let (before, after) = &self.template;
        let body = format!("{before}{note}{after}");
        match subject {
            None => body,
            Some(subject) => body.replacen(
                "{",
                &format!("{{\"subject\":{{\"mediaType\":\"{IMAGE}\",\"digest\":\"{subject}\",\"size\":500}},"),
                1,
            ),
        }
    }

    /// A repository with so many images, each with a tag; the first have others attached to it.
    pub(crate) fn repository(&mut self, name: &str, images: u64) -> Result<(), Failure> {
        self.database.execute_batch("BEGIN").map_err(failed)?;
        let repo_id = self.add_repository(name, images)?;
        for (digest, blob_id, size) in &self.layers {
            self.run(LINK, params![self.rid, repo_id, digest, blob_id, size, "application/octet-stream", self.now])?;
        }
        let mut first = None;
        for number in 0..images {
            let man_id = self.id();
            let subject: Option<String> = first.clone().filter(|_| number <= ATTACHED);
            let at = self.now - DAY_MICROS + number as i64;
            let own = self.add_image(repo_id, man_id, subject.as_deref(), at, 0)?;
            first.get_or_insert(own);
            for (_, blob_id, _) in &self.layers {
                self.run(EDGE, params![self.rid, repo_id, blob_id, man_id])?;
            }
            let tag = format!("v{number:06}");
            self.run(TAG, params![self.rid, repo_id, tag, man_id, at])?;
            self.run(TAG_EVENT, params![self.rid, repo_id, tag, at, man_id])?;
        }
        self.database.execute_batch("COMMIT").map_err(failed)
    }

    fn add_repository(&mut self, name: &str, images: u64) -> Result<i64, Failure> {
        let repo_id = self.id();
        self.run(REPOSITORY, params![self.rid, repo_id, name, self.now, images as i64])?;
        self.run("UPDATE registries SET repo_count = repo_count + 1 WHERE rid = ?1", params![self.rid])?;
        Ok(repo_id)
    }

    fn add_image(
        &self,
        repo_id: i64,
        man_id: i64,
        subject: Option<&str>,
        at: i64,
        deleted_at: i64,
    ) -> Result<String, Failure> {
        let body = self.body(man_id, subject);
        let own = digest(body.as_bytes());
        let subject = subject.map(raw).transpose()?;
        let bytes = body.len() as i64;
        self.run(MANIFEST, params![self.rid, repo_id, man_id, raw(&own)?, IMAGE, subject, bytes, at, deleted_at])?;
        self.run(BODY, params![self.rid, repo_id, man_id, body.as_bytes()])?;
        Ok(own)
    }

    /// A repository of deleted images whose undo window is over: each has a layer of its own,
    /// an object on disk, that nothing else needs.
    pub(crate) fn garbage(&mut self, data: &Path, name: &str, images: u64) -> Result<(), Failure> {
        self.database.execute_batch("BEGIN").map_err(failed)?;
        let repo_id = self.add_repository(name, 0)?;
        let past = self.now - DAY_MICROS;
        for _ in 0..images {
            let (man_id, blob_id) = (self.id(), self.id());
            self.add_image(repo_id, man_id, None, past, past)?;
            let layer = raw(&digest(&blob_id.to_le_bytes()))?;
            let mut random = [0; 10];
            random.copy_from_slice(&layer[1..11]);
            let key = StorageKey::new(u64::try_from(past / 1_000).unwrap_or_default(), random);
            write_object(data, key.as_str())?;
            self.run(BLOB, params![self.rid, blob_id, layer, key.as_str(), past])?;
            self.run(LINK, params![self.rid, repo_id, layer, blob_id, 100, "application/octet-stream", past])?;
            self.run(EDGE, params![self.rid, repo_id, blob_id, man_id])?;
            self.run(TOMBSTONE, params![self.rid, repo_id, man_id, past, self.now - 1])?;
        }
        self.database.execute_batch("COMMIT").map_err(failed)
    }
}

fn write_object(data: &Path, key: &str) -> Result<(), Failure> {
    let folder = data.join("blobs").join(&key[key.len() - 2..]);
    let path = folder.join(key);
    let written = std::fs::write(&path, [0; 200]).or_else(|_| {
        std::fs::create_dir_all(&folder)?;
        std::fs::write(&path, [0; 200])
    });
    written.map_err(|error| format!("{} can't be written: {error}", path.display()))
}
