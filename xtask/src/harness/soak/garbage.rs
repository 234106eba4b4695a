//! How soon garbage goes, by what the product tells its operator: the collector's audit
//! records say what was removed, when and since when it could go; the disk says the rest.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use funaya_types::Timestamp;
use serde_json::Value;

use super::Spans;
use crate::Failure;

/// The objects on disk at a moment.
pub(super) struct Look {
    at: i64,
    objects: HashSet<String>,
}

impl Look {
    pub(super) fn new(data: &Path) -> Self {
        let mut objects = HashSet::new();
        for shard in std::fs::read_dir(data.join("blobs")).into_iter().flatten().flatten() {
            // A shard whose names can't be read has none.
            let names = std::fs::read_dir(shard.path()).into_iter().flatten().flatten();
            objects.extend(names.map(|name| name.file_name().to_string_lossy().into_owned()));
        }
        Self { at: now(), objects }
    }

    pub(super) fn count(&self) -> u64 {
        self.objects.len() as u64
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// What the records and the disk say.
#[derive(Default)]
pub(super) struct Report {
    /// Rounds of the collector that removed something.
    pub(super) cycles: BTreeSet<String>,
    /// Pieces of garbage by kind: how many, how many of them late, how late the latest was.
    pub(super) pieces: HashMap<&'static str, (u64, u64, i64)>,
    /// Images that lifecycle policies expired.
    pub(super) expired: u64,
}

/// Since when things could go, as far as the records have been read.
struct Reader<'a> {
    report: Report,
    undo: i64,
    grace: i64,
    /// Seconds within which a piece must go.
    soon: i64,
    /// When a digest's last link went.
    unlinked: HashMap<String, i64>,
    /// Blobs of the round that is being read, until all its links have been: a round's records have no order.
    blobs: (i64, Vec<(String, i64)>),
    looks: &'a [Look],
}

impl Report {
    /// Reads the audit log of a stopped or running server.
    pub(super) fn read(
        bin: &Path,
        data: &Path,
        spans: &Spans,
        soon: Duration,
        looks: &[Look],
    ) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| error.to_string();
        let mut child =
            Command::new(bin).args(["audit", "--data"]).arg(data).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        let mut reader = Reader {
            report: Self::default(),
            undo: seconds(spans.undo),
            grace: seconds(spans.grace),
            soon: seconds(soon),
            unlinked: HashMap::new(),
            blobs: (0, Vec::new()),
            looks,
        };
        for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufReader::lines) {
            let line = line.map_err(failed)?;
            if line.contains("GarbageCollectionEvent") || line.contains("PolicyExecutionEvent") {
                reader.take(&serde_json::from_str(&line).map_err(|error| error.to_string())?);
            }
        }
        child.wait().map_err(failed)?;
        reader.blobs_of_round(i64::MAX);
        Ok(reader.report)
    }

    pub(super) fn total(&self) -> (u64, u64) {
        self.pieces.values().fold((0, 0), |(all, late), piece| (all + piece.0, late + piece.1))
    }
}

impl Reader<'_> {
    fn take(&mut self, record: &Value) {
        let details = &record["serviceEventDetails"];
        if record["eventName"] == "PolicyExecutionEvent" {
            self.report.expired += details["lifecycleEventImageActions"].as_array().map_or(0, Vec::len) as u64;
            return;
        }
        let text = record["eventTime"].as_str().unwrap_or_default();
        let Some(at) = seconds(text) else { return };
        self.report.cycles.insert(text.to_owned());
        self.blobs_of_round(at);
        for what in details["removed"].as_array().into_iter().flatten() {
            self.removed(at, what);
        }
    }

    fn removed(&mut self, at: i64, what: &Value) {
        let since = what["why"].as_str().and_then(time_in);
        let text = |name: &str| what[name].as_str().map(str::to_owned);
        if what["image"].is_string() {
            self.note("images", since.map(|deleted| at - deleted - self.undo));
        } else if what["repository"].is_boolean() {
            // The round that finds its time come may find layers still: then it waits for a grace more.
            self.note("repositories", since.map(|deleted| at - deleted - self.undo - self.soon - self.grace));
        } else if let Some(digest) = text("layer") {
            self.unlinked.insert(digest, at);
            self.note("layers", since.map(|kept| at - kept));
        } else if let Some(digest) = text("blob") {
            self.blobs.1.push((digest, since.unwrap_or(at)));
            let goes_at = text("bytesGoAt").as_deref().and_then(seconds);
            let key = text("object").unwrap_or_default();
            if let Some(goes_at) = goes_at {
                self.object(goes_at, &key);
            }
        }
    }

    /// Judges the blobs of the round before the one at `at`.
    fn blobs_of_round(&mut self, at: i64) {
        if at == self.blobs.0 {
            return;
        }
        let (round, blobs) = std::mem::replace(&mut self.blobs, (at, Vec::new()));
        for (digest, kept) in blobs {
            let unlinked = self.unlinked.get(&digest).copied().unwrap_or(i64::MIN);
            self.note("blobs", Some(round - kept.max(unlinked)));
        }
    }

    /// Late if a look at the disk found it when it should have been gone.
    fn object(&mut self, goes_at: i64, key: &str) {
        let found = |look: &&Look| look.objects.contains(key);
        let last = self.looks.iter().rev().find(found).map(|look| look.at / 1_000_000);
        self.note("objects", Some(last.map_or(0, |seen| seen - goes_at)));
    }

    fn note(&mut self, kind: &'static str, after: Option<i64>) {
        let entry = self.report.pieces.entry(kind).or_default();
        let after = after.unwrap_or(0);
        entry.0 += 1;
        entry.1 += u64::from(after > self.soon);
        entry.2 = entry.2.max(after);
    }
}

fn seconds(text: &str) -> Option<i64> {
    Some(Timestamp::parse_iso8601(text)?.micros() / 1_000_000)
}

/// The time that a sentence names.
fn time_in(text: &str) -> Option<i64> {
    text.split([' ', ',']).find_map(seconds)
}
