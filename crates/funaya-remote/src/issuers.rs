//! Keys of identity providers, from the providers themselves.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use funaya_ports::{
    Fut,
    issuers::{IssuerError, IssuerKeys},
};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::OnceCell,
};
use tokio_rustls::TlsConnector;

use crate::guard::{Aim, is_callable};

/// For one answer, from the name to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer.
const ANSWER_MAX: usize = 128 * 1024;
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Asks providers over HTTPS. Redirects are not followed, and nothing is remembered.
pub struct HttpIssuers {
    /// Made at the first call: the certificates of a machine are 150 and more, and few servers need them.
    tls: OnceCell<Arc<ClientConfig>>,
    loopback: bool,
}

/// What is needed of a provider's configuration.
#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

impl HttpIssuers {
    /// `loopback`: take providers on this machine, without TLS too.
    #[must_use]
    pub fn new(loopback: bool) -> Self {
        Self { tls: OnceCell::new(), loopback }
    }

    async fn tls(&self) -> Result<TlsConnector, IssuerError> {
        let load = || async {
            let loaded = tokio::task::spawn_blocking(trust_this_machine).await;
            loaded.map_err(|_| IssuerError::Unreachable)?.map(Arc::new).map_err(|_| IssuerError::Unreachable)
        };
        Ok(TlsConnector::from(self.tls.get_or_try_init(load).await?.clone()))
    }

    async fn discover(&self, issuer: &str) -> Result<String, IssuerError> {
        let text = self.get(&format!("{}{DISCOVERY}", issuer.trim_end_matches('/'))).await?;
        let found: Configuration = serde_json::from_str(&text).map_err(|_| IssuerError::Unusable)?;
        // OpenID Connect Discovery 1.0, section 4.3: it must be the same.
        if found.issuer.trim_end_matches('/') != issuer.trim_end_matches('/') {
            return Err(IssuerError::Unusable);
        }
        self.get(&found.jwks_uri).await
    }

    async fn get(&self, url: &str) -> Result<String, IssuerError> {
        let aim = Aim::parse(url, self.loopback).ok_or(IssuerError::Refused)?;
        tokio::time::timeout(TIMEOUT, self.fetch(&aim)).await.map_err(|_| IssuerError::Unreachable)?
    }

    async fn fetch(&self, aim: &Aim) -> Result<String, IssuerError> {
        let stream = self.connect(aim).await?;
        if !aim.tls {
            // Only this machine is spoken to in the open.
            let own = stream.peer_addr().is_ok_and(|address| address.ip().is_loopback());
            return if own { ask(stream, aim).await } else { Err(IssuerError::Refused) };
        }
        let name = ServerName::try_from(aim.host.clone()).map_err(|_| IssuerError::Refused)?;
        let stream = self.tls().await?.connect(name, stream).await.map_err(|_| IssuerError::Unreachable)?;
        ask(stream, aim).await
    }

    /// Connects to the first address that may be called. The name is looked up here only, so that the address that
    /// was checked is the one that is called.
    async fn connect(&self, aim: &Aim) -> Result<TcpStream, IssuerError> {
        let found = tokio::net::lookup_host((aim.host.as_str(), aim.port)).await;
        let mut error = IssuerError::Refused;
        for address in found.map_err(|_| IssuerError::Unreachable)? {
            if !is_callable(address.ip(), self.loopback) {
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(_) => error = IssuerError::Unreachable,
            }
        }
        Err(error)
    }
}

/// Believes whom this machine believes: nobody, on a machine without certificates.
fn trust_this_machine() -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// One request on a connection of its own.
async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, aim: &Aim) -> Result<String, IssuerError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| IssuerError::Unreachable)?;
    let driver = tokio::spawn(connection);
    let request = http::Request::get(&aim.path)
        .header(http::header::HOST, aim.authority())
        .header(http::header::ACCEPT, "application/json")
        .header(http::header::USER_AGENT, "funaya")
        .body(Empty::<Bytes>::new())
        .map_err(|_| IssuerError::Refused)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(|_| IssuerError::Unreachable)?;
        if answer.status() != http::StatusCode::OK {
            return Err(IssuerError::Unusable);
        }
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect().await.map_err(|_| IssuerError::Unusable)?;
        String::from_utf8(body.to_bytes().to_vec()).map_err(|_| IssuerError::Unusable)
    };
    let answer = answer.await;
    driver.abort();
    answer
}

impl IssuerKeys for HttpIssuers {
    fn keys<'a>(&'a self, issuer: &'a str) -> Fut<'a, Result<String, IssuerError>> {
        Box::pin(self.discover(issuer))
    }
}
