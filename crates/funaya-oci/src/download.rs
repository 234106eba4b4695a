//! Download URLs that need no sign-in: they were checked when they were made (IMG-27).

use http::{Method, StatusCode};

use crate::{
    answer::Response,
    door::{Door, Request},
    error::Problem,
};

impl Door {
    /// Whether a path may be that of a download URL.
    pub fn is_download(path: &str) -> bool {
        path.starts_with("/prod-") && path.contains("-starport-layer-bucket/")
    }

    /// Answers a download URL.
    pub async fn answer_download(&self, request: Request) -> Response {
        self.download(request).await.unwrap_or_else(Problem::into_response)
    }

    async fn download(&self, request: Request) -> Result<Response, Problem> {
        if request.http.method() != Method::GET && !request.is_head() {
            return Err(Problem::unsupported("GET, HEAD"));
        }
        let host = request.host().to_owned();
        let headers = [("host", host.as_bytes())];
        let signed = funaya_gate::SignedRequest {
            method: "GET",
            path: request.http.uri().path(),
            query: request.http.uri().query().unwrap_or_default(),
            headers: &headers,
        };
        let refused = || Problem::new(StatusCode::FORBIDDEN, "DENIED", "the download URL is not valid or has expired");
        let download = self.gate.accept_download(&signed).ok_or_else(refused)?;
        let gone = || Problem::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "the layer is gone");
        let blob = self.hall.download(&download).await?.ok_or_else(gone)?;
        self.send_blob(&blob, &request).await
    }
}
