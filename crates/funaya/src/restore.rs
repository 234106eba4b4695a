//! `funaya restore`: bringing back what was deleted.

use clap::Subcommand;
use funaya_registry::Place;
use funaya_types::{Digest, ImageTag, RepositoryName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    data::Failed,
    house::House,
    operator::{Lines, Outcome, say},
};

/// What to bring back.
#[derive(Clone, Debug, Subcommand, Serialize, Deserialize)]
pub(crate) enum Restore {
    /// List what can be brought back
    List {
        /// Only of this repository
        #[arg(long)]
        repository: Option<String>,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Bring back an image, with the tags that went with it: team/app@sha256:…
    Image {
        /// Repository and digest
        image: String,
    },
    /// Let a tag name again what it named before: team/app:v1
    Tag {
        /// Repository and tag
        tag: String,
        /// What it named then, e.g. 2026-11-24T12:00:00Z; without it: before its last change
        #[arg(long)]
        at: Option<String>,
    },
    /// Bring back a repository with its settings, policies and images
    Repository {
        /// Its name
        name: String,
    },
    /// Print the digest that a tag named at a time: team/app:v1
    Resolve {
        /// Repository and tag
        tag: String,
        /// When, e.g. 2026-11-24T12:00:00Z
        #[arg(long)]
        at: String,
    },
}

pub(crate) async fn perform(house: &House, what: &Restore, lines: &Lines) -> Outcome {
    let (hall, upkeep, now) = (&house.hall, house.gate.upkeep(), house.gate.now());
    match what {
        Restore::List { repository, json } => return list(house, repository.as_deref(), *json, lines).await,
        Restore::Image { image } => {
            let (name, digest) = image.split_once('@').ok_or("name the image as team/app@sha256:…")?;
            let (place, digest) = (place(house, name)?, digest.parse::<Digest>()?);
            let restored = hall.restore_image(upkeep, &place, &digest, now).await?;
            say(lines, format!("{name}@{digest} is back{}", tags_text(&restored.tags, " with "))).await;
            if restored.children > 0 {
                say(lines, format!("and {} manifests that it names", restored.children)).await;
            }
            if !restored.taken.is_empty() {
                say(lines, format!("left alone, as they name others now: {}", tags_text(&restored.taken, ""))).await;
            }
        }
        Restore::Tag { tag, at } => {
            let (place, tag) = tag_of(house, tag)?;
            let at = at.as_deref().map(time).transpose()?;
            let digest = hall.restore_tag(upkeep, &place, &tag, at, now).await?;
            say(lines, format!("{}:{tag} names {digest}", place.repository)).await;
        }
        Restore::Repository { name } => {
            let place = place(house, name)?;
            let deleted_at = hall.restore_repository(upkeep, &place, now).await?;
            say(lines, format!("{name}, deleted at {}, is back", deleted_at.iso8601())).await;
        }
        Restore::Resolve { tag, at } => {
            let (place, tag) = tag_of(house, tag)?;
            match hall.resolve_tag(upkeep, &place, &tag, time(at)?).await? {
                Some(digest) => say(lines, digest.to_string()).await,
                None => return Err(format!("{}:{tag} named nothing then", place.repository).into()),
            }
        }
    }
    Ok(true)
}

async fn list(house: &House, repository: Option<&str>, as_json: bool, lines: &Lines) -> Outcome {
    let registry = house.gate.default_registry();
    let all = house.hall.deleted(house.gate.upkeep(), registry, house.gate.now()).await?;
    for deleted in all.iter().filter(|deleted| repository.is_none_or(|name| deleted.repository.as_str() == name)) {
        let (at, until) = (deleted.deleted_at.iso8601(), deleted.purge_at.iso8601());
        let name = &deleted.repository;
        if as_json {
            let tags: Vec<&str> = deleted.tags.iter().map(ImageTag::as_str).collect();
            let mut line = json!({"repositoryName": name.as_str(), "deletedAt": at, "restorableUntil": until});
            match deleted.digest {
                Some(digest) => {
                    line["imageDigest"] = json!(digest.to_string());
                    line["imageTags"] = json!(tags);
                    line["repositoryIsDeleted"] = json!(deleted.repository_is_deleted);
                }
                None => line["images"] = json!(deleted.images),
            }
            say(lines, line.to_string()).await;
            continue;
        }
        let what = match deleted.digest {
            Some(digest) => format!("{name}@{digest}{}", tags_text(&deleted.tags, " ")),
            None => format!("{name} (repository, {} images)", deleted.images),
        };
        say(lines, format!("{at}  until {until}  {what}")).await;
    }
    Ok(true)
}

fn tags_text(tags: &[ImageTag], before: &str) -> String {
    let tags: Vec<&str> = tags.iter().map(ImageTag::as_str).collect();
    if tags.is_empty() { String::new() } else { format!("{before}{}", tags.join(", ")) }
}

fn place(house: &House, name: &str) -> Result<Place, Failed> {
    let name: RepositoryName = name.parse()?;
    Ok(house.hall.repository_place(house.gate.upkeep(), house.gate.default_registry(), name))
}

fn tag_of(house: &House, text: &str) -> Result<(Place, ImageTag), Failed> {
    let (name, tag) = text.split_once(':').ok_or("name the tag as team/app:v1")?;
    Ok((place(house, name)?, tag.parse()?))
}

fn time(text: &str) -> Result<Timestamp, Failed> {
    let wrong = || format!("`{text}` is not a time such as 2026-11-24T12:00:00Z");
    Ok(Timestamp::parse_iso8601(text).ok_or_else(wrong)?)
}
