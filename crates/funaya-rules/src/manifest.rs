//! Manifests: what a document says, and whether it may be stored.
//!
//! Manifests are kept byte for byte; this module reads the dozen members that
//! the registry needs and leaves the rest alone.
//!
//! Source: OCI image specification 1.1 (image manifest, image index,
//! descriptor), Docker Image Manifest V2 schema 1 and 2 (MAN-01, MAN-05).

use std::collections::BTreeMap;

use funaya_types::{Algorithm, Digest, MediaType, limits::MANIFEST_BYTES_MAX};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256, Sha512};

use crate::jws::{self, BadSignature};

/// Docker schema 1, signed.
pub const DOCKER_V1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// Docker schema 1, unsigned.
pub const DOCKER_V1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker schema 2.
pub const DOCKER_V2: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// OCI image manifest.
pub const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of a Docker layer, which a layer without a manifest is taken for.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// A member of a manifest that points at other content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Of what kind the content is.
    pub media_type: MediaType,
    /// Which content.
    pub digest: Digest,
    /// Its size in bytes; `None` where the format carries none (schema 1).
    pub size: Option<u64>,
    /// True if clients may fetch it elsewhere, so that we need not hold it (NET-30).
    pub foreign: bool,
}

/// What the registry reads in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The manifest's own media type.
    pub media_type: MediaType,
    /// Config (first) and layers, in order, repeats included.
    pub blobs: Vec<Descriptor>,
    /// The manifests that an index or list names.
    pub children: Vec<Descriptor>,
    /// What the manifest is attached to.
    pub subject: Option<Digest>,
    /// `artifactType`, or else the config's media type: how referrers are filtered.
    pub artifact_type: Option<String>,
}

impl Manifest {
    /// Size of the image in bytes: config and layers (IMG-59). An index has none of its own.
    pub fn image_bytes(&self) -> u64 {
        self.blobs.iter().filter_map(|blob| blob.size).fold(0, u64::saturating_add)
    }
}

/// Why a document can't be stored as a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadManifest {
    /// Over 4 MiB.
    #[error("the manifest is larger than {MANIFEST_BYTES_MAX} bytes")]
    TooLarge,
    /// Not JSON of the expected shape.
    #[error("the manifest is not valid: {0}")]
    Malformed(String),
    /// Neither the document nor the client says what it is.
    #[error("the manifest has no mediaType, and none was given with it")]
    NoMediaType,
    /// A media type that is not served here.
    #[error("the manifest's media type `{0}` is not supported")]
    UnknownMediaType(String),
    /// The document and the client disagree.
    #[error("the manifest's mediaType `{document}` differs from the declared `{declared}`")]
    MediaTypesDisagree {
        /// In the document.
        document: String,
        /// In the request.
        declared: String,
    },
    /// A schema 1 manifest that was not signed so.
    #[error("the manifest's signature is not valid: {0}")]
    Signature(#[from] BadSignature),
}

/// Reads a manifest. `declared`: the media type that the client sent with it.
///
/// # Errors
/// See [`BadManifest`].
pub fn parse(bytes: &[u8], declared: Option<&str>) -> Result<Manifest, BadManifest> {
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(BadManifest::TooLarge);
    }
    let document: Document = serde_json::from_slice(bytes).map_err(malformed)?;
    let media_type = document.media_type_with(declared)?;
    if document.artifact_type.as_ref().is_some_and(|text| text.len() > 255 || text.chars().any(char::is_control)) {
        return Err(BadManifest::Malformed("`artifactType` is not a media type".into()));
    }
    match media_type.as_str() {
        DOCKER_V1 => schema1(&document, media_type),
        DOCKER_V1_SIGNED => {
            let manifest = schema1(&document, media_type)?;
            jws::verify(bytes)?;
            Ok(manifest)
        }
        DOCKER_V2 | OCI_IMAGE => image(document, media_type),
        DOCKER_LIST | OCI_INDEX => index(document, media_type),
        other => Err(BadManifest::UnknownMediaType(other.into())),
    }
}

/// The digest of a manifest: over its bytes, but for signed schema 1 over the
/// payload without signatures (MAN-05).
pub fn digest(bytes: &[u8], media_type: &str, algorithm: Algorithm) -> Digest {
    let payload = if media_type == DOCKER_V1_SIGNED { jws::payload(bytes) } else { None };
    let covered = payload.as_deref().unwrap_or(bytes);
    let hash: Result<Digest, _> = match algorithm {
        Algorithm::Sha256 => Digest::from_hash(algorithm, &Sha256::digest(covered)),
        Algorithm::Sha512 => Digest::from_hash(algorithm, &Sha512::digest(covered)),
    };
    hash.unwrap_or_else(|_| unreachable!("a hash has its algorithm's length"))
}

/// Annotations and artifact type of a stored manifest, for lists of referrers.
#[derive(Debug, Default, Deserialize)]
pub struct Annotated {
    /// Free text by key.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// Reads the annotations; a document without any has none.
pub fn annotations(bytes: &[u8]) -> BTreeMap<String, String> {
    serde_json::from_slice::<Annotated>(bytes).unwrap_or_default().annotations
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<i64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    subject: Option<RawDescriptor>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<Vec<FsLayer>>,
    signatures: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: Option<String>,
    digest: String,
    size: i64,
    #[serde(default)]
    urls: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FsLayer {
    blob_sum: String,
}

impl Document {
    fn media_type_with(&self, declared: Option<&str>) -> Result<MediaType, BadManifest> {
        let implied = match self.schema_version {
            Some(1) if self.signatures.is_some() => Some(DOCKER_V1_SIGNED),
            Some(1) => Some(DOCKER_V1),
            _ => None,
        };
        // Clients send schema 1 as plain JSON; the document's version decides there.
        let declared = declared.filter(|text| *text != "application/json");
        let text = match (self.media_type.as_deref(), declared) {
            (Some(document), Some(declared)) if document != declared => {
                return Err(BadManifest::MediaTypesDisagree { document: document.into(), declared: declared.into() });
            }
            (Some(document), _) => document,
            (None, Some(declared)) => declared,
            (None, None) => implied.ok_or(BadManifest::NoMediaType)?,
        };
        let is_schema1 = matches!(text, DOCKER_V1 | DOCKER_V1_SIGNED);
        let wanted = if is_schema1 { 1 } else { 2 };
        if self.schema_version != Some(wanted) {
            return Err(BadManifest::Malformed(format!("schemaVersion of `{text}` must be {wanted}")));
        }
        text.parse().map_err(|_| BadManifest::UnknownMediaType(text.into()))
    }
}

fn image(document: Document, media_type: MediaType) -> Result<Manifest, BadManifest> {
    if document.manifests.is_some() || document.fs_layers.is_some() {
        return Err(BadManifest::Malformed("an image manifest must not have `manifests` or `fsLayers`".into()));
    }
    let config = document.config.ok_or_else(|| missing("config"))?;
    let layers = document.layers.ok_or_else(|| missing("layers"))?;
    let mut blobs = vec![descriptor(config)?];
    for layer in layers {
        blobs.push(descriptor(layer)?);
    }
    let artifact_type = document.artifact_type.or_else(|| Some(blobs[0].media_type.to_string()));
    let subject = subject(document.subject)?;
    Ok(Manifest { media_type, blobs, children: Vec::new(), subject, artifact_type })
}

fn index(document: Document, media_type: MediaType) -> Result<Manifest, BadManifest> {
    if document.layers.is_some() || document.config.is_some() || document.fs_layers.is_some() {
        return Err(BadManifest::Malformed("an index must not have `config`, `layers` or `fsLayers`".into()));
    }
    let manifests = document.manifests.ok_or_else(|| missing("manifests"))?;
    let children = manifests.into_iter().map(descriptor).collect::<Result<Vec<_>, _>>()?;
    let subject = subject(document.subject)?;
    Ok(Manifest { media_type, blobs: Vec::new(), children, subject, artifact_type: document.artifact_type })
}

fn schema1(document: &Document, media_type: MediaType) -> Result<Manifest, BadManifest> {
    if document.layers.is_some() || document.manifests.is_some() || document.config.is_some() {
        return Err(BadManifest::Malformed(
            "a schema 1 manifest must not have `config`, `layers` or `manifests`".into(),
        ));
    }
    let layers = document.fs_layers.as_ref().ok_or_else(|| missing("fsLayers"))?;
    let layer_type: MediaType = DOCKER_LAYER.parse().map_err(|_| missing("fsLayers"))?;
    let blobs = layers
        .iter()
        .map(|layer| {
            let digest = layer.blob_sum.parse().map_err(malformed)?;
            Ok(Descriptor { media_type: layer_type.clone(), digest, size: None, foreign: false })
        })
        .collect::<Result<Vec<_>, BadManifest>>()?;
    Ok(Manifest { media_type, blobs, children: Vec::new(), subject: None, artifact_type: None })
}

fn subject(raw: Option<RawDescriptor>) -> Result<Option<Digest>, BadManifest> {
    Ok(raw.map(descriptor).transpose()?.map(|subject| subject.digest))
}

fn descriptor(raw: RawDescriptor) -> Result<Descriptor, BadManifest> {
    let media_type = raw.media_type.ok_or_else(|| missing("mediaType of a descriptor"))?;
    let size = u64::try_from(raw.size).map_err(|_| BadManifest::Malformed("a descriptor's size is negative".into()))?;
    Ok(Descriptor {
        digest: raw.digest.parse().map_err(|e| BadManifest::Malformed(format!("a descriptor's digest: {e}")))?,
        foreign: is_nondistributable(&media_type) || !raw.urls.is_empty(),
        media_type: media_type.parse().map_err(|_| BadManifest::Malformed("a descriptor's mediaType".into()))?,
        size: Some(size),
    })
}

fn is_nondistributable(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
        || media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
}

fn missing(member: &str) -> BadManifest {
    BadManifest::Malformed(format!("`{member}` is missing"))
}

fn malformed(error: impl std::fmt::Display) -> BadManifest {
    BadManifest::Malformed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA: &str = "sha256:000b9b805af1cdb60628898c9f411996301a1c13afd3dbef1d8a16ac6dbf503a";

    fn oci(extra: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,{extra}"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{SHA}","size":7}},
            "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{SHA}","size":5}}]}}"#
        )
    }

    /// MAN-01, IMG-59.
    #[test]
    fn an_image_is_read() {
        let manifest = parse(oci("").as_bytes(), Some(OCI_IMAGE)).unwrap();
        assert_eq!(manifest.image_bytes(), 12);
        assert_eq!(manifest.artifact_type.as_deref(), Some("application/vnd.oci.image.config.v1+json"));
    }

    /// IMG-28 and the confusion of CVE-2021-41190.
    #[test]
    fn bad_documents_are_refused() {
        let disagreeing = oci(&format!(r#""mediaType":"{OCI_INDEX}","#));
        let both = oci(r#""manifests":[],"#);
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let negative = oci("").replace("\"size\":7", "\"size\":-7");
        let upper = oci("").replace("000b9b", "000B9B");
        let cases = [
            ("empty", ""),
            ("not an object", "[]"),
            ("no schema version", r#"{"config":{},"layers":[]}"#),
            ("types disagree", &disagreeing),
            ("image and index at once", &both),
            ("deep nesting", &deep),
            ("negative size", &negative),
            ("bad digest", &upper),
            ("a NUL in artifactType", &oci(r#""artifactType":"a\u0000b","#)),
        ];
        for (name, text) in cases {
            assert!(parse(text.as_bytes(), Some(OCI_IMAGE)).is_err(), "{name}");
        }
        assert_eq!(parse(oci("").as_bytes(), None), Err(BadManifest::NoMediaType));
        assert_eq!(parse(&vec![b' '; MANIFEST_BYTES_MAX + 1], None), Err(BadManifest::TooLarge));
        assert!(matches!(parse(oci("").as_bytes(), Some("text/plain")), Err(BadManifest::UnknownMediaType(_))));
    }

    /// NET-30.
    #[test]
    fn foreign_layers_need_not_be_held() {
        let text = oci("").replace(
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        );
        let manifest = parse(text.as_bytes(), Some(OCI_IMAGE)).unwrap();
        assert_eq!(manifest.blobs.iter().map(|blob| blob.foreign).collect::<Vec<_>>(), [false, true]);
    }

    /// MAN-05: the digest of a signed schema 1 manifest leaves the signatures out.
    #[test]
    fn schema_1_is_hashed_without_signatures() {
        let payload = format!("{{\n   \"schemaVersion\": 1,\n   \"fsLayers\": [{{\"blobSum\": \"{SHA}\"}}]\n}}");
        let signer = jws::Signer::from_seed(&[1; 32]).unwrap();
        let signed = signer.sign(payload.as_bytes(), funaya_types::Timestamp::from_secs(0)).unwrap();
        let manifest = parse(&signed, Some("application/json")).unwrap();
        assert_eq!(manifest.media_type.as_str(), DOCKER_V1_SIGNED);
        let got = digest(&signed, DOCKER_V1_SIGNED, Algorithm::Sha256);
        assert_eq!(got, digest(payload.as_bytes(), DOCKER_V2, Algorithm::Sha256));
        let forged = String::from_utf8(signed).unwrap().replace("\"fsLayers\"", "\"fsLayers\" ");
        assert!(matches!(parse(forged.as_bytes(), None), Err(BadManifest::Signature(_))));
        // What claims no signature needs none.
        assert!(parse(payload.as_bytes(), None).is_ok());
    }
}
