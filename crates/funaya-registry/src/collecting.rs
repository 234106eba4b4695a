//! What the collector would remove, and why something stays or went (D5).

use std::fmt::Write as _;

use funaya_gate::Upkeep;
use funaya_ports::{audit, collecting::Removable};
use funaya_types::{Digest, Registry, Timestamp};
use serde_json::Value;

use crate::{Error, Registries, repositories::only_store};

const ROUND: u32 = 10_000;
const PAGE: u32 = 200;

impl Registries {
    /// What the collector would remove now.
    pub async fn removable(&self, _: Upkeep, now: Timestamp) -> Result<Vec<Removable>, Error> {
        self.parts.collecting.removable(now, ROUND).await.map_err(only_store)
    }

    /// Why a digest's bytes are there, or went; a line each.
    pub async fn explain_digest(
        &self,
        _: Upkeep,
        registry: &Registry,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Vec<String>, Error> {
        let known = self.parts.collecting.known(registry, digest).await.map_err(only_store)?;
        let mut lines = Vec::new();
        for (repository, deleted_at) in &known.images {
            lines.push(match deleted_at {
                None => format!("an image of {repository}"),
                Some(at) => format!("an image of {repository}, deleted {}, can be restored", at.iso8601()),
            });
        }
        if let Some((bytes, keep_until)) = known.blob {
            lines.push(format!("stored, {bytes} bytes{}", promise(keep_until, now)));
        }
        for link in &known.links {
            let mut line = format!("held by {}{}", link.repository, promise(link.keep_until, now));
            if let Some(at) = link.repository_deleted_at {
                // Writing to a string does not fail.
                let _ = write!(line, ", which was deleted {}", at.iso8601());
            }
            lines.push(line);
            for (image, deleted_at) in &link.images {
                let gone = deleted_at.map(|at| format!(", deleted {}", at.iso8601())).unwrap_or_default();
                lines.push(format!("  needed by {image}{gone}"));
            }
            if link.images.is_empty() {
                lines.push("  needed by no image: it goes when the promise ends".into());
            }
        }
        if known.blob.is_some() && known.links.is_empty() {
            lines.push("held by no repository: it goes when the promise ends".into());
        }
        lines.extend(self.removals(registry, &digest.to_string()).await?);
        Ok(lines)
    }

    /// What the collector's records tell of a digest, in the order of its steps: the records of one round have one time.
    async fn removals(&self, registry: &Registry, digest: &str) -> Result<Vec<String>, Error> {
        let (mut after, mut removals) = ((i64::MIN, String::new()), Vec::new());
        loop {
            let page = self.parts.meta.audit(after, PAGE).await.map_err(only_store)?;
            let Some((_, last, _)) = page.last() else { break };
            after = last.clone();
            let own = page.iter().filter(|(of, _, body)| of == registry && body.contains("GarbageCollectionEvent"));
            for (_, _, body) in own.filter(|(_, _, body)| body.contains(digest)) {
                // One that can't be read is another command's matter.
                for (_, event) in audit::events(body).unwrap_or_default() {
                    removals.extend(removed(&event, digest));
                }
            }
        }
        removals.sort();
        Ok(removals.into_iter().map(|(_, _, line)| line).collect())
    }
}

fn promise(keep_until: Timestamp, now: Timestamp) -> String {
    if keep_until > now { format!(", promised until {}", keep_until.iso8601()) } else { String::new() }
}

/// When, at which step of the round, and the line that tells it.
fn removed(event: &audit::Event, digest: &str) -> Vec<(i64, usize, String)> {
    let at = Timestamp::from_micros(event.at_micros).iso8601();
    let list = event.details.as_ref().and_then(|details| details["removed"].as_array());
    let mine = list.into_iter().flatten().filter_map(|what| {
        let kinds = [("image", "an image"), ("layer", "a layer"), ("blob", "a blob")];
        let (step, (_, kind)) = kinds.into_iter().enumerate().find(|(_, (kind, _))| what[*kind] == digest)?;
        let text = |name: &str| what.get(name).and_then(Value::as_str);
        let place = text("repositoryName").map(|name| format!(" of {name}")).unwrap_or_default();
        let bytes = text("bytesGoAt").map(|at| format!("; its bytes leave the disk after {at}")).unwrap_or_default();
        let why = text("why").unwrap_or_default();
        Some((event.at_micros, step, format!("{at} removed as {kind}{place}: {why}{bytes}")))
    });
    mine.collect()
}
