//! Manifests: GET, HEAD, PUT, DELETE.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use funaya_gate::{
    Permit,
    action::{BatchDeleteImage, BatchGetImage, PutImage},
};
use funaya_registry::{Body, BodyError, DeleteOutcome, Error, NewManifest};
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
        let accepted = accepted_media_types(request);
        if !accepted.is_empty() {
            asked["acceptedMediaTypes"] = json!(accepted);
        }
        let asked = parameters(visit, &name, asked);
        let permit: Permit<BatchGetImage> = self.permit(visit, name, asked).await?;
        let found = self.hall.manifest(&permit, &reference).await;
        let found = self.checked(&permit, found).await?;
        self.gate.record_read(&permit).await;
        let manifest = found.ok_or_else(Problem::no_image)?;
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

fn accepted_media_types(request: &Request) -> Vec<String> {
    let values = request.http.headers().get_all(header::ACCEPT);
    let texts = values.iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(essence).filter(|text| !text.is_empty()).take(100).collect()
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
