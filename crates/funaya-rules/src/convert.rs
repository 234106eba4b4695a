//! Manifests of Docker's family as ones of OCI's, and the other way round (MAN-18).
//!
//! Members that are not known here keep their text. What has no counterpart is
//! refused: a converted image must be the same image.

use std::collections::BTreeMap;

use funaya_types::{Digest, limits::MANIFEST_BYTES_MAX};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::format::Format;

/// Pairs of media types: Docker's, OCI's.
type Pairs = [(&'static str, &'static str)];

const CONFIGS: &Pairs =
    &[("application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json")];
const LAYERS: &Pairs = &[
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.oci.image.layer.v1.tar+gzip"),
    ("application/vnd.docker.image.rootfs.diff.tar", "application/vnd.oci.image.layer.v1.tar"),
    (
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar"),
];

/// Why a manifest can't be converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoConversion(pub String);

/// An object's members; the values as they were written.
pub(crate) type Members = BTreeMap<String, Box<RawValue>>;

/// An image of one family as one of the other.
///
/// # Errors
/// If config, a layer or the image itself has no counterpart.
pub fn image(bytes: &[u8], to: Format) -> Result<Vec<u8>, NoConversion> {
    let mut document = members(bytes)?;
    let docker = match to {
        Format::Schema2 => true,
        Format::Oci => false,
        Format::Schema1 | Format::List | Format::Index => return Err(no("the format is not one of images")),
    };
    if docker {
        refuse_oci_only(&document)?;
    }
    let mut config: Members = read(&document, "config")?;
    swap(&mut config, CONFIGS, docker)?;
    let mut layers: Vec<Members> = read(&document, "layers")?;
    for layer in &mut layers {
        swap(layer, LAYERS, docker)?;
    }
    set(&mut document, "mediaType", &to.media_type())?;
    set(&mut document, "config", &config)?;
    set(&mut document, "layers", &layers)?;
    write(&document)
}

/// What an index says of one of its manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Which manifest.
    pub digest: Digest,
    /// Whether it is for Linux on AMD64.
    pub is_linux_amd64: bool,
}

/// The manifests of an index, in order.
///
/// # Errors
/// If it is no index.
pub fn children(bytes: &[u8]) -> Result<Vec<Child>, NoConversion> {
    #[derive(Deserialize)]
    struct Document {
        manifests: Vec<Raw>,
    }
    #[derive(Deserialize)]
    struct Raw {
        digest: String,
        platform: Option<Platform>,
    }
    #[derive(Deserialize)]
    struct Platform {
        os: Option<String>,
        architecture: Option<String>,
    }
    let document: Document = serde_json::from_slice(bytes).map_err(no)?;
    let child = |raw: Raw| {
        let is_linux_amd64 = raw.platform.is_some_and(|platform| {
            platform.os.as_deref() == Some("linux") && platform.architecture.as_deref() == Some("amd64")
        });
        Ok(Child { digest: raw.digest.parse().map_err(no)?, is_linux_amd64 })
    };
    document.manifests.into_iter().map(child).collect()
}

/// What becomes of a manifest of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The client can read it as it is.
    Stays,
    /// It is replaced by its conversion.
    Becomes {
        /// The conversion's digest.
        digest: Digest,
        /// Its size in bytes.
        size: usize,
        /// Its format.
        format: Format,
    },
    /// It has no conversion, so the client could not pull it.
    Goes,
}

/// An index of one family as one of the other. `fates`: what becomes of its manifests.
///
/// # Errors
/// If the index has no counterpart, or no manifest would be left.
pub fn index(bytes: &[u8], to: Format, fates: &BTreeMap<Digest, Fate>) -> Result<Vec<u8>, NoConversion> {
    let mut document = members(bytes)?;
    match to {
        Format::List => refuse_oci_only(&document)?,
        Format::Index => {}
        Format::Schema1 | Format::Schema2 | Format::Oci => return Err(no("the format is not one of indexes")),
    }
    let mut manifests = Vec::new();
    for mut child in read::<Vec<Members>>(&document, "manifests")? {
        let digest: Digest = read::<String>(&child, "digest")?.parse().map_err(no)?;
        match fates.get(&digest) {
            None | Some(Fate::Goes) => continue,
            Some(Fate::Stays) => {}
            Some(Fate::Becomes { digest, size, format }) => {
                set(&mut child, "mediaType", &format.media_type())?;
                set(&mut child, "digest", &digest.to_string())?;
                set(&mut child, "size", size)?;
                // The manifest itself, embedded: not the one that is named any more.
                child.remove("data");
            }
        }
        manifests.push(child);
    }
    if manifests.is_empty() {
        return Err(no("no manifest of the index can be converted"));
    }
    set(&mut document, "mediaType", &to.media_type())?;
    set(&mut document, "manifests", &manifests)?;
    write(&document)
}

/// What an artifact or an attachment is has no word in Docker's formats.
fn refuse_oci_only(document: &Members) -> Result<(), NoConversion> {
    for member in ["subject", "artifactType"] {
        if document.get(member).is_some_and(|value| value.get() != "null") {
            return Err(no(format!("`{member}` has no counterpart in Docker's format")));
        }
    }
    Ok(())
}

/// Whether this is the config of an image, in either family.
pub(crate) fn is_image_config(media_type: &str) -> bool {
    CONFIGS.iter().any(|(docker, oci)| media_type == *docker || media_type == *oci)
}

/// Whether this is a layer that every client can unpack, and that we hold.
pub(crate) fn is_plain_layer(media_type: &str) -> bool {
    LAYERS.iter().take(2).any(|(docker, oci)| media_type == *docker || media_type == *oci)
}

/// Gives a descriptor the media type of the other family.
fn swap(descriptor: &mut Members, pairs: &Pairs, to_docker: bool) -> Result<(), NoConversion> {
    let media_type: String = read(descriptor, "mediaType")?;
    let pair = pairs.iter().find(|(docker, oci)| media_type == *docker || media_type == *oci);
    let (docker, oci) = pair.ok_or_else(|| no(format!("`{media_type}` has no counterpart")))?;
    set(descriptor, "mediaType", if to_docker { docker } else { oci })
}

pub(crate) fn members(bytes: &[u8]) -> Result<Members, NoConversion> {
    serde_json::from_slice(bytes).map_err(no)
}

pub(crate) fn read<'a, T: Deserialize<'a>>(object: &'a Members, member: &str) -> Result<T, NoConversion> {
    let value = object.get(member).ok_or_else(|| no(format!("`{member}` is missing")))?;
    serde_json::from_str(value.get()).map_err(no)
}

pub(crate) fn set<T: serde::Serialize + ?Sized>(
    object: &mut Members,
    member: &str,
    value: &T,
) -> Result<(), NoConversion> {
    object.insert(member.to_owned(), to_raw_value(value).map_err(no)?);
    Ok(())
}

fn write(document: &Members) -> Result<Vec<u8>, NoConversion> {
    let bytes = serde_json::to_vec(document).map_err(no)?;
    if bytes.len() > MANIFEST_BYTES_MAX { Err(no("the converted manifest is too large")) } else { Ok(bytes) }
}

pub(crate) fn no(reason: impl std::fmt::Display) -> NoConversion {
    NoConversion(reason.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::manifest::{DOCKER_LIST, DOCKER_V2, OCI_IMAGE, OCI_INDEX, parse};

    const SHA: &str = "sha256:000b9b805af1cdb60628898c9f411996301a1c13afd3dbef1d8a16ac6dbf503a";
    const OTHER: &str = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4";

    fn oci(layers: &[&str], more: Value) -> Vec<u8> {
        let layer = |media_type: &&str| json!({"mediaType": media_type, "digest": SHA, "size": 5, "urls": ["https://x.test/l"]});
        let mut document = json!({
            "schemaVersion": 2,
            "config": {"mediaType": CONFIGS[0].1, "digest": SHA, "size": 7},
            "layers": layers.iter().map(layer).collect::<Vec<_>>(),
        });
        if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
            document.extend(more);
        }
        document.to_string().into_bytes()
    }

    /// MAN-18: media types change, everything else stays, and back again.
    #[test]
    fn an_image_crosses_over_and_back() {
        let all: Vec<&str> = LAYERS.iter().map(|(_, oci)| *oci).collect();
        let source = oci(&all, json!({"mediaType": OCI_IMAGE, "annotations": {"a": "b"}, "extra": 1.50}));
        let docker = image(&source, Format::Schema2).unwrap();
        let text = String::from_utf8(docker.clone()).unwrap();
        assert!(
            text.contains(r#""extra":1.5"#) && text.contains("https://x.test/l") && !text.contains(".oci."),
            "{text}"
        );
        let parsed = parse(&docker, Some(DOCKER_V2)).unwrap();
        let expected: Vec<&str> = LAYERS.iter().map(|(docker, _)| *docker).collect();
        assert_eq!(parsed.blobs[1..].iter().map(|blob| blob.media_type.as_str()).collect::<Vec<_>>(), expected);
        let back = image(&docker, Format::Oci).unwrap();
        let (source, back): (Value, Value) =
            (serde_json::from_slice(&source).unwrap(), serde_json::from_slice(&back).unwrap());
        assert_eq!(source, back);
        // The media type may be missing in OCI's manifests, not in Docker's.
        assert!(parse(&image(&oci(&all, json!({})), Format::Schema2).unwrap(), None).is_ok());
    }

    /// MAN-18: nothing is spoiled that has no counterpart.
    #[test]
    fn what_has_no_counterpart_is_refused() {
        let layer = LAYERS[0].1;
        let cases = [
            ("zstd", oci(&["application/vnd.oci.image.layer.v1.tar+zstd"], json!({}))),
            ("an attestation", oci(&["application/vnd.in-toto+json"], json!({}))),
            ("an artifact", oci(&[layer], json!({"artifactType": "application/vnd.example"}))),
            ("an attachment", oci(&[layer], json!({"subject": {"mediaType": OCI_IMAGE, "digest": SHA, "size": 1}}))),
            ("a chart", oci(&[layer], json!({"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}))),
            ("no config", br#"{"layers":[]}"#.to_vec()),
            ("no object", b"[1]".to_vec()),
        ];
        for (name, bytes) in cases {
            assert!(image(&bytes, Format::Schema2).is_err(), "{name}");
        }
        assert!(image(&oci(&[layer], json!({"subject": null})), Format::Schema2).is_ok());
        assert!(image(&oci(&[layer], json!({})), Format::List).is_err());
    }

    fn listed(more: Value) -> Vec<u8> {
        let mut document = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            {"mediaType": OCI_IMAGE, "digest": SHA, "size": 5, "data": "e30=",
                "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
            {"mediaType": OCI_IMAGE, "digest": OTHER, "size": 6, "platform": {"os": "linux", "architecture": "amd64"}},
        ]});
        if let (Value::Object(document), Value::Object(more)) = (&mut document, more) {
            document.extend(more);
        }
        document.to_string().into_bytes()
    }

    /// MAN-16: a list names the conversions of an index's images.
    #[test]
    fn an_index_names_converted_images() {
        let (one, two): (Digest, Digest) = (SHA.parse().unwrap(), OTHER.parse().unwrap());
        let found = children(&listed(json!({}))).unwrap();
        assert_eq!(found.iter().map(|child| child.is_linux_amd64).collect::<Vec<_>>(), [false, true]);
        let becomes = Fate::Becomes { digest: two, size: 9, format: Format::Schema2 };
        let fates = BTreeMap::from([(one, becomes), (two, Fate::Goes)]);
        let list: Value = serde_json::from_slice(&index(&listed(json!({})), Format::List, &fates).unwrap()).unwrap();
        assert_eq!(list["mediaType"], DOCKER_LIST);
        assert_eq!(
            list["manifests"],
            json!([{"mediaType": DOCKER_V2, "digest": OTHER, "size": 9,
                "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}}])
        );
        let gone = BTreeMap::from([(one, Fate::Goes), (two, Fate::Goes)]);
        assert!(index(&listed(json!({})), Format::List, &gone).is_err());
        let stays = BTreeMap::from([(one, Fate::Stays), (two, Fate::Stays)]);
        assert!(index(&listed(json!({"artifactType": "a/b"})), Format::List, &stays).is_err());
        assert!(index(&listed(json!({})), Format::Schema2, &stays).is_err());
    }
}
