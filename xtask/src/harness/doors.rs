//! What a client does, over either of the two APIs.

use funaya_testkit::{Answer, Client, Dice, Gone, base64, digest};
use serde_json::{Value, json};

/// The media type of an image's manifest.
pub(crate) const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an index.
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Parts but the last have this size at least (IMG-23).
const PART: usize = 5 * 1024 * 1024;

/// By which of the two APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Registry,
    Aws,
}

/// How a call was answered.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) status: u16,
    /// The error's name; empty if it went well.
    pub(crate) error: String,
    text: String,
}

impl Told {
    pub(crate) fn went_well(&self) -> bool {
        self.error.is_empty()
    }

    fn by_registry(answer: &Answer) -> Self {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let error = match answer.status {
            200..=299 => String::new(),
            _ => body["errors"][0]["code"].as_str().unwrap_or("an answer without a code").to_owned(),
        };
        Self { status: answer.status, error, text: answer.text().chars().take(300).collect() }
    }

    fn by_aws((status, answer): &(u16, Value)) -> Self {
        let failure = answer["failures"][0]["failureCode"].as_str();
        let error = match status {
            200 => failure.unwrap_or_default(),
            _ => answer["__type"].as_str().unwrap_or("an answer without a type"),
        };
        Self { status: *status, error: error.into(), text: answer.to_string().chars().take(300).collect() }
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "status {} {}", self.status, self.text)
    }
}

/// What came of a pull.
pub(crate) enum Pulled {
    /// The image with all that it names, each byte as its digest says.
    Whole,
    /// There is no such image.
    Absent,
    /// The image is there, but not all of it.
    Broken(String),
}

impl Door {
    pub(crate) fn any(dice: &mut Dice) -> Self {
        if dice.below(2) == 0 { Self::Registry } else { Self::Aws }
    }

    /// Stores a manifest, by tag or by its digest.
    pub(crate) fn put_image(
        self,
        client: &Client,
        name: &str,
        tag: Option<&str>,
        media_type: &str,
        manifest: &[u8],
    ) -> Result<Told, Gone> {
        match self {
            Self::Registry => {
                let reference = tag.map_or_else(|| digest(manifest), str::to_owned);
                let path = format!("/v2/{name}/manifests/{reference}");
                let put = client.registry("PUT", &path, &[("Content-Type", media_type)], manifest)?;
                Ok(Told::by_registry(&put))
            }
            Self::Aws => {
                let mut input = json!({
                    "repositoryName": name,
                    "imageManifestMediaType": media_type,
                    "imageManifest": String::from_utf8_lossy(manifest),
                });
                if let Some(tag) = tag {
                    input["imageTag"] = json!(tag);
                }
                Ok(Told::by_aws(&client.ecr("PutImage", &input)?))
            }
        }
    }

    /// Deletes by tag or digest.
    pub(crate) fn delete_image(self, client: &Client, name: &str, reference: &str) -> Result<Told, Gone> {
        match self {
            Self::Registry => {
                let deleted = client.registry("DELETE", &format!("/v2/{name}/manifests/{reference}"), &[], b"")?;
                Ok(Told::by_registry(&deleted))
            }
            Self::Aws => {
                let input = json!({"repositoryName": name, "imageIds": [image_id(reference)]});
                Ok(Told::by_aws(&client.ecr("BatchDeleteImage", &input)?))
            }
        }
    }

    /// Whether the repository has a layer, as clients ask before they push it.
    pub(crate) fn has_layer(self, client: &Client, name: &str, digest: &str) -> Result<bool, Gone> {
        match self {
            Self::Registry => {
                Ok(client.registry("HEAD", &format!("/v2/{name}/blobs/{digest}"), &[], b"")?.status == 200)
            }
            Self::Aws => {
                let input = json!({"repositoryName": name, "layerDigests": [digest]});
                let (_, known) = client.ecr("BatchCheckLayerAvailability", &input)?;
                Ok(known["layers"][0]["layerAvailability"] == "AVAILABLE")
            }
        }
    }

    /// Sends a layer's bytes.
    pub(crate) fn push_layer(self, client: &Client, name: &str, bytes: &[u8], dice: &mut Dice) -> Result<Told, Gone> {
        match self {
            Self::Aws => push_parts(client, name, bytes),
            Self::Registry if dice.below(2) == 0 => {
                let path = format!("/v2/{name}/blobs/uploads/?digest={}", digest(bytes));
                Ok(Told::by_registry(&client.registry("POST", &path, &[], bytes)?))
            }
            Self::Registry => {
                let opened = client.registry("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"")?;
                finish(client, &opened, bytes, dice.below(2) == 0)
            }
        }
    }

    /// Reads an image with all that it names, and checks every digest.
    pub(crate) fn pull(self, client: &Client, name: &str, reference: &str) -> Result<Pulled, Gone> {
        let manifest = match self.manifest(client, name, reference)? {
            Ok(manifest) => manifest,
            Err(pulled) => return Ok(pulled),
        };
        let document: Value = serde_json::from_slice(&manifest).unwrap_or_default();
        let named = |what: &str| {
            let list = document[what].as_array().into_iter().flatten();
            list.filter_map(|one| one["digest"].as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        for child in named("manifests") {
            match self.pull(client, name, &child)? {
                Pulled::Whole => {}
                // An index that was deleted a moment ago keeps its images no longer.
                Pulled::Absent => match self.manifest(client, name, &digest(&manifest))? {
                    Err(Pulled::Absent) => return Ok(Pulled::Absent),
                    _ => return Ok(Pulled::Broken(format!("{reference} lacks its image {child}"))),
                },
                broken @ Pulled::Broken(_) => return Ok(broken),
            }
        }
        for layer in document["config"]["digest"].as_str().map(str::to_owned).into_iter().chain(named("layers")) {
            if let Err(why) = self.layer(client, name, &layer)? {
                // No URL for layers of an image that was deleted a moment ago.
                let refused = why.contains("LayerInaccessibleException");
                if refused && let Err(Pulled::Absent) = self.manifest(client, name, &digest(&manifest))? {
                    return Ok(Pulled::Absent);
                }
                return Ok(Pulled::Broken(format!("{reference} lacks its layer {layer}: {why}")));
            }
        }
        Ok(Pulled::Whole)
    }

    fn manifest(self, client: &Client, name: &str, reference: &str) -> Result<Result<Vec<u8>, Pulled>, Gone> {
        let (told, bytes, says) = match self {
            Self::Registry => {
                let path = format!("/v2/{name}/manifests/{reference}");
                let answer = client.registry("GET", &path, &[("Accept", "*/*")], b"")?;
                let says = answer.header("docker-content-digest").to_owned();
                (Told::by_registry(&answer), answer.body, says)
            }
            Self::Aws => {
                let input = json!({"repositoryName": name, "imageIds": [image_id(reference)]});
                let answer = client.ecr("BatchGetImage", &input)?;
                let image = &answer.1["images"][0];
                let text = image["imageManifest"].as_str().unwrap_or_default().to_owned();
                let says = image["imageId"]["imageDigest"].as_str().unwrap_or_default().to_owned();
                (Told::by_aws(&answer), text.into_bytes(), says)
            }
        };
        if matches!(told.error.as_str(), "MANIFEST_UNKNOWN" | "NAME_UNKNOWN" | "ImageNotFound")
            || told.error == "RepositoryNotFoundException"
        {
            return Ok(Err(Pulled::Absent));
        }
        let own = digest(&bytes);
        if !told.went_well() || own != says || (reference.contains(':') && own != reference) {
            return Ok(Err(Pulled::Broken(format!("manifest {reference}, said to be {says}: {told}"))));
        }
        Ok(Ok(bytes))
    }

    fn layer(self, client: &Client, name: &str, layer: &str) -> Result<Result<(), String>, Gone> {
        let answer = match self {
            Self::Registry => client.registry("GET", &format!("/v2/{name}/blobs/{layer}"), &[], b"")?,
            Self::Aws => {
                let input = json!({"repositoryName": name, "layerDigest": layer});
                let (status, answer) = client.ecr("GetDownloadUrlForLayer", &input)?;
                let Some(url) = answer["downloadUrl"].as_str() else {
                    return Ok(Err(format!("no URL, status {status} {answer}")));
                };
                client.showing("").registry("GET", url, &[], b"")?
            }
        };
        if answer.status != 200 {
            return Ok(Err(Told::by_registry(&answer).to_string()));
        }
        let own = digest(&answer.body);
        Ok(if own == layer { Ok(()) } else { Err(format!("the bytes are {own}")) })
    }
}

/// A mount: the layer is there, or an upload has begun in its place, which gets the bytes.
pub(crate) fn mount(client: &Client, name: &str, from: &str, bytes: &[u8]) -> Result<(bool, Told), Gone> {
    let path = format!("/v2/{name}/blobs/uploads/?mount={}&from={from}", digest(bytes));
    let asked = client.registry("POST", &path, &[], b"")?;
    match asked.status {
        202 => Ok((false, finish(client, &asked, bytes, false)?)),
        _ => Ok((true, Told::by_registry(&asked))),
    }
}

/// Ends an upload that was opened.
fn finish(client: &Client, opened: &Answer, bytes: &[u8], in_chunks: bool) -> Result<Told, Gone> {
    if opened.status != 202 {
        return Ok(Told::by_registry(opened));
    }
    let mut at = opened.header("location").to_owned();
    let mut rest = bytes;
    if in_chunks {
        let sent = client.registry("PATCH", &at, &[], bytes)?;
        if sent.status != 202 {
            return Ok(Told::by_registry(&sent));
        }
        (at, rest) = (sent.header("location").to_owned(), b"");
    }
    let path = format!("{at}?digest={}", digest(bytes));
    Ok(Told::by_registry(&client.registry("PUT", &path, &[], rest)?))
}

fn push_parts(client: &Client, name: &str, bytes: &[u8]) -> Result<Told, Gone> {
    let opened = client.ecr("InitiateLayerUpload", &json!({"repositoryName": name}))?;
    let id = opened.1["uploadId"].clone();
    let mut first = 0;
    for part in bytes.chunks(PART) {
        let input = json!({
            "repositoryName": name,
            "uploadId": id,
            "partFirstByte": first,
            "partLastByte": first + part.len() - 1,
            "layerPartBlob": base64(part),
        });
        let sent = client.ecr("UploadLayerPart", &input)?;
        if sent.0 != 200 {
            return Ok(Told::by_aws(&sent));
        }
        first += part.len();
    }
    let input = json!({"repositoryName": name, "uploadId": id, "layerDigests": [digest(bytes)]});
    Ok(Told::by_aws(&client.ecr("CompleteLayerUpload", &input)?))
}

fn image_id(reference: &str) -> Value {
    let member = if reference.contains(':') { "imageDigest" } else { "imageTag" };
    json!({member: reference})
}
