//! Uploads: POST, PATCH, PUT, GET, DELETE (OCI distribution, "Pushing blobs").

use std::sync::Arc;

use funaya_gate::{
    Permit,
    action::{CompleteLayerUpload, GetDownloadUrlForLayer, InitiateLayerUpload, UploadLayerPart},
};
use funaya_registry::{Error, Part};
use funaya_types::{Algorithm, Digest, RepositoryName, UploadId};
use http::{StatusCode, header};
use serde_json::{Value, json};

use crate::{
    answer::{Answer, Response, UPLOAD_UUID},
    door::{Door, Request, Visit, parameters},
    error::{Problem, upload_range},
    range,
};

impl Door {
    /// POST: mounts, takes a whole blob (`?digest=`), or opens an upload.
    pub(crate) async fn start_upload(
        &self,
        visit: &Visit,
        name: RepositoryName,
        mut request: Request,
    ) -> Result<Response, Problem> {
        self.ensure_repository(visit, &name).await?;
        let mount = request.query("mount").pop();
        let mut asked = json!({});
        if let Some(digest) = &mount {
            asked["mount"] = json!(digest);
        }
        let permit: Permit<InitiateLayerUpload> =
            self.permit(visit, name.clone(), parameters(visit, &name, asked)).await?;
        if let Some(digest) = mount.and_then(|text| text.parse().ok())
            && self.mount(visit, &permit, &digest, request.query("from").pop()).await?
        {
            return Ok(created(&name, &digest));
        }
        let whole = request.query("digest").pop();
        let whole: Option<Digest> = whole.map(|text| text.parse().map_err(|_| Problem::bad_digest())).transpose()?;
        let named = request.query("digest-algorithm").pop().and_then(|name| Algorithm::from_name(&name));
        let algorithm = whole.map(|digest| digest.algorithm()).or(named).unwrap_or(Algorithm::Sha256);
        let opened = self.hall.initiate_upload(&permit, algorithm).await;
        let id = self.checked(&permit, opened).await?;
        let Some(digest) = whole else { return Ok(progress(StatusCode::ACCEPTED, &name, id, 0)) };
        let part = part(&mut request)?;
        self.finish(visit, name, id, digest, Some(part)).await
    }

    /// Mounts from the named repository, or else from any that the caller may read.
    async fn mount(
        &self,
        visit: &Visit,
        permit: &Permit<InitiateLayerUpload>,
        digest: &Digest,
        from: Option<String>,
    ) -> Result<bool, Problem> {
        let sources = match from {
            Some(text) => text.parse::<RepositoryName>().into_iter().collect(),
            None => self.hall.holders(permit, digest).await?,
        };
        for source in sources {
            let asked = parameters(visit, &source, json!({"layerDigest": digest.to_string()}));
            let readable = self.gate.probe::<GetDownloadUrlForLayer>(&visit.call, &visit.registry, source, asked).await;
            if let Ok(readable) = readable {
                let mounted = self.hall.mount(permit, &readable, digest).await;
                if self.checked(permit, mounted).await? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    pub(crate) async fn upload_status(
        &self,
        visit: &Visit,
        name: RepositoryName,
        id: &str,
    ) -> Result<Response, Problem> {
        let id = parse_id(id)?;
        let permit: Permit<UploadLayerPart> = self.part_permit(visit, &name, id).await?;
        let received = self.hall.upload_status(&permit, id).await;
        let received = self.checked(&permit, received).await?;
        self.gate.record_read(&permit).await;
        Ok(progress(StatusCode::NO_CONTENT, &name, id, received))
    }

    /// PATCH: a chunk, or a stream of unknown length.
    pub(crate) async fn send_chunk(
        &self,
        visit: &Visit,
        name: RepositoryName,
        id: &str,
        mut request: Request,
    ) -> Result<Response, Problem> {
        let id = parse_id(id)?;
        let part = part(&mut request)?;
        let permit = Arc::new(self.part_permit(visit, &name, id).await?);
        let sent = self.hall.append(&permit, id, part).await;
        match self.checked(&permit, sent).await {
            Ok(received) => Ok(progress(StatusCode::ACCEPTED, &name, id, received)),
            Err(problem) => Err(problem.with(header::LOCATION, location(&name, id))),
        }
    }

    /// PUT: the last bytes, if any, and the digest of all.
    pub(crate) async fn finish_upload(
        &self,
        visit: &Visit,
        name: RepositoryName,
        id: &str,
        mut request: Request,
    ) -> Result<Response, Problem> {
        let id = parse_id(id)?;
        let digest = request.query("digest").pop().ok_or_else(Problem::bad_digest)?;
        let digest: Digest = digest.parse().map_err(|_| Problem::bad_digest())?;
        // Without a length the body may be empty or a stream: reading it tells.
        let part = if request.content_length() == Some(0) { None } else { Some(part(&mut request)?) };
        self.finish(visit, name, id, digest, part).await
    }

    async fn finish(
        &self,
        visit: &Visit,
        name: RepositoryName,
        id: UploadId,
        digest: Digest,
        part: Option<Part>,
    ) -> Result<Response, Problem> {
        let asked = json!({"uploadId": id.to_string(), "layerDigests": [digest.to_string()]});
        let asked = parameters(visit, &name, asked);
        let permit: Arc<Permit<CompleteLayerUpload>> = Arc::new(self.permit(visit, name.clone(), asked).await?);
        let last = match part {
            Some(part) => Some((self.part_permit(visit, &name, id).await?, part)),
            None => None,
        };
        let completed = self.hall.complete(&permit, last, id, digest, false).await;
        match self.checked(&permit, completed).await {
            Ok(()) => Ok(created(&name, &digest)),
            Err(problem) => Err(problem.with(header::LOCATION, location(&name, id))),
        }
    }

    pub(crate) async fn cancel_upload(
        &self,
        visit: &Visit,
        name: RepositoryName,
        id: &str,
    ) -> Result<Response, Problem> {
        let id = parse_id(id)?;
        let permit: Permit<UploadLayerPart> = self.part_permit(visit, &name, id).await?;
        let cancelled = self.hall.cancel_upload(&permit, id).await;
        self.checked(&permit, cancelled).await?;
        Ok(Answer::new(StatusCode::NO_CONTENT).bare())
    }

    async fn part_permit(
        &self,
        visit: &Visit,
        name: &RepositoryName,
        id: UploadId,
    ) -> Result<Permit<UploadLayerPart>, Problem> {
        let asked: Value = parameters(visit, name, json!({"uploadId": id.to_string()}));
        Ok(self.permit(visit, name.clone(), asked).await?)
    }
}

/// The bytes of a request, and what its headers say of them.
fn part(request: &mut Request) -> Result<Part, Problem> {
    let length = request.content_length();
    let range = request.header(&header::CONTENT_RANGE).map(str::to_owned);
    let unfit = || Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", "Content-Range is not valid");
    let chunk = range.map(|text| range::chunk(&text).ok_or_else(unfit)).transpose()?;
    let announced = chunk.map(|(first, last)| last - first + 1);
    if let (Some(length), Some(announced)) = (length, announced)
        && length != announced
    {
        return Err(Error::BodyLength { received: length, announced }.into());
    }
    Ok(Part {
        body: request.take_body(),
        offset: chunk.map(|(first, _)| first),
        length: length.or(announced),
        counted: false,
    })
}

fn parse_id(text: &str) -> Result<UploadId, Problem> {
    text.parse().map_err(|_| Problem::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "the upload does not exist"))
}

fn location(name: &RepositoryName, id: UploadId) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

fn progress(status: StatusCode, name: &RepositoryName, id: UploadId, received: u64) -> Response {
    let answer = Answer::new(status)
        .header(header::LOCATION, &location(name, id))
        .header(header::RANGE, &upload_range(received))
        .header(UPLOAD_UUID, &id.to_string());
    if status == StatusCode::NO_CONTENT { answer.bare() } else { answer.empty() }
}

fn created(name: &RepositoryName, digest: &Digest) -> Response {
    Answer::new(StatusCode::CREATED)
        .digest(digest)
        .header(header::LOCATION, &format!("/v2/{name}/blobs/{digest}"))
        .empty()
}
