//! Blobs: HEAD, GET with ranges, DELETE.

use std::sync::Arc;

use funaya_gate::{
    Permit,
    action::{BatchCheckLayerAvailability, BatchDeleteImage, GetDownloadUrlForLayer},
};
use funaya_registry::Readable;
use funaya_types::{Digest, RepositoryName};
use futures_util::StreamExt as _;
use http::{StatusCode, header};
use serde_json::json;

use crate::{
    answer::{Answer, Response},
    door::{Door, Redirect, Request, Visit, parameters},
    error::Problem,
    range::{self, Wanted},
};

const OCTETS: &str = "application/octet-stream";

impl Door {
    /// A pull-only principal is let in by `GetDownloadUrlForLayer` alone (V2-06).
    pub(crate) async fn head_blob(
        &self,
        visit: &Visit,
        name: RepositoryName,
        digest: &str,
    ) -> Result<Response, Problem> {
        let digest: Digest = digest.parse().map_err(|_| Problem::bad_digest())?;
        let asked = parameters(visit, &name, json!({"layerDigests": [digest.to_string()]}));
        let permit: Permit<BatchCheckLayerAvailability> =
            match self.gate.probe(&visit.call, &visit.registry, name.clone(), asked.clone()).await {
                Ok(permit) => permit,
                Err(funaya_gate::Denied::NotAllowed { .. }) => {
                    let permit: Permit<GetDownloadUrlForLayer> = self.permit(visit, name, asked).await?;
                    let layer = self.hall.layer(&permit, &digest).await;
                    let layer = self.checked(&permit, layer).await?;
                    self.gate.record_read(&permit).await;
                    return Ok(head(&digest, layer.size()));
                }
                Err(denied) => return Err(denied.into()),
            };
        let available = self.hall.check_layer(&permit, &digest).await;
        let available = self.checked(&permit, available).await?;
        self.gate.record_read(&permit).await;
        match available {
            Some(layer) => Ok(head(&digest, layer.size)),
            None => Err(Problem::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "the layer is not in the repository")),
        }
    }

    pub(crate) async fn get_blob(
        &self,
        visit: &Visit,
        name: RepositoryName,
        digest: &str,
        request: &Request,
    ) -> Result<Response, Problem> {
        let digest: Digest = digest.parse().map_err(|_| Problem::bad_digest())?;
        let asked = parameters(visit, &name, json!({"layerDigest": digest.to_string()}));
        let permit: Permit<GetDownloadUrlForLayer> = self.permit(visit, name, asked).await?;
        let layer = self.hall.layer(&permit, &digest).await;
        let layer = self.checked(&permit, layer).await?;
        self.gate.record_read(&permit).await;
        if self.redirect == Redirect::Always {
            return self.redirect_blob(&permit, &digest, request.host());
        }
        self.send_blob(&layer, request).await
    }

    fn redirect_blob(
        &self,
        permit: &Permit<GetDownloadUrlForLayer>,
        digest: &Digest,
        host: &str,
    ) -> Result<Response, Problem> {
        let unsigned = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "the download URL can't be made");
        let target = self.gate.sign_download(permit, digest, host).ok_or_else(unsigned)?;
        let url = self.hall.endpoints().registry_url(permit.registry());
        let scheme = url.split_once("://").map_or("http", |(scheme, _)| scheme);
        Ok(Answer::new(StatusCode::TEMPORARY_REDIRECT)
            .header(header::LOCATION, &format!("{scheme}://{host}{target}"))
            .empty())
    }

    /// The bytes of a layer that the caller may read, or the part of them that it wants.
    pub(crate) async fn send_blob(&self, blob: &Readable, request: &Request) -> Result<Response, Problem> {
        if matches_tag(request.header(&header::IF_NONE_MATCH), blob.digest()) {
            return Ok(Answer::new(StatusCode::NOT_MODIFIED).digest(blob.digest()).bare());
        }
        // If-Range: the range counts only if the client's copy is of this blob.
        let range = request.header(&header::RANGE);
        let range = range.filter(|_| match request.header(&header::IF_RANGE) {
            Some(tag) => matches_tag(Some(tag), blob.digest()),
            None => true,
        });
        let (answer, offset, length) = match range::wanted(range, blob.size()) {
            Wanted::Whole => (found(blob.digest()), 0, blob.size()),
            Wanted::Part { first, last } => {
                let answer = Answer::new(StatusCode::PARTIAL_CONTENT)
                    .digest(blob.digest())
                    .header(header::CONTENT_RANGE, &format!("bytes {first}-{last}/{}", blob.size()));
                (answer, first, last - first + 1)
            }
            Wanted::Unsatisfiable => {
                return Err(Problem::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "SIZE_INVALID",
                    "the blob has no such range",
                )
                .with(header::CONTENT_RANGE, format!("bytes */{}", blob.size())));
            }
        };
        let answer = answer.header(header::CONTENT_TYPE, OCTETS).header(header::ACCEPT_RANGES, "bytes");
        if request.is_head() {
            return Ok(answer.head(length));
        }
        let stream = self.hall.read(blob, offset, length).await?;
        Ok(answer.pieces(length, Box::pin(stream.map(|piece| piece.map_err(Into::into)))))
    }

    pub(crate) async fn delete_blob(
        &self,
        visit: &Visit,
        name: RepositoryName,
        digest: &str,
    ) -> Result<Response, Problem> {
        let digest: Digest = digest.parse().map_err(|_| Problem::bad_digest())?;
        let asked = parameters(visit, &name, json!({"layerDigest": digest.to_string()}));
        let permit: Arc<Permit<BatchDeleteImage>> = Arc::new(self.permit(visit, name, asked).await?);
        let deleted = self.hall.delete_layer(&permit, &digest).await;
        self.checked(&permit, deleted).await?;
        Ok(Answer::new(StatusCode::ACCEPTED).digest(&digest).empty())
    }
}

fn found(digest: &Digest) -> Answer {
    Answer::new(StatusCode::OK).digest(digest)
}

fn head(digest: &Digest, size: u64) -> Response {
    found(digest).header(header::CONTENT_TYPE, OCTETS).header(header::ACCEPT_RANGES, "bytes").head(size)
}

/// Whether a list of entity tags holds that of this digest (RFC 9110, section 13.1).
pub(crate) fn matches_tag(header: Option<&str>, digest: &Digest) -> bool {
    let tag = format!("\"{digest}\"");
    header.is_some_and(|list| {
        list.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
    })
}
