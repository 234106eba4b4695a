//! Images of schema 2 and OCI as Docker's schema 1 (MAN-19).
//!
//! Schema 1 has no config: each layer's history entry is a small config of its
//! own, and the newest holds the image's. Their ids are made of the layers' digests.

use funaya_types::{Algorithm, Digest, ImageTag, RepositoryName, limits::MANIFEST_BYTES_MAX};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{
    ser::{PrettyFormatter, Serializer},
    value::RawValue,
};
use sha2::{Digest as _, Sha256};

use crate::convert::{NoConversion, is_image_config, is_plain_layer, members, no, set};

/// The layer of history entries that have none: an empty tar archive, compressed.
pub const EMPTY_LAYER: [u8; 32] = [
    31, 139, 8, 0, 0, 9, 110, 136, 0, 255, 98, 24, 5, 163, 96, 20, 140, 88, 0, 8, 0, 0, 255, 255, 46, 175, 181, 239, 0,
    4, 0, 0,
];
const EMPTY_LAYER_SHA256: [u8; 32] = [
    0xa3, 0xed, 0x95, 0xca, 0xeb, 0x02, 0xff, 0xe6, 0x8c, 0xdd, 0x9f, 0xd8, 0x44, 0x06, 0x68, 0x0a, 0xe9, 0x3d, 0x63,
    0x3c, 0xb1, 0x64, 0x22, 0xd0, 0x0e, 0x8a, 0x7c, 0x22, 0x95, 0x5b, 0x46, 0xd4,
];
/// Larger configs are not read.
pub const CONFIG_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Docker allows 127 layers; entries without a layer come on top.
const HISTORY_MAX: usize = 2_000;
/// What Go writes for a time that is not known.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Whether this is the digest of [`EMPTY_LAYER`].
pub fn is_empty_layer(digest: &Digest) -> bool {
    digest.algorithm() == Algorithm::Sha256 && digest.hash() == EMPTY_LAYER_SHA256
}

/// An image of schema 2 or OCI whose layers schema 1 can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The config blob to read.
    pub config: Digest,
    /// Layers, oldest first.
    layers: Vec<Digest>,
}

/// Reads the manifest of such an image.
///
/// # Errors
/// If it is an artifact, or a layer is one that schema 1 has no word for.
pub fn source(manifest: &[u8]) -> Result<Source, NoConversion> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        artifact_type: Option<IgnoredAny>,
        subject: Option<IgnoredAny>,
        config: Descriptor,
        layers: Vec<Descriptor>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Descriptor {
        media_type: String,
        digest: String,
    }
    let document: Document = serde_json::from_slice(manifest).map_err(no)?;
    if document.artifact_type.is_some() || document.subject.is_some() {
        return Err(no("artifacts and attachments have no counterpart in schema 1"));
    }
    if !is_image_config(&document.config.media_type) {
        return Err(no(format!("`{}` has no counterpart in schema 1", document.config.media_type)));
    }
    if document.layers.len() > HISTORY_MAX {
        return Err(no("the image has too many layers"));
    }
    let layer = |layer: Descriptor| match is_plain_layer(&layer.media_type) {
        true => layer.digest.parse().map_err(no),
        false => Err(no(format!("`{}` has no counterpart in schema 1", layer.media_type))),
    };
    Ok(Source {
        config: document.config.digest.parse().map_err(no)?,
        layers: document.layers.into_iter().map(layer).collect::<Result<_, _>>()?,
    })
}

#[derive(Deserialize)]
struct Config<'a> {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    rootfs: RootFs,
    #[serde(borrow)]
    history: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<IgnoredAny>,
    /// Of old Windows images: a layer that is nowhere to be had.
    base_layer: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    created: Option<String>,
    created_by: Option<String>,
    author: Option<String>,
    comment: Option<String>,
    empty_layer: bool,
}

#[derive(Serialize)]
struct Compatibility<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    parent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    created: &'a str,
    container_config: ContainerConfig<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    throwaway: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerConfig<'a> {
    cmd: [&'a str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    name: &'a str,
    tag: &'a str,
    architecture: &'a str,
    fs_layers: Vec<Layer>,
    history: Vec<History>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    blob_sum: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct History {
    v1_compatibility: String,
}

/// The schema 1 manifest of an image, not signed yet. `config`: the bytes of its config.
///
/// # Errors
/// If the config is none of an image, or its history does not belong to the layers.
pub fn convert(source: &Source, config: &[u8], name: &RepositoryName, tag: &ImageTag) -> Result<Vec<u8>, NoConversion> {
    let read: Config = serde_json::from_slice(config).map_err(no)?;
    if read.rootfs.base_layer.is_some() {
        return Err(no("an image on a base layer has no counterpart in schema 1"));
    }
    if read.rootfs.diff_ids.len() != source.layers.len() {
        return Err(no("the config has not as many layers as the manifest"));
    }
    let entries = entries(read.history.unwrap_or_default(), source.layers.len())?;
    let sums = sums(&entries, &source.layers)?;
    let (mut history, mut parent) = (Vec::with_capacity(entries.len()), String::new());
    let newest = entries.len() - 1;
    for (number, (entry, sum)) in entries.iter().zip(&sums).enumerate() {
        let hash = hex(sum.hash());
        if number == newest {
            let id = hex(&Sha256::digest([hash.as_bytes(), b" ", parent.as_bytes(), b" ", config].concat()));
            history.push(newest_entry(config, &id, &parent, entry.empty_layer)?);
        } else {
            let id = hex(&Sha256::digest(format!("{hash} {parent}")));
            history.push(entry.compatibility(&id, &parent)?);
            parent = id;
        }
    }
    let manifest = Manifest {
        schema_version: 1,
        name: name.as_str(),
        tag: tag.as_str(),
        architecture: &read.architecture,
        fs_layers: sums.iter().rev().map(|sum| Layer { blob_sum: sum.to_string() }).collect(),
        history: history.into_iter().rev().map(|v1_compatibility| History { v1_compatibility }).collect(),
    };
    pretty(&manifest)
}

/// The history, oldest first. An image without one has an entry for each layer.
fn entries(history: Vec<&RawValue>, layers: usize) -> Result<Vec<Entry>, NoConversion> {
    if history.len() > HISTORY_MAX {
        return Err(no("the config has too much history"));
    }
    let entries: Vec<Entry> = match history.is_empty() {
        true => std::iter::repeat_with(Entry::default).take(layers).collect(),
        false => history.iter().map(|raw| serde_json::from_str(raw.get()).map_err(no)).collect::<Result<_, _>>()?,
    };
    if entries.is_empty() { Err(no("the image has neither layers nor history")) } else { Ok(entries) }
}

/// Which layer each entry has.
fn sums(entries: &[Entry], layers: &[Digest]) -> Result<Vec<Digest>, NoConversion> {
    let empty = Digest::from_hash(Algorithm::Sha256, &EMPTY_LAYER_SHA256).map_err(no)?;
    let mut left = layers.iter().copied();
    let disagree = || no("the config's history does not belong to the layers");
    let sum = |entry: &Entry| if entry.empty_layer { Ok(empty) } else { left.next().ok_or_else(disagree) };
    let sums = entries.iter().map(sum).collect::<Result<Vec<_>, _>>()?;
    if left.next().is_some() { Err(disagree()) } else { Ok(sums) }
}

impl Entry {
    fn compatibility(&self, id: &str, parent: &str) -> Result<String, NoConversion> {
        let compatibility = Compatibility {
            id,
            parent,
            comment: self.comment.as_deref(),
            created: self.created.as_deref().unwrap_or(NO_TIME),
            container_config: ContainerConfig { cmd: [self.created_by.as_deref().unwrap_or_default()] },
            author: self.author.as_deref(),
            throwaway: self.empty_layer,
        };
        serde_json::to_string(&compatibility).map_err(no)
    }
}

/// The image's config, as the newest entry has it.
fn newest_entry(config: &[u8], id: &str, parent: &str, throwaway: bool) -> Result<String, NoConversion> {
    let mut config = members(config)?;
    for of_schema_2 in ["rootfs", "history"] {
        config.remove(of_schema_2);
    }
    set(&mut config, "id", id)?;
    config.remove("parent");
    if !parent.is_empty() {
        set(&mut config, "parent", parent)?;
    }
    config.remove("throwaway");
    if throwaway {
        set(&mut config, "throwaway", &true)?;
    }
    serde_json::to_string(&config).map_err(no)
}

/// Three blanks a step, as Docker writes it.
fn pretty(manifest: &Manifest) -> Result<Vec<u8>, NoConversion> {
    let mut bytes = Vec::new();
    manifest
        .serialize(&mut Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"   ")))
        .map_err(no)?;
    if bytes.len() > MANIFEST_BYTES_MAX { Err(no("the converted manifest is too large")) } else { Ok(bytes) }
}

fn hex(raw: &[u8]) -> String {
    raw.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        jws::{self, Signer},
        manifest::{self, DOCKER_V1_SIGNED},
    };

    const ONE: &str = "sha256:000b9b805af1cdb60628898c9f411996301a1c13afd3dbef1d8a16ac6dbf503a";
    const TWO: &str = "sha256:111b9b805af1cdb60628898c9f411996301a1c13afd3dbef1d8a16ac6dbf503a";
    const EMPTY: &str = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4";

    fn image(layers: &[&str]) -> Vec<u8> {
        let layer = |digest: &&str| json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": 5});
        json!({"schemaVersion": 2, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": ONE, "size": 7},
            "layers": layers.iter().map(layer).collect::<Vec<_>>()})
        .to_string()
        .into_bytes()
    }

    fn config(layers: usize, history: Value) -> Vec<u8> {
        json!({"architecture": "arm64", "os": "linux", "config": {"Cmd": ["sh"]}, "created": "2020-01-01T00:00:00Z",
            "rootfs": {"type": "layers", "diff_ids": vec![ONE; layers]}, "history": history})
        .to_string()
        .into_bytes()
    }

    fn schema1(layers: &[&str], config: &[u8]) -> Result<Value, NoConversion> {
        let bytes = convert(&source(&image(layers))?, config, &"team/web".parse().unwrap(), &"v1".parse().unwrap())?;
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    /// MAN-19
    #[test]
    fn the_empty_layer_is_known() {
        assert_eq!(Sha256::digest(EMPTY_LAYER)[..], EMPTY_LAYER_SHA256);
        assert!(is_empty_layer(&EMPTY.parse().unwrap()) && !is_empty_layer(&ONE.parse().unwrap()));
    }

    /// MAN-19: newest first, parents chained, the image's config in the newest entry.
    #[test]
    fn an_image_is_told_in_schema_1() {
        let history = json!([
            {"created": "2019-01-01T00:00:00Z", "created_by": "ADD file \"x\"", "author": "me"},
            {"created_by": "ENV A=b", "empty_layer": true, "comment": "c"},
            {"created_by": "RUN make"},
        ]);
        let made = schema1(&[ONE, TWO], &config(2, history)).unwrap();
        assert_eq!(
            (&made["name"], &made["tag"], &made["architecture"]),
            (&json!("team/web"), &json!("v1"), &json!("arm64"))
        );
        let sums: Vec<&str> =
            made["fsLayers"].as_array().unwrap().iter().filter_map(|l| l["blobSum"].as_str()).collect();
        assert_eq!(sums, [TWO, EMPTY, ONE]);
        let entries: Vec<Value> = made["history"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| serde_json::from_str(entry["v1Compatibility"].as_str().unwrap()).unwrap())
            .collect();
        assert_eq!(entries[0]["parent"], entries[1]["id"]);
        assert_eq!(entries[1]["parent"], entries[2]["id"]);
        assert_eq!(entries[2].get("parent"), None);
        assert_eq!(entries[0]["config"], json!({"Cmd": ["sh"]}));
        assert!(entries[0].get("rootfs").is_none() && entries[0].get("history").is_none());
        assert_eq!(entries[1]["throwaway"], true);
        assert_eq!(entries[1]["created"], NO_TIME);
        assert_eq!(entries[2]["container_config"]["Cmd"], json!(["ADD file \"x\""]));
        let ids: std::collections::BTreeSet<_> = entries.iter().map(|entry| entry["id"].as_str().unwrap()).collect();
        assert!(ids.len() == 3 && ids.iter().all(|id| id.len() == 64));
    }

    /// MAN-05, MAN-19: signed, it verifies, and its digest is that of the payload.
    #[test]
    fn the_signed_form_is_accepted_here() {
        let source = source(&image(&[ONE])).unwrap();
        let name = ("app".parse().unwrap(), "v1".parse().unwrap());
        let payload = convert(&source, &config(1, json!([{}])), &name.0, &name.1).unwrap();
        let signed =
            Signer::from_seed(&[1; 32]).unwrap().sign(&payload, funaya_types::Timestamp::from_secs(0)).unwrap();
        assert_eq!(jws::verify(&signed), Ok(()));
        assert_eq!(manifest::parse(&signed, None).unwrap().media_type.as_str(), DOCKER_V1_SIGNED);
        let digest = manifest::digest(&signed, DOCKER_V1_SIGNED, Algorithm::Sha256);
        assert_eq!(digest.hash(), &Sha256::digest(&payload)[..]);
        let other = Signer::from_seed(&[2; 32]).unwrap().sign(&payload, funaya_types::Timestamp::from_secs(9)).unwrap();
        assert_eq!(manifest::digest(&other, DOCKER_V1_SIGNED, Algorithm::Sha256), digest);
    }

    #[test]
    fn an_image_without_history_has_an_entry_a_layer() {
        let made = schema1(&[ONE, TWO], &config(2, Value::Null)).unwrap();
        assert_eq!(made["history"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let layer = json!({});
        let empty = json!({"empty_layer": true});
        let cases = [
            ("no JSON", vec![ONE], b"MZ\0".to_vec()),
            ("no object", vec![ONE], b"[]".to_vec()),
            ("fewer layers in the config", vec![ONE, TWO], config(1, json!([layer]))),
            ("more layers in the config", vec![ONE], config(2, json!([layer, layer]))),
            ("history too short", vec![ONE, TWO], config(2, json!([layer, empty]))),
            ("history too long", vec![ONE], config(1, json!([layer, layer]))),
            ("no history, no layers", vec![], config(0, json!([]))),
            ("endless history", vec![ONE], config(1, json!(vec![empty.clone(); HISTORY_MAX + 1]))),
            ("endless layers", vec![ONE; HISTORY_MAX + 1], config(HISTORY_MAX + 1, Value::Null)),
            ("history of another shape", vec![ONE], config(1, json!([7]))),
            ("too large", vec![ONE], config(1, json!([{"created_by": "\\".repeat(3 << 20)}, empty]))),
            ("a base layer", vec![ONE], br#"{"rootfs":{"diff_ids":["a"],"base_layer":"b"},"history":[{}]}"#.to_vec()),
        ];
        for (name, layers, config) in cases {
            assert!(schema1(&layers, &config).is_err(), "{name}");
        }
        for media_type in
            ["application/vnd.oci.image.layer.v1.tar+zstd", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"]
        {
            let text = String::from_utf8(image(&[ONE])).unwrap();
            let text = text.replace("application/vnd.oci.image.layer.v1.tar+gzip", media_type);
            assert!(source(text.as_bytes()).is_err(), "{media_type}");
        }
        assert!(
            source(br#"{"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json","digest":"x"},"layers":[]}"#)
                .is_err()
        );
    }
}
