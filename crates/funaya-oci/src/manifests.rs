//! Manifests: GET, HEAD, PUT, DELETE.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use funaya_gate::{
    Permit,
    action::{BatchDeleteImage, BatchGetImage, PutImage},
};
use funaya_registry::{Accepted, Body, BodyError, DeleteOutcome, Error, NewManifest, Pulled};
use funaya_types::{ImageTag, Reference, RepositoryName, limits::MANIFEST_BYTES_MAX};
use futures_util::StreamExt as _;
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::{
    answer::{Answer, OCI_SUBJECT, OCI_TAG, Response},
    blobs::matches_tag,
    door::{Door, Request, Visit, parameters},
    error::Problem,
};

impl Door {
    pub(crate) async fn get_manifest(
        &self,
        visit: &Visit,
        name: RepositoryName,
        reference: &str,
        request: &Request,
    ) -> Result<Response, Problem> {
        let reference = parse_reference(reference)?;
        let mut asked = json!({"imageIds": [image_id(&reference)]});
        let mut accepted = accepted(request);
        let texts: Vec<&str> = accepted.texts().collect();
        if !texts.is_empty() {
            asked["acceptedMediaTypes"] = json!(texts);
        }
        if !accepted.names_a_format() && request.header(&header::USER_AGENT).is_some_and(is_docker_before_1_10) {
            accepted = Accepted::schema_1_only();
        }
        let asked = parameters(visit, &name, asked);
        let permit: Permit<BatchGetImage> = self.permit(visit, name, asked).await?;
        let found = self.hall.manifest(&permit, &reference, &accepted).await;
        let found = self.checked(&permit, found).await?;
        self.gate.record_read(&permit).await;
        let manifest = match found {
            Pulled::Image(manifest) => manifest,
            Pulled::NoImage => return Err(Problem::no_image()),
            Pulled::NotAccepted(stored) => return Err(Problem::not_accepted(stored.as_str())),
        };
        if matches_tag(request.header(&header::IF_NONE_MATCH), &manifest.digest) {
            return Ok(Answer::new(StatusCode::NOT_MODIFIED).digest(&manifest.digest).bare());
        }
        Ok(Answer::new(StatusCode::OK).digest(&manifest.digest).body(manifest.media_type.as_str(), manifest.bytes))
    }

    /// A reference by digest may set tags with `?tag=…`, each told back in `OCI-Tag`.
    pub(crate) async fn put_manifest(
        &self,
        visit: &Visit,
        name: RepositoryName,
        reference: &str,
        mut request: Request,
    ) -> Result<Response, Problem> {
        let reference = parse_reference(reference)?;
        let media_type = request.header(&header::CONTENT_TYPE).map(essence);
        let (digest, tags) = match &reference {
            Reference::Tag(tag) => (None, vec![tag.clone()]),
            Reference::Digest(digest) => (Some(*digest), parse_tags(&request.query("tag"))?),
        };
        self.ensure_repository(visit, &name).await?;
        let bytes = read_manifest(request.take_body()).await?;
        let mut asked = json!({"imageManifest": String::from_utf8_lossy(&bytes)});
        if let Some(tag) = tags.first() {
            asked["imageTag"] = json!(tag.as_str());
        }
        let asked = parameters(visit, &name, asked);
        let permit: Permit<PutImage> = self.permit(visit, name.clone(), asked).await?;
        let new = NewManifest { bytes: bytes.into(), media_type, digest, tags: tags.clone(), refuse_existing: false };
        let stored = self.hall.put_image(&permit, new).await;
        let stored = self.checked(&permit, stored).await?;
        let mut answer = Answer::new(StatusCode::CREATED)
            .digest(&stored.digest)
            .header(header::LOCATION, &format!("/v2/{name}/manifests/{}", stored.digest));
        if let Some(subject) = stored.subject {
            answer = answer.header(OCI_SUBJECT, &subject.to_string());
        }
        if matches!(reference, Reference::Digest(_)) {
            for tag in &tags {
                answer = answer.header(OCI_TAG, tag.as_str());
            }
        }
        Ok(answer.empty())
    }

    pub(crate) async fn delete_manifest(
        &self,
        visit: &Visit,
        name: RepositoryName,
        reference: &str,
    ) -> Result<Response, Problem> {
        let reference = parse_reference(reference)?;
        let asked = parameters(visit, &name, json!({"imageIds": [image_id(&reference)]}));
        let permit: Arc<Permit<BatchDeleteImage>> = Arc::new(self.permit(visit, name, asked).await?);
        let outcome = self.hall.delete_reference(&permit, &reference).await;
        match self.checked(&permit, outcome).await? {
            Some(DeleteOutcome::Deleted { .. }) => Ok(Answer::new(StatusCode::ACCEPTED).empty()),
            Some(DeleteOutcome::Referenced(index)) => Err(Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "UNSUPPORTED",
                format!("the image is referenced by the manifest list '{index}'; delete that one first"),
            )
            .with(header::ALLOW, "GET, HEAD, PUT".into())),
            Some(DeleteOutcome::NotFound | DeleteOutcome::TagMismatch) | None => Err(Problem::no_image()),
        }
    }
}

pub(crate) fn image_id(reference: &Reference) -> Value {
    match reference {
        Reference::Digest(digest) => json!({"imageDigest": digest.to_string()}),
        Reference::Tag(tag) => json!({"imageTag": tag.as_str()}),
    }
}

fn parse_reference(text: &str) -> Result<Reference, Problem> {
    if text.contains(':') {
        return text.parse().map(Reference::Digest).map_err(|_| Problem::bad_digest());
    }
    parse_tag(text).map(Reference::Tag)
}

fn parse_tag(text: &str) -> Result<ImageTag, Problem> {
    text.parse().map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "TAG_INVALID", "the tag is not valid"))
}

/// Most tags that one request may set.
const TAGS_MAX: usize = 100;

fn parse_tags(texts: &[String]) -> Result<Vec<ImageTag>, Problem> {
    if texts.len() > TAGS_MAX {
        let text = format!("a request may set at most {TAGS_MAX} tags");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "TAG_INVALID", text));
    }
    texts.iter().map(|text| parse_tag(text)).collect()
}

/// A media type without its parameters.
fn essence(text: &str) -> String {
    text.split(';').next().unwrap_or_default().trim().to_owned()
}

fn accepted(request: &Request) -> Accepted {
    let values = request.http.headers().get_all(header::ACCEPT);
    Accepted::from_headers(values.iter().filter_map(|value| value.to_str().ok()))
}

/// Docker up to 1.9 sends no `Accept` and knows schema 1 only: its name tells (MAN-12).
/// It calls itself `docker/1.9.1 go/go1.4.3 git-commit/a34a1d5 …`.
fn is_docker_before_1_10(agent: &str) -> bool {
    let version = agent.strip_prefix("docker/").and_then(|rest| rest.split([' ', '-', '+']).next());
    let mut numbers = version.unwrap_or_default().split('.').map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(0)), Some(Ok(_))) => true,
        (Some(Ok(1)), Some(Ok(minor))) => minor < 10,
        _ => false,
    }
}

/// Reads a manifest, up to its limit.
async fn read_manifest(mut body: Body) -> Result<Bytes, Problem> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|BodyError| Problem::from(Error::BodyCut))?;
        if bytes.len() + piece.len() > MANIFEST_BYTES_MAX {
            let text = format!("a manifest may have at most {MANIFEST_BYTES_MAX} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "MANIFEST_INVALID", text));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use super::is_docker_before_1_10;

    /// MAN-12
    #[test]
    fn old_docker_is_known_by_its_name() {
        for old in [
            "docker/1.9.1 go/go1.4.2 git-commit/a34a1d5 kernel/4.2.0-34-generic os/linux arch/amd64",
            "docker/1.8.2-circleci go/go1.4.2 git-commit/a8b52f5 kernel/3.13.0-71-generic os/linux arch/amd64",
            "docker/1.6.2 go/go1.4.2",
            "docker/0.11.1",
        ] {
            assert!(is_docker_before_1_10(old), "{old}");
        }
        for other in
            ["docker/1.10.3 go/go1.5.3", "docker/1.13.1", "docker/17.06.2-ee-13", "docker/1", "docker/", "curl/1.9", ""]
        {
            assert!(!is_docker_before_1_10(other), "{other}");
        }
    }
}
