//! The routes, and the ECR actions that each one needs (V2-06).
//!
//! Every match here is exhaustive: a route without a row does not compile.

use funaya_gate::{
    Action as _, Operation,
    action::{
        BatchCheckLayerAvailability, BatchDeleteImage, BatchGetImage, CompleteLayerUpload, DescribeRepositories,
        GetDownloadUrlForLayer, InitiateLayerUpload, ListImageReferrers, ListImages, PutImage, UploadLayerPart,
    },
};
use http::Method;

use crate::path::Resource;

/// A request's kind: its resource and method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table below says what each one is")]
pub enum Route {
    Ping,
    Catalog,
    ListTags,
    GetManifest,
    PutManifest,
    DeleteManifest,
    HeadBlob,
    GetBlob,
    DeleteBlob,
    StartUpload,
    UploadStatus,
    SendChunk,
    FinishUpload,
    CancelUpload,
    ListReferrers,
}

impl Route {
    /// All routes.
    pub const ALL: [Self; 15] = [
        Self::Ping,
        Self::Catalog,
        Self::ListTags,
        Self::GetManifest,
        Self::PutManifest,
        Self::DeleteManifest,
        Self::HeadBlob,
        Self::GetBlob,
        Self::DeleteBlob,
        Self::StartUpload,
        Self::UploadStatus,
        Self::SendChunk,
        Self::FinishUpload,
        Self::CancelUpload,
        Self::ListReferrers,
    ];

    /// Method and path, as documentation writes them.
    pub const fn pattern(self) -> &'static str {
        match self {
            Self::Ping => "GET /v2/",
            Self::Catalog => "GET /v2/_catalog",
            Self::ListTags => "GET /v2/<name>/tags/list",
            Self::GetManifest => "GET, HEAD /v2/<name>/manifests/<tag or digest>",
            Self::PutManifest => "PUT /v2/<name>/manifests/<tag or digest>",
            Self::DeleteManifest => "DELETE /v2/<name>/manifests/<tag or digest>",
            Self::HeadBlob => "HEAD /v2/<name>/blobs/<digest>",
            Self::GetBlob => "GET /v2/<name>/blobs/<digest>",
            Self::DeleteBlob => "DELETE /v2/<name>/blobs/<digest>",
            Self::StartUpload => "POST /v2/<name>/blobs/uploads/",
            Self::UploadStatus => "GET /v2/<name>/blobs/uploads/<id>",
            Self::SendChunk => "PATCH /v2/<name>/blobs/uploads/<id>",
            Self::FinishUpload => "PUT /v2/<name>/blobs/uploads/<id>",
            Self::CancelUpload => "DELETE /v2/<name>/blobs/uploads/<id>",
            Self::ListReferrers => "GET /v2/<name>/referrers/<digest>",
        }
    }

    /// The ECR actions that a request of this kind may need. Empty: a valid token is enough.
    pub const fn actions(self) -> &'static [Operation] {
        match self {
            Self::Ping => &[],
            Self::Catalog => &[DescribeRepositories::OPERATION],
            Self::ListTags => &[ListImages::OPERATION],
            Self::GetManifest => &[BatchGetImage::OPERATION],
            Self::PutManifest => &[PutImage::OPERATION],
            Self::DeleteManifest | Self::DeleteBlob => &[BatchDeleteImage::OPERATION],
            Self::HeadBlob => &[BatchCheckLayerAvailability::OPERATION, GetDownloadUrlForLayer::OPERATION],
            Self::GetBlob => &[GetDownloadUrlForLayer::OPERATION],
            Self::StartUpload => &[
                InitiateLayerUpload::OPERATION,
                UploadLayerPart::OPERATION,
                CompleteLayerUpload::OPERATION,
                GetDownloadUrlForLayer::OPERATION,
            ],
            Self::UploadStatus | Self::SendChunk | Self::CancelUpload => &[UploadLayerPart::OPERATION],
            Self::FinishUpload => &[CompleteLayerUpload::OPERATION, UploadLayerPart::OPERATION],
            Self::ListReferrers => &[ListImageReferrers::OPERATION],
        }
    }

    /// The route of a request; `Err`: the methods that the resource has.
    pub(crate) fn of(method: &Method, resource: &Resource) -> Result<Self, &'static str> {
        let is_read = method == Method::GET || method == Method::HEAD;
        match resource {
            Resource::Base if is_read => Ok(Self::Ping),
            Resource::Catalog if is_read => Ok(Self::Catalog),
            Resource::Tags(_) if is_read => Ok(Self::ListTags),
            Resource::Referrers(..) if is_read => Ok(Self::ListReferrers),
            Resource::Manifest(..) if is_read => Ok(Self::GetManifest),
            Resource::Manifest(..) if method == Method::PUT => Ok(Self::PutManifest),
            Resource::Manifest(..) if method == Method::DELETE => Ok(Self::DeleteManifest),
            Resource::Blob(..) if method == Method::GET => Ok(Self::GetBlob),
            Resource::Blob(..) if method == Method::HEAD => Ok(Self::HeadBlob),
            Resource::Blob(..) if method == Method::DELETE => Ok(Self::DeleteBlob),
            Resource::Uploads(_) if method == Method::POST => Ok(Self::StartUpload),
            Resource::Upload(..) if is_read => Ok(Self::UploadStatus),
            Resource::Upload(..) if method == Method::PATCH => Ok(Self::SendChunk),
            Resource::Upload(..) if method == Method::PUT => Ok(Self::FinishUpload),
            Resource::Upload(..) if method == Method::DELETE => Ok(Self::CancelUpload),
            Resource::Base | Resource::Catalog | Resource::Tags(_) | Resource::Referrers(..) => Err("GET, HEAD"),
            Resource::Manifest(..) => Err("GET, HEAD, PUT, DELETE"),
            Resource::Blob(..) => Err("GET, HEAD, DELETE"),
            Resource::Uploads(_) => Err("POST"),
            Resource::Upload(..) => Err("GET, PATCH, PUT, DELETE"),
        }
    }
}

/// The table of routes and actions as text, one line each: a golden file checks it.
pub fn route_table() -> String {
    Route::ALL
        .iter()
        .map(|route| {
            let actions: Vec<String> =
                route.actions().iter().map(|operation| operation.action().into_owned()).collect();
            format!(
                "| `{}` | {} |\n",
                route.pattern(),
                if actions.is_empty() { "token only".into() } else { actions.join(", ") }
            )
        })
        .collect()
}
