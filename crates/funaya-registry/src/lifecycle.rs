//! Lifecycle policies: put, preview, run (06-lifecycle-policies).
//!
//! A preview and a run judge by the same function on the same kind of snapshot, so they mark
//! the same images (LIFE-48).

use std::{collections::HashMap, sync::Arc, time::Duration};

use funaya_gate::{
    Action, Permit, Upkeep,
    action::{
        DeleteLifecyclePolicy, GetLifecyclePolicy, GetLifecyclePolicyPreview, PutLifecyclePolicy,
        StartLifecyclePolicyPreview,
    },
};
use funaya_ports::{
    StoreError, audit,
    lifecycle::{Attached, Candidate, Due, Expire, Expired, Preview, PreviewStatus},
    meta,
};
use funaya_rules::lifecycle::{Image, LifecyclePolicy, Limit, Rule, Selection};
use funaya_types::{Algorithm, RepositoryName, Timestamp, Wildcard};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::{Error, ImageRef, Listed, Place, Registries, error::Context, repositories::only_store};

/// Images that one transaction expires.
const EXPIRED_TOGETHER: usize = 50;
/// Images that one audit record tells of (TRAIL-23).
const RECORDED_TOGETHER: usize = 9;
/// Most tags of an image that a record lists (TRAIL-24).
const TAGS_RECORDED_MAX: usize = 100;
/// A preview that takes longer was cut off by a restart.
const PREVIEW_MAX: Duration = Duration::from_secs(600);
/// Images that one page looks at: a filter may leave out most of them, and then a page is short.
const LOOKED_AT_MAX: usize = 1_000;
/// Repositories looked for at a time.
const ROUND: u32 = 50;

/// The images that a policy would expire now.
struct Judged {
    /// Those that expire, each with the priority of its rule, in the order of their push.
    marked: Vec<(Candidate, u64)>,
}

/// A page of a preview.
pub struct PreviewPage {
    /// The preview itself.
    pub preview: Preview,
    /// Images of the page with the priorities of their rules; one that is gone meanwhile is left out.
    pub images: Vec<(Listed, u64)>,
    /// Where the next page begins.
    pub next: Option<usize>,
}

/// What one run of all policies did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifecycleRun {
    /// Policies evaluated.
    pub policies: u64,
    /// Images expired.
    pub expired: u64,
    /// Policies that could not be evaluated; they are tried again.
    pub failed: u64,
}

impl Registries {
    /// Attaches a policy in place of the one before (LIFE-41). With `token`, which a preview
    /// gave, only if it would still expire exactly what the preview showed.
    pub async fn put_lifecycle_policy(
        self: &Arc<Self>,
        permit: &Permit<PutLifecyclePolicy>,
        text: &str,
        token: Option<&str>,
    ) -> Result<(), Error> {
        let place = self.place(permit.registry(), permit.target());
        let policy = parse(text)?;
        if let Some(token) = token {
            let judged = self.judge(&place, policy, permit.now()).await?;
            if token != preview_token(text, judged.marked.iter().map(|(image, rule)| (image.row_id, *rule))) {
                return Err(Error::PreviewOutdated);
            }
        }
        let shown = json!({
            "registryId": place.registry.account.as_str(),
            "repositoryName": place.repository.as_str(),
            "lifecyclePolicyText": text,
        });
        let record = permit.record(shown);
        let put = self.parts.lifecycle.set_lifecycle(&place.registry, &place.repository, Some(text.into()), record);
        put.await.map_err(|error| Context::of(&place).error(error))
    }

    /// The attached policy (LIFE-42).
    pub async fn lifecycle_policy(&self, permit: &Permit<GetLifecyclePolicy>) -> Result<Attached, Error> {
        self.attached(permit, permit.target()).await
    }

    /// Takes the policy away and returns it.
    pub async fn delete_lifecycle_policy(&self, permit: &Permit<DeleteLifecyclePolicy>) -> Result<Attached, Error> {
        let place = self.place(permit.registry(), permit.target());
        let attached = self.attached(permit, permit.target()).await?;
        let record = permit.record(Value::Null);
        let done = self.parts.lifecycle.set_lifecycle(&place.registry, &place.repository, None, record).await;
        done.map_err(|error| Context::of(&place).error(error))?;
        Ok(attached)
    }

    async fn attached<A: Action>(&self, permit: &Permit<A>, name: &RepositoryName) -> Result<Attached, Error> {
        let place = self.place(permit.registry(), name);
        let found = self.parts.lifecycle.lifecycle(&place.registry, &place.repository).await;
        let found = found.map_err(|error| Context::of(&place).error(error))?;
        found.ok_or(Error::NoLifecyclePolicy(place))
    }

    /// Starts a preview of a policy, or of the attached one (LIFE-46), and returns its text.
    pub async fn start_lifecycle_preview(
        self: &Arc<Self>,
        permit: &Permit<StartLifecyclePolicyPreview>,
        text: Option<String>,
    ) -> Result<String, Error> {
        let place = self.place(permit.registry(), permit.target());
        let text = match text {
            Some(text) => text,
            None => self.attached(permit, permit.target()).await?.text,
        };
        let policy = parse(&text)?;
        let now = permit.now();
        let running = self.preview_of(&place).await?;
        let is_running = |preview: &Preview| {
            preview.status == PreviewStatus::InProgress && preview.started_at.plus(PREVIEW_MAX) > now
        };
        if running.as_ref().is_some_and(is_running) {
            return Err(Error::PreviewInProgress(place));
        }
        let preview =
            Preview { policy: text.clone(), started_at: now, status: PreviewStatus::InProgress, marked: Vec::new() };
        self.keep_preview(&place, preview.clone()).await?;
        let hall = self.clone();
        tokio::spawn(async move { hall.finish_preview(&place, policy, preview).await });
        Ok(text)
    }

    async fn finish_preview(&self, place: &Place, policy: LifecyclePolicy, mut preview: Preview) {
        match self.judge(place, policy, preview.started_at).await {
            Ok(judged) => {
                preview.status = PreviewStatus::Complete;
                preview.marked = judged.marked.iter().map(|(image, rule)| (image.row_id, *rule)).collect();
            }
            Err(error) => {
                tracing::error!(cause = %error.detail(), "a lifecycle preview failed");
                preview.status = PreviewStatus::Failed;
            }
        }
        if let Err(error) = self.keep_preview(place, preview).await {
            tracing::error!(cause = %error.detail(), "a lifecycle preview can't be kept");
        }
    }

    async fn keep_preview(&self, place: &Place, preview: Preview) -> Result<(), Error> {
        let kept = self.parts.lifecycle.put_preview(&place.registry, &place.repository, preview).await;
        kept.map_err(|error| Context::of(place).error(error))
    }

    async fn preview_of(&self, place: &Place) -> Result<Option<Preview>, Error> {
        let found = self.parts.lifecycle.preview(&place.registry, &place.repository).await;
        found.map_err(|error| Context::of(place).error(error))
    }

    /// A page of the newest preview (LIFE-47), from the image at `from` on; `wanted` filters.
    pub async fn lifecycle_preview(
        &self,
        permit: &Permit<GetLifecyclePolicyPreview>,
        from: usize,
        limit: usize,
        wanted: impl Fn(&Listed) -> bool,
    ) -> Result<PreviewPage, Error> {
        let place = self.place(permit.registry(), permit.target());
        let preview = self.preview_of(&place).await?.ok_or_else(|| Error::NoPreview(place.clone()))?;
        let mut images = Vec::new();
        let mut next = None;
        for (index, (row_id, rule)) in preview.marked.iter().enumerate().skip(from) {
            if images.len() == limit || index - from == LOOKED_AT_MAX {
                next = Some(index);
                break;
            }
            let image = self.parts.meta.image_by_row(&place.registry, &place.repository, *row_id).await;
            let Some(image) = image.map_err(|error| Context::of(&place).error(error))? else { continue };
            let listed = self.with_tags(&place, image).await?;
            if wanted(&listed) {
                images.push((listed, *rule));
            }
        }
        Ok(PreviewPage { preview, images, next })
    }

    /// What the newest preview says of these images; of those that would stay it says nothing.
    pub async fn lifecycle_preview_of(
        &self,
        permit: &Permit<GetLifecyclePolicyPreview>,
        asked: &[ImageRef],
        wanted: impl Fn(&Listed) -> bool,
    ) -> Result<PreviewPage, Error> {
        let place = self.place(permit.registry(), permit.target());
        let preview = self.preview_of(&place).await?.ok_or_else(|| Error::NoPreview(place.clone()))?;
        let mut rules: HashMap<i64, u64> = preview.marked.iter().copied().collect();
        let mut images = Vec::new();
        for image in asked {
            let Some(image) = self.find(&place, image).await? else { continue };
            // Each image is told once, by however many names it is asked for.
            let Some(rule) = rules.remove(&image.row_id) else { continue };
            let listed = self.with_tags(&place, image).await?;
            if wanted(&listed) {
                images.push((listed, rule));
            }
        }
        Ok(PreviewPage { preview, images, next: None })
    }

    /// Evaluates every policy that is due: never evaluated, or not for this long (LIFE-02).
    pub async fn run_lifecycles(&self, upkeep: Upkeep, every: Duration, now: Timestamp) -> LifecycleRun {
        let mut run = LifecycleRun::default();
        loop {
            let due = match self.parts.lifecycle.due_lifecycles(now.minus(every), ROUND).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::error!(%error, "due lifecycle policies can't be looked for");
                    return run;
                }
            };
            let failed_before = run.failed;
            for one in &due {
                match self.run_lifecycle(upkeep, one, now).await {
                    Ok(expired) => {
                        run.policies += 1;
                        run.expired += expired;
                    }
                    Err(error) => {
                        run.failed += 1;
                        tracing::error!(cause = %error.detail(), repository = %one.repository, "a lifecycle run failed");
                    }
                }
            }
            // What failed is due again at once: it waits for the next round of the server.
            if due.len() < ROUND as usize || run.failed > failed_before {
                return run;
            }
        }
    }

    /// Evaluates one policy now and expires what it marks; returns how many images went.
    pub async fn run_lifecycle(&self, _: Upkeep, due: &Due, now: Timestamp) -> Result<u64, Error> {
        let place = self.place(&due.registry, &due.repository);
        let policy = parse(&due.text)?;
        let evaluated_at = self.parts.lifecycle.lifecycle(&place.registry, &place.repository).await;
        let evaluated_at = evaluated_at.map_err(only_store)?.and_then(|attached| attached.evaluated_at);
        let details = policy_details(&policy, evaluated_at, self.parts.random.uuid());
        let judged = self.judge(&place, policy, now).await?;
        let mut expired = 0;
        for batch in judged.marked.chunks(EXPIRED_TOGETHER) {
            expired += self.expire(&place, &due.text, batch, &details, now).await?;
        }
        self.parts
            .lifecycle
            .note_lifecycle(&place.registry, &place.repository, &due.text, now)
            .await
            .map_err(only_store)?;
        Ok(expired)
    }

    async fn expire(
        &self,
        place: &Place,
        policy: &str,
        batch: &[(Candidate, u64)],
        details: &Value,
        now: Timestamp,
    ) -> Result<u64, Error> {
        let rules: Vec<u64> = batch.iter().map(|(_, rule)| *rule).collect();
        let (at, details) = (place.clone(), details.clone());
        // A transaction may run again, so the ids of its records are chosen before it.
        let ids: Vec<String> =
            (0..2 * batch.len().div_ceil(RECORDED_TOGETHER)).map(|_| self.parts.random.uuid()).collect();
        let command = Expire {
            registry: place.registry.clone(),
            repository: place.repository.clone(),
            policy: policy.to_owned(),
            images: batch.iter().map(|(image, _)| image.clone()).collect(),
            now,
            purge_at: now.plus(self.parts.spans.undo),
            audit: Arc::new(move |outcomes| records(&at, &details, &rules, outcomes, &ids, now)),
        };
        let outcomes = self.parts.lifecycle.expire(command).await;
        let outcomes = outcomes.map_err(|error| Context::of(place).error(error))?;
        Ok(outcomes.iter().filter(|outcome| matches!(outcome, Expired::Gone { .. })).count() as u64)
    }

    /// What a policy would expire now. Reads and judges off the reactor: a repository is large.
    async fn judge(&self, place: &Place, policy: LifecyclePolicy, now: Timestamp) -> Result<Judged, Error> {
        let (store, at) = (self.parts.lifecycle.clone(), place.clone());
        let work = move || {
            let candidates = Handle::current().block_on(store.candidates(&at.registry, &at.repository))?;
            Ok::<_, meta::Error>(mark(candidates, &policy, now))
        };
        let judged = tokio::task::spawn_blocking(work).await;
        let judged = judged.map_err(|_| StoreError::failed("a lifecycle evaluation broke off"))?;
        judged.map_err(|error| Context::of(place).error(error))
    }
}

fn parse(text: &str) -> Result<LifecyclePolicy, Error> {
    LifecyclePolicy::parse(text).map_err(|bad| Error::BadLifecyclePolicy(bad.to_string()))
}

/// By this a caller proves which outcome of a policy it has seen.
pub fn preview_token(policy: &str, marked: impl Iterator<Item = (i64, u64)>) -> String {
    let mut text = policy.to_owned();
    for (row_id, rule) in marked {
        text.push_str(&format!("\n{row_id} {rule}"));
    }
    funaya_rules::manifest::digest(text.as_bytes(), "", Algorithm::Sha256).to_string()
}

/// Images of an index that is there are no images of their own (LIFE-39), and what is attached
/// to another image follows that: rules see neither.
fn mark(candidates: Vec<Candidate>, policy: &LifecyclePolicy, now: Timestamp) -> Judged {
    let seen: Vec<usize> = (0..candidates.len())
        .filter(|index| !candidates[*index].in_index && candidates[*index].subject.is_none())
        .collect();
    let images: Vec<Image<&[String]>> = seen
        .iter()
        .map(|index| &candidates[*index])
        .map(|image| Image { tags: image.tags.as_slice(), pushed_at: image.pushed_at, pulled_at: image.pulled_at })
        .collect();
    let marked = policy.evaluate(&images, now);
    let mut rules: HashMap<i64, u64> =
        marked.iter().map(|marked| (candidates[seen[marked.index]].row_id, marked.priority)).collect();
    // Attachments of attachments too: at most as often as there are images.
    loop {
        let followers: Vec<(i64, u64)> = candidates
            .iter()
            .filter(|image| !image.in_index && !rules.contains_key(&image.row_id))
            .filter_map(|image| Some((image.row_id, *rules.get(&image.subject?)?)))
            .collect();
        if followers.is_empty() {
            break;
        }
        rules.extend(followers);
    }
    let with_rule = candidates.into_iter().filter_map(|image| rules.get(&image.row_id).map(|rule| (image, *rule)));
    Judged { marked: with_rule.collect() }
}

/// The audit records of one transaction (TRAIL-20 to TRAIL-24); none if nothing happened.
fn records(
    place: &Place,
    details: &Value,
    rules: &[u64],
    outcomes: &[Expired],
    ids: &[String],
    now: Timestamp,
) -> Option<audit::Batch> {
    let (mut gone, mut kept) = (Vec::new(), Vec::new());
    for (outcome, rule) in outcomes.iter().zip(rules) {
        match outcome {
            Expired::Gone { digest, tags, pushed_at } => {
                let listed: Vec<&str> = tags.iter().take(TAGS_RECORDED_MAX).map(|tag| tag.as_str()).collect();
                gone.push(json!({
                    "lifecycleEventImage": {
                        "digest": digest.to_string(),
                        "tagStatus": if tags.is_empty() { "Untagged" } else { "Tagged" },
                        "tagList": listed,
                        "pushedAt": pushed_at.micros() / 1000,
                    },
                    "rulePriority": rule,
                }));
            }
            Expired::Referenced => kept.push(json!({"rulePriority": rule, "reason": "an index refers to the image"})),
            // It is simply judged again next time.
            Expired::Changed => {}
        }
    }
    let mut ids = ids.iter();
    let mut entries = Vec::new();
    for images in gone.chunks(RECORDED_TOGETHER) {
        entries.push(entry(place, details, "lifecycleEventImageActions", images, ids.next()?, now));
    }
    for images in kept.chunks(RECORDED_TOGETHER) {
        let mut failed = entry(place, details, "lifecycleEventFailureDetails", images, ids.next()?, now);
        failed.event.error = Some(("ImageReferencedByManifestList".into(), "an index refers to the image".into()));
        entries.push(failed);
    }
    audit::pack(entries).into_iter().next()
}

fn entry(place: &Place, details: &Value, name: &str, images: &[Value], event_id: &str, now: Timestamp) -> audit::Entry {
    let mut details = json!({"repositoryName": place.repository.as_str(), "lifecycleEventPolicy": details});
    details[name] = json!(images);
    let mut entry = audit::Entry::internal(&place.registry, "PolicyExecutionEvent", event_id.into(), now);
    entry.event.resources = vec![place.registry.repository_arn(&place.repository).to_string()];
    entry.event.details = Some(details);
    entry
}

fn policy_details(policy: &LifecyclePolicy, evaluated_at: Option<Timestamp>, id: String) -> Value {
    let rules: Vec<Value> = policy.rules().iter().map(rule_details).collect();
    json!({
        "lifecycleEventRules": rules,
        "lastEvaluatedAt": evaluated_at.map_or(0, |at| at.micros() / 1000),
        "policyVersion": 1,
        "policyId": id,
    })
}

fn rule_details(rule: &Rule) -> Value {
    let (prefixes, patterns): (Vec<&str>, Vec<&str>) = match &rule.selection {
        Selection::Prefixes(prefixes) => (prefixes.iter().map(String::as_str).collect(), Vec::new()),
        Selection::Patterns(patterns) => (Vec::new(), patterns.iter().map(Wildcard::as_str).collect()),
        Selection::Untagged | Selection::Any => (Vec::new(), Vec::new()),
    };
    let (count_type, number) = match rule.limit {
        Limit::CountMoreThan(number) => ("Image count more than", number),
        Limit::SincePushed(number) => ("Since image pushed", number),
        Limit::SincePulled(number) => ("Since image pulled", number),
    };
    let mut selection = json!({
        "tagStatus": rule.tag_status(), "tagPrefixList": prefixes, "countType": count_type, "countNumber": number,
    });
    if !patterns.is_empty() {
        selection["tagPatternList"] = json!(patterns);
    }
    let mut details = json!({"rulePriority": rule.priority, "lifecycleEventSelection": selection, "action": "expire"});
    if let Some(description) = &rule.description {
        details["description"] = json!(description);
    }
    details
}
