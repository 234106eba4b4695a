//! Lists: tags, repositories, referrers.

use funaya_gate::{
    Permit, Scope,
    action::{DescribeRepositories, ListImageReferrers, ListImages},
};
use funaya_registry::Referrer;
use funaya_types::{Digest, RepositoryName};
use http::{StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::{
    answer::{Answer, OCI_FILTERS, Response},
    door::{Door, Request, Visit, parameters},
    error::Problem,
};

/// Entries of one answer where the client names no number, or a larger one.
const PAGE_MAX: u32 = 50_000;
/// Rows of one read of the store, so that long lists let others in between.
const STEP: u32 = 1_000;
const REFERRERS_MAX: u32 = 1_000;
/// What ECR sends lists with (AUTH-36).
const TEXT: &str = "text/plain; charset=utf-8";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Door {
    pub(crate) async fn list_tags(
        &self,
        visit: &Visit,
        name: &RepositoryName,
        request: &Request,
    ) -> Result<Response, Problem> {
        let page = Page::of(request)?;
        let asked = parameters(visit, name, page.parameters());
        let permit: Permit<ListImages> = self.permit(visit, name.clone(), asked).await?;
        let mut tags: Vec<String> = Vec::new();
        loop {
            let after = tags.last().map(String::as_str).or(page.last.as_deref());
            let step = page.step(tags.len());
            let more = self.hall.tag_names(&permit, after, step).await;
            let more = self.checked(&permit, more).await?;
            let ended = more.len() < step as usize;
            tags.extend(more);
            if ended || page.is_over(tags.len()) {
                break;
            }
        }
        self.gate.record_read(&permit).await;
        let next = page.cut(&mut tags);
        let answer = with_next(Answer::new(StatusCode::OK), &format!("/v2/{name}/tags/list"), &page, next);
        Ok(answer.body(TEXT, json!({"name": name.as_str(), "tags": tags}).to_string()))
    }

    pub(crate) async fn catalog(&self, visit: &Visit, request: &Request) -> Result<Response, Problem> {
        let page = Page::of(request)?;
        let mut asked = page.parameters();
        asked["registryId"] = json!(visit.registry.account.as_str());
        let permit: Permit<DescribeRepositories> = self.permit(visit, Scope::All, asked).await?;
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().map(String::as_str).or(page.last.as_deref());
            let step = page.step(names.len());
            let more = self.hall.catalog(&permit, after, step).await;
            let more = self.checked(&permit, more).await?;
            let ended = more.len() < step as usize;
            names.extend(more.iter().map(ToString::to_string));
            if ended || page.is_over(names.len()) {
                break;
            }
        }
        self.gate.record_read(&permit).await;
        let next = page.cut(&mut names);
        let answer = with_next(Answer::new(StatusCode::OK), "/v2/_catalog", &page, next);
        Ok(answer.body("application/json", json!({"repositories": names}).to_string()))
    }

    pub(crate) async fn list_referrers(
        &self,
        visit: &Visit,
        name: RepositoryName,
        digest: &str,
        request: &Request,
    ) -> Result<Response, Problem> {
        let subject: Digest = digest.parse().map_err(|_| Problem::bad_digest())?;
        let types: Vec<String> = request.query("artifactType").into_iter().filter(|text| !text.is_empty()).collect();
        let after = request.query("last").pop().and_then(|text| text.parse().ok()).unwrap_or_default();
        let asked = parameters(visit, &name, json!({"subjectId": {"imageDigest": subject.to_string()}}));
        let permit: Permit<ListImageReferrers> = self.permit(visit, name.clone(), asked).await?;
        let found = self.hall.referrers(&permit, &subject, &types, after, REFERRERS_MAX).await;
        let found = self.checked(&permit, found).await?;
        self.gate.record_read(&permit).await;
        let mut answer = Answer::new(StatusCode::OK);
        if !types.is_empty() {
            answer = answer.header(OCI_FILTERS, "artifactType");
        }
        if let Some(next) = found.next {
            let mut query: String = types.iter().map(|text| format!("artifactType={}&", encode(text))).collect();
            query.push_str(&format!("last={next}"));
            answer = answer.header(header::LINK, &format!("</v2/{name}/referrers/{subject}?{query}>; rel=\"next\""));
        }
        let manifests: Vec<Value> = found.items.iter().map(descriptor).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        Ok(answer.body(INDEX, index.to_string()))
    }
}

fn descriptor(referrer: &Referrer) -> Value {
    let image = &referrer.image;
    let mut out = json!({
        "mediaType": image.media_type.as_str(),
        "digest": image.digest.to_string(),
        "size": image.manifest_bytes,
    });
    if let Some(kind) = &image.artifact_type {
        out["artifactType"] = json!(kind);
    }
    if !referrer.annotations.is_empty() {
        out["annotations"] = json!(referrer.annotations);
    }
    out
}

/// `n` and `last` of a list (V2-10).
struct Page {
    n: Option<u32>,
    last: Option<String>,
}

impl Page {
    fn of(request: &Request) -> Result<Self, Problem> {
        let bad = |_| Problem::new(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", "`n` must be a number");
        let n = request.query("n").pop().filter(|text| !text.is_empty());
        let n = n.map(|text| text.parse::<u32>().map_err(bad)).transpose()?;
        Ok(Self { n, last: request.query("last").pop().filter(|text| !text.is_empty()) })
    }

    fn limit(&self) -> usize {
        self.n.unwrap_or(PAGE_MAX).min(PAGE_MAX) as usize
    }

    /// Rows to read next: one more than the page holds, to know whether there are more.
    fn step(&self, have: usize) -> u32 {
        u32::try_from(self.limit() + 1 - have.min(self.limit())).unwrap_or(STEP).min(STEP)
    }

    fn is_over(&self, have: usize) -> bool {
        have > self.limit()
    }

    /// Cuts the list to the page; the last entry kept if there are more.
    fn cut(&self, list: &mut Vec<String>) -> Option<String> {
        if list.len() <= self.limit() {
            return None;
        }
        list.truncate(self.limit());
        list.last().cloned()
    }

    fn parameters(&self) -> Value {
        let mut out = json!({});
        if let Some(n) = self.n {
            out["maxResults"] = json!(n);
        }
        out
    }
}

fn with_next(answer: Answer, path: &str, page: &Page, next: Option<String>) -> Answer {
    match next {
        Some(last) => {
            let link = format!("<{path}?last={}&n={}>; rel=\"next\"", encode(&last), page.limit());
            answer.header(header::LINK, &link)
        }
        None => answer,
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
