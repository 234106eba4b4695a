//! Bringing back what was deleted (D6), for callers with a right to it: our own operations, in AWS JSON 1.1.
//!
//! AWS has nothing like them. They have a target prefix and an action prefix of their own, so that no policy written
//! for ECR grants them, and sign in as the service `ecr`, so that any client that signs for ECR can call them.

use bytes::Bytes;
use funaya_gate::{
    Action as _, Operation as Allowed, Permit, Service,
    action::{ListDeleted, ResolveTag, RestoreImage, RestoreRepository, RestoreTag},
};
use funaya_registry::{Deleted, DeletedPlace};
use funaya_types::{Digest, ImageTag, Registry, Timestamp};
use http::{Method, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    answer::{self, Response},
    door::{BODY_MAX, Door, Request, Visit, repository_name},
    fail::Fail,
    paging::{self, Paging},
};

const TARGET_PREFIX: &str = "Funaya_V1.";
/// Items of a page: each needs some lookups.
const PAGE_MAX: u32 = 1_000;

/// The answer's JSON, or a failure.
type Answered = Result<Value, Fail>;

const ALL: [Allowed; 5] = [
    ListDeleted::OPERATION,
    ResolveTag::OPERATION,
    RestoreImage::OPERATION,
    RestoreRepository::OPERATION,
    RestoreTag::OPERATION,
];

/// Whether a request is for these operations.
pub(crate) fn is_meant<B>(request: &http::Request<B>) -> bool {
    name(request).is_some()
}

fn name<B>(request: &http::Request<B>) -> Option<&str> {
    let post = request.method() == Method::POST && request.uri().path() == "/";
    request.headers().get("x-amz-target").filter(|_| post)?.to_str().ok()?.strip_prefix(TARGET_PREFIX)
}

/// Answers a request.
pub(crate) async fn answer(door: &Door, request: Request) -> Response {
    let id = request.client.request_id.clone();
    match serve(door, request).await {
        Ok(body) => answer::response(StatusCode::OK, answer::JSON, body.to_string().into(), &id),
        Err(fail) => {
            let (status, decision) = (fail.status, fail.decision.clone());
            let response = answer::response(status, answer::JSON, fail.body(), &id);
            answer::with(response, answer::DECISION, decision.as_deref())
        }
    }
}

async fn serve(door: &Door, request: Request) -> Answered {
    let action = name(&request.http).and_then(|name| ALL.into_iter().find(|action| action.name == name));
    let action = action.ok_or_else(Fail::unknown_operation)?;
    let (head, body) = request.http.into_parts();
    let (caller, body, held) = door.admit(head, body, Service::Ecr, BODY_MAX, request.client.at).await?;
    let visit = Visit::new(door.gate.call(caller, &request.client), body, held);
    let outcome = match action.name {
        "ListDeleted" => list(door, &visit).await,
        "ResolveTag" => resolve(door, &visit).await,
        "RestoreImage" => restore_image(door, &visit).await,
        "RestoreRepository" => restore_repository(door, &visit).await,
        _ => restore_tag(door, &visit).await,
    };
    match outcome {
        Err(fail) if !fail.recorded => {
            let parameters = serde_json::from_slice(&visit.body).unwrap_or(Value::Null);
            Err(door.refuse_as(action, parameters, &visit, fail).await)
        }
        outcome => outcome,
    }
}

/// Whether one of these operations has this name.
pub(crate) fn is_operation(name: &str) -> bool {
    ALL.iter().any(|operation| operation.name == name)
}

/// The actions of all operations as text, one line each, for the documentation.
pub(crate) fn table() -> String {
    ALL.iter().map(|operation| format!("| `{}` | {} |\n", operation.name, operation.action())).collect()
}

/// Members of all requests; each operation says which it needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Page {
    registry_id: Option<String>,
    max_results: Option<u32>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Repository {
    registry_id: Option<String>,
    repository_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Image {
    registry_id: Option<String>,
    repository_name: String,
    image_digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Tag {
    registry_id: Option<String>,
    repository_name: String,
    image_tag: String,
    at: Option<String>,
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Fail> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Fail::new("InvalidParameterException", error.to_string()),
        _ => Fail::new("SerializationException", error.to_string()),
    })
}

/// What was deleted and can be brought back, oldest first.
async fn list(door: &Door, visit: &Visit) -> Answered {
    let request: Page = read(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let limit = request.max_results.unwrap_or(paging::DEFAULT);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Fail::parameter("maxResults", "Must be from 1 to 1000"));
    }
    let permit: Permit<ListDeleted> = door.permit(visit, &registry, ()).await?;
    let paging = Paging::new(&door.tokens, "ListDeleted", &[registry.account.as_str(), registry.region.as_str()]);
    let after = paging.open(request.next_token.as_deref())?;
    let after = after.as_deref().and_then(read_place).unwrap_or_default();
    let found = door.hall.deleted_page(&permit, after, limit).await;
    let (found, last) = door.checked(&permit, found).await?;
    door.gate.record_read(&permit).await;
    let mut answer = json!({"deleted": found.iter().map(shape).collect::<Vec<_>>()});
    if let Some(place) = last {
        let place = [place.deleted_at, place.repo_id, place.man_id].map(|part| part.to_string()).join(" ");
        answer["nextToken"] = json!(paging.seal(&place));
    }
    Ok(answer)
}

fn read_place(text: &str) -> Option<DeletedPlace> {
    let mut parts = text.split(' ').map(|part| part.parse().ok());
    Some(DeletedPlace { deleted_at: parts.next()??, repo_id: parts.next()??, man_id: parts.next()?? })
}

fn shape(deleted: &Deleted) -> Value {
    let mut shape = json!({
        "repositoryName": deleted.repository.as_str(),
        "repositoryIsDeleted": deleted.repository_is_deleted,
        "deletedAt": deleted.deleted_at.iso8601(),
        "restorableUntil": deleted.purge_at.iso8601(),
    });
    match deleted.digest {
        Some(digest) => {
            shape["imageDigest"] = json!(digest.to_string());
            shape["imageTags"] = json!(names(&deleted.tags));
        }
        None => shape["images"] = json!(deleted.images),
    }
    shape
}

fn names(tags: &[ImageTag]) -> Vec<&str> {
    tags.iter().map(ImageTag::as_str).collect()
}

async fn restore_image(door: &Door, visit: &Visit) -> Answered {
    let request: Image = read(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let digest: Digest = request.image_digest.parse().map_err(|_| Fail::parameter("imageDigest", "Invalid digest"))?;
    let permit: Permit<RestoreImage> = door.permit(visit, &registry, name).await?;
    let done = door.hall.restore_image_for(&permit, &digest).await;
    let restored = door.checked(&permit, done).await?;
    Ok(json!({
        "registryId": registry.account.as_str(),
        "repositoryName": request.repository_name,
        "imageDigest": restored.digest.to_string(),
        "imageTags": names(&restored.tags),
        "tagsOfOthers": names(&restored.taken),
        "children": restored.children,
    }))
}

async fn restore_repository(door: &Door, visit: &Visit) -> Answered {
    let request: Repository = read(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let permit: Permit<RestoreRepository> = door.permit(visit, &registry, name).await?;
    let done = door.hall.restore_repository_for(&permit).await;
    let deleted_at = door.checked(&permit, done).await?;
    Ok(json!({
        "registryId": registry.account.as_str(),
        "repositoryName": request.repository_name,
        "deletedAt": deleted_at.iso8601(),
    }))
}

/// Without `at`: what the tag named before its last change.
async fn restore_tag(door: &Door, visit: &Visit) -> Answered {
    let request: Tag = read(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let (tag, at) = (image_tag(&request.image_tag)?, request.at.as_deref().map(time).transpose()?);
    let permit: Permit<RestoreTag> = door.permit(visit, &registry, name).await?;
    let done = door.hall.restore_tag_for(&permit, &tag, at).await;
    let digest = door.checked(&permit, done).await?;
    Ok(target(&registry, &request, Some(digest)))
}

/// `imageDigest` is missing if the tag named nothing then.
async fn resolve(door: &Door, visit: &Visit) -> Answered {
    let request: Tag = read(&visit.body)?;
    let registry = door.registry(visit, request.registry_id.as_deref())?;
    let name = repository_name(&request.repository_name)?;
    let at = request.at.as_deref().ok_or_else(|| Fail::parameter("at", "Member must not be null"))?;
    let (tag, at) = (image_tag(&request.image_tag)?, time(at)?);
    let permit: Permit<ResolveTag> = door.permit(visit, &registry, name).await?;
    let found = door.hall.resolve_tag_for(&permit, &tag, at).await;
    let digest = door.checked(&permit, found).await?;
    door.gate.record_read(&permit).await;
    Ok(target(&registry, &request, digest))
}

fn target(registry: &Registry, request: &Tag, digest: Option<Digest>) -> Value {
    let mut answer = json!({
        "registryId": registry.account.as_str(),
        "repositoryName": request.repository_name,
        "imageTag": request.image_tag,
    });
    if let Some(digest) = digest {
        answer["imageDigest"] = json!(digest.to_string());
    }
    answer
}

fn image_tag(text: &str) -> Result<ImageTag, Fail> {
    text.parse().map_err(|_| Fail::parameter("imageTag", "Invalid tag"))
}

fn time(text: &str) -> Result<Timestamp, Fail> {
    Timestamp::parse_iso8601(text).ok_or_else(|| Fail::parameter("at", "Must be a time such as 2026-11-24T12:00:00Z"))
}
