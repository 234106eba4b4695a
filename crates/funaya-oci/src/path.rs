//! Paths: which resource a request is about.
//!
//! Repository names hold slashes, so a path is read from its end.

use funaya_types::RepositoryName;
use percent_encoding::percent_decode_str;

/// What a path names. References are still text: a bad one is the caller's fault
/// on a resource that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Base,
    Catalog,
    Tags(RepositoryName),
    Manifest(RepositoryName, String),
    Blob(RepositoryName, String),
    Uploads(RepositoryName),
    Upload(RepositoryName, String),
    Referrers(RepositoryName, String),
}

/// Why a path names no resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadPath {
    NotFound,
    Name,
}

impl Resource {
    pub(crate) fn parse(path: &str) -> Result<Self, BadPath> {
        let decoded = percent_decode_str(path).decode_utf8().map_err(|_| BadPath::NotFound)?;
        let rest = match &*decoded {
            "/v2" | "/v2/" => return Ok(Self::Base),
            "/v2/_catalog" => return Ok(Self::Catalog),
            path => path.strip_prefix("/v2/").ok_or(BadPath::NotFound)?,
        };
        let name = |text: &str| text.parse::<RepositoryName>().map_err(|_| BadPath::Name);
        if let Some(text) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags(name(text)?));
        }
        if let Some(text) = rest.strip_suffix("/blobs/uploads/").or_else(|| rest.strip_suffix("/blobs/uploads")) {
            return Ok(Self::Uploads(name(text)?));
        }
        let (head, last) = rest.rsplit_once('/').ok_or(BadPath::NotFound)?;
        if let Some(text) = head.strip_suffix("/blobs/uploads") {
            return Ok(Self::Upload(name(text)?, last.into()));
        }
        if let Some(text) = head.strip_suffix("/blobs") {
            return Ok(Self::Blob(name(text)?, last.into()));
        }
        if let Some(text) = head.strip_suffix("/manifests") {
            return Ok(Self::Manifest(name(text)?, last.into()));
        }
        if let Some(text) = head.strip_suffix("/referrers") {
            return Ok(Self::Referrers(name(text)?, last.into()));
        }
        Err(BadPath::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepositoryName {
        text.parse().unwrap()
    }

    #[test]
    fn paths() {
        let cases = [
            ("/v2/", Ok(Resource::Base)),
            ("/v2/_catalog", Ok(Resource::Catalog)),
            ("/v2/a/b/tags/list", Ok(Resource::Tags(name("a/b")))),
            ("/v2/web/manifests/latest", Ok(Resource::Manifest(name("web"), "latest".into()))),
            ("/v2/web/manifests/sha256%3Aab", Ok(Resource::Manifest(name("web"), "sha256:ab".into()))),
            ("/v2/a/manifests/b/manifests/x", Ok(Resource::Manifest(name("a/manifests/b"), "x".into()))),
            ("/v2/web/blobs/sha256:ab", Ok(Resource::Blob(name("web"), "sha256:ab".into()))),
            ("/v2/web/blobs/uploads/", Ok(Resource::Uploads(name("web")))),
            ("/v2/web/blobs/uploads", Ok(Resource::Uploads(name("web")))),
            ("/v2/web/blobs/uploads/id", Ok(Resource::Upload(name("web"), "id".into()))),
            ("/v2/web/referrers/sha256:ab", Ok(Resource::Referrers(name("web"), "sha256:ab".into()))),
            ("/v1/", Err(BadPath::NotFound)),
            ("/v2/web", Err(BadPath::NotFound)),
            ("/v2/../../etc/tags/list", Err(BadPath::Name)),
            ("/v2/%2e%2e/blobs/x", Err(BadPath::Name)),
            ("/v2/UPPER/tags/list", Err(BadPath::Name)),
            ("/v2/%ff/tags/list", Err(BadPath::NotFound)),
        ];
        for (path, want) in cases {
            assert_eq!(Resource::parse(path), want, "{path}");
        }
    }
}
