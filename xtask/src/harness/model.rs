//! What a writer knows of its repository: what was acknowledged must be there.

use std::collections::BTreeMap;

use funaya_testkit::{Client, Dice, Gone, digest};

/// A layer, as the recipe of its bytes.
#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) seed: u64,
    pub(crate) size: usize,
}

impl Layer {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        Dice::new(self.seed).bytes(self.size)
    }
}

/// An image whose push was acknowledged.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) manifest: Vec<u8>,
    pub(crate) layers: Vec<Layer>,
}

/// One writer's repository.
#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) name: String,
    /// Acknowledged tags; two images where a write was cut off: either may stand.
    pub(crate) tags: BTreeMap<String, Vec<Option<Image>>>,
    /// Acknowledged writes so far.
    pub(crate) acknowledged: u64,
}

/// Faults found so far.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    pub(crate) checked: u64,
    pub(crate) lost: u64,
    pub(crate) unreadable: u64,
}

impl Model {
    /// Checks tags against the server, byte for byte, and settles which of two
    /// uncertain images stands. `only`: whether to check a tag that is certain.
    pub(crate) fn check(
        &mut self,
        client: &Client,
        tally: &mut Tally,
        mut only: impl FnMut() -> bool,
    ) -> Result<(), Gone> {
        let name = self.name.clone();
        for (tag, images) in &mut self.tags {
            if images.len() == 1 && !only() {
                continue;
            }
            tally.checked += 1;
            let answer = client.registry("GET", &format!("/v2/{name}/manifests/{tag}"), &[("Accept", "*/*")], b"")?;
            let stands = images.iter().position(|image| match image {
                Some(image) => answer.status == 200 && answer.body == image.manifest,
                None => answer.status == 404,
            });
            let Some(index) = stands else {
                let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)]).into_owned();
                eprintln!("LOST {name}:{tag}: status {} {text}", answer.status);
                tally.lost += 1;
                continue;
            };
            let image = images.swap_remove(index);
            if let Some(image) = &image {
                check_layers(client, &name, image, tally)?;
            }
            *images = vec![image];
        }
        self.tags.retain(|_, images| !matches!(images.as_slice(), [None]));
        Ok(())
    }
}

fn check_layers(client: &Client, name: &str, image: &Image, tally: &mut Tally) -> Result<(), Gone> {
    for layer in &image.layers {
        let bytes = layer.bytes();
        let answer = client.registry("GET", &format!("/v2/{name}/blobs/{}", digest(&bytes)), &[], b"")?;
        tally.checked += 1;
        if answer.status != 200 || answer.body != bytes {
            eprintln!("UNREADABLE {name} {}: status {}, {} bytes", digest(&bytes), answer.status, answer.body.len());
            tally.unreadable += 1;
        }
    }
    Ok(())
}

/// The manifest of an image of these layers; the first is its config.
pub(crate) fn manifest(layers: &[Layer], note: u64) -> Vec<u8> {
    let descriptor = |layer: &Layer, media_type: &str| serde_json::json!({"mediaType": media_type, "digest": digest(&layer.bytes()), "size": layer.size});
    let (config, rest) = layers.split_first().map_or((None, layers), |(first, rest)| (Some(first), rest));
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.map(|layer| descriptor(layer, "application/vnd.oci.image.config.v1+json")),
        "layers": rest.iter().map(|l| descriptor(l, "application/vnd.oci.image.layer.v1.tar+gzip")).collect::<Vec<_>>(),
        "annotations": {"note": note.to_string()},
    })
    .to_string()
    .into_bytes()
}
