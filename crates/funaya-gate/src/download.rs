//! Download URLs: `GetDownloadUrlForLayer` hands one out, and whoever has it may
//! read that one layer for an hour, without any other sign-in (IMG-27).
//!
//! The form is a presigned SigV4 GET, bound to registry, digest, host and time.

use funaya_sigv4::{Credentials, Encoding, Expected, Payload, Request, Scope, SigningKey, parse, presign, verify};
use funaya_types::{Digest, Registry, Secret, Timestamp};

/// How long a URL is good for, in seconds.
pub const VALID_S: u32 = 3600;
const ACCESS_KEY: &str = "FUNAYALAYERDOWNLOAD";
const SERVICE: &str = "s3";

/// What a checked URL allows: to read this layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    registry: Registry,
    digest: Digest,
}

impl Download {
    /// Of which registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Which layer.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// Path and query of the URL. `host`: what the client will send as `Host`.
pub(crate) fn sign(
    secret: &Secret,
    registry: &Registry,
    digest: &Digest,
    host: &str,
    now: Timestamp,
) -> Option<String> {
    let path = path(registry, digest);
    let headers = [("host", host.as_bytes())];
    let request = Request { method: "GET", path: &path, query: "", headers: &headers };
    let credentials = Credentials { access_key_id: ACCESS_KEY, secret, security_token: None };
    let scope = Scope::new(now, registry.region.as_str(), SERVICE);
    let query = presign(&request, &credentials, &scope, Payload::Unsigned, Encoding::Once, now, VALID_S);
    Some(format!("{path}?{query}"))
}

/// Checks a URL; `None` if it is not one of ours, not of this host, or too old.
pub(crate) fn accept(secret: &Secret, request: &Request<'_>, now: Timestamp) -> Option<Download> {
    let download = read_path(request.path)?;
    // A HEAD of the same URL may be answered as well.
    let request = Request { method: "GET", ..*request };
    let presented = parse(&request).ok()??;
    if presented.access_key_id != ACCESS_KEY {
        return None;
    }
    let region_is_ours = |name: &str| name == download.registry.region.as_str();
    let expected = Expected { service: SERVICE, region: &region_is_ours, encoding: Encoding::Once, now };
    let key = SigningKey::derive(secret, &presented.scope);
    verify(&presented, &request, &key, Payload::Unsigned, &expected).ok()?;
    Some(download)
}

fn path(registry: &Registry, digest: &Digest) -> String {
    let digest = digest.to_string().replace(':', "/");
    format!("/prod-{}-starport-layer-bucket/{}/{digest}", registry.region, registry.account)
}

fn read_path(path: &str) -> Option<Download> {
    let rest = path.strip_prefix("/prod-")?;
    let (region, rest) = rest.split_once("-starport-layer-bucket/")?;
    let (account, digest) = rest.split_once('/')?;
    let registry = Registry { account: account.parse().ok()?, region: region.parse().ok()? };
    Some(Download { registry, digest: digest.replacen('/', ":", 1).parse().ok()? })
}
