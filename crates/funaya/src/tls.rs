//! TLS 1.2 and 1.3, with certificates that are read again when their files change.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio_rustls::TlsAcceptor;

use crate::data::Failed;

const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The certificate that stands now.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// An acceptor over these files. Must be called inside the runtime: it watches them.
pub(crate) fn acceptor(cert: PathBuf, key: PathBuf) -> Result<TlsAcceptor, Failed> {
    let current = Arc::new(Current(RwLock::new(load(&cert, &key)?)));
    tokio::spawn(watch(current.clone(), cert, key));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(current);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn watch(current: Arc<Current>, cert: PathBuf, key: PathBuf) {
    let mut seen = changed(&cert, &key);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = changed(&cert, &key);
        if now == seen {
            continue;
        }
        match load(&cert, &key) {
            Ok(loaded) => {
                *current.0.write().unwrap_or_else(PoisonError::into_inner) = loaded;
                seen = now;
                tracing::info!("the TLS certificate was read again");
            }
            // Perhaps only one of the two files is new yet.
            Err(error) => tracing::warn!(%error, "the changed TLS certificate can't be used yet"),
        }
    }
}

fn changed(cert: &Path, key: &Path) -> [Option<SystemTime>; 2] {
    [cert, key].map(|path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok())
}

fn load(cert: &Path, key: &Path) -> Result<Arc<CertifiedKey>, Failed> {
    let wrong = |path: &Path, why: String| format!("the TLS file `{}` can't be used: {why}", path.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|error| wrong(cert, error.to_string()))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let provider = aws_lc_rs::default_provider();
    let certified =
        CertifiedKey::from_der(chain, private, &provider).map_err(|error| wrong(cert, error.to_string()))?;
    Ok(Arc::new(certified))
}
