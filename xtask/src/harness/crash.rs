//! Crashes: eight writers over both APIs, the collector on, SIGKILL at a random
//! moment, restart, and a check of what was acknowledged, byte for byte.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use funaya_testkit::{Client, Dice, Gone, Scratch, Server, base64, digest, operator};
use serde_json::json;

use super::{
    Options,
    model::{Image, Layer, Model, Tally, manifest},
};
use crate::Failure;

const WRITERS: u64 = 8;
/// Short, so that the collector has work while writers write.
const SETTINGS: [(&str, &str); 4] =
    [("FUNAYA_GC_INTERVAL", "1s"), ("FUNAYA_GC_GRACE", "20s"), ("FUNAYA_GC_TRASH", "2s"), ("FUNAYA_UNDO_WINDOW", "1s")];
/// Layers that all writers share, so that equal blobs meet.
const SHARED_LAYERS: u64 = 12;
const PART: usize = 5 * 1024 * 1024;

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let scratch = Scratch::new("crash")?;
    let data = scratch.path().join("data");
    let mut dice = Dice::new(options.seed);
    let mut tally = Tally::default();
    let mut writers: Vec<Writer> = (0..WRITERS).map(|index| Writer::new(index, options.seed)).collect();
    let begun = Instant::now();
    for kill in 1..=options.kills {
        let server = Server::start(&options.bin, &data, &SETTINGS)?;
        let client = Client::new(&server.url).map_err(|Gone| "the server does not answer".to_owned())?;
        // What was cut off is settled; of the rest, a few of each writer's.
        for writer in &mut writers {
            let sample = &mut dice;
            let checked = writer.model.check(&client, &mut tally, || sample.below(12) == 0);
            checked.map_err(|Gone| "the server went away during a check".to_owned())?;
        }
        let pause = Duration::from_millis(100 + dice.below(900));
        writers = write_until_killed(server, client, writers, pause);
        if kill % 50 == 0 || kill == options.kills {
            let acknowledged: u64 = writers.iter().map(|writer| writer.model.acknowledged).sum();
            println!("{kill} kills, {acknowledged} acknowledged writes, {tally:?}, {} s", begun.elapsed().as_secs());
        }
    }
    let server = Server::start(&options.bin, &data, &SETTINGS)?;
    let client = Client::new(&server.url).map_err(|Gone| "the server does not answer".to_owned())?;
    for writer in &mut writers {
        let checked = writer.model.check(&client, &mut tally, || true);
        checked.map_err(|Gone| "the server went away during the last check".to_owned())?;
    }
    let verified = operator(&options.bin, &data, "verify")?;
    let acknowledged: u64 = writers.iter().map(|writer| writer.model.acknowledged).sum();
    println!(
        "crash: {} kills, {acknowledged} acknowledged writes, {} checks, {} lost, {} unreadable; {}",
        options.kills,
        tally.checked,
        tally.lost,
        tally.unreadable,
        verified.trim()
    );
    if tally.lost + tally.unreadable > 0 { Err("acknowledged writes were lost".into()) } else { Ok(()) }
}

/// Lets the writers write, kills the server after `pause`, and takes the writers back.
fn write_until_killed(server: Server, client: Client, writers: Vec<Writer>, pause: Duration) -> Vec<Writer> {
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = writers
        .into_iter()
        .map(|mut writer| {
            let (client, stop) = (client.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) && writer.step(&client).is_ok() {}
                writer
            })
        })
        .collect();
    thread::sleep(pause);
    server.kill();
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
}

/// One writer with a repository of its own.
struct Writer {
    /// Over which of the two APIs it writes.
    by_registry_api: bool,
    dice: Dice,
    made: bool,
    model: Model,
    note: u64,
}

/// An answer that should not come.
fn unexpected(what: &str, status: u16, text: &[u8]) -> Gone {
    eprintln!("UNEXPECTED {what}: status {status} {}", String::from_utf8_lossy(&text[..text.len().min(300)]));
    Gone
}

impl Writer {
    fn new(index: u64, seed: u64) -> Self {
        let model = Model { name: format!("crash/writer{index}"), ..Model::default() };
        Self {
            by_registry_api: index.is_multiple_of(2),
            dice: Dice::new(seed ^ (index + 1) << 32),
            made: false,
            model,
            note: 0,
        }
    }

    /// One operation: a push, or now and then a deletion.
    fn step(&mut self, client: &Client) -> Result<(), Gone> {
        if !self.made {
            let (status, answer) = client.ecr("CreateRepository", &json!({"repositoryName": self.model.name}))?;
            let known = answer["__type"] == "RepositoryAlreadyExistsException";
            if status != 200 && !known {
                return Err(unexpected("CreateRepository", status, answer.to_string().as_bytes()));
            }
            self.made = true;
        }
        if self.model.tags.len() > 30 || self.dice.below(10) == 0 { self.delete(client) } else { self.push(client) }
    }

    fn push(&mut self, client: &Client) -> Result<(), Gone> {
        let layers: Vec<Layer> = (0..2 + self.dice.below(2)).map(|_| self.layer()).collect();
        for layer in &layers {
            if self.by_registry_api { self.push_layer(client, layer)? } else { self.push_layer_by_api(client, layer)? }
        }
        self.note += 1;
        let image = Image { manifest: manifest(&layers, self.note), layers };
        let tag = format!("t{}", self.dice.below(60));
        // From here on the tag may name either image, until the answer is there.
        let before = self.model.tags.get(&tag).and_then(|images| images.first().cloned()).flatten();
        self.model.tags.insert(tag.clone(), vec![before, Some(image.clone())]);
        self.put_image(client, &tag, &image)?;
        self.model.tags.insert(tag, vec![Some(image)]);
        self.model.acknowledged += 1;
        Ok(())
    }

    fn layer(&mut self) -> Layer {
        if self.dice.below(3) == 0 {
            let seed = 1_000 + self.dice.below(SHARED_LAYERS);
            return Layer { seed, size: 10_000 + seed as usize * 37 };
        }
        let size = match self.dice.below(10) {
            0 => 1 + self.dice.below(2_000_000),
            1..=3 => 65_536 * (1 + self.dice.below(4)) + self.dice.below(3) - 1,
            _ => 1 + self.dice.below(20_000),
        };
        Layer { seed: self.dice.roll(), size: size as usize }
    }

    /// By the registry API: whole, in two requests, in chunks, or by a mount.
    fn push_layer(&mut self, client: &Client, layer: &Layer) -> Result<(), Gone> {
        let bytes = layer.bytes();
        let digest = digest(&bytes);
        let uploads = format!("/v2/{}/blobs/uploads/", self.model.name);
        let octets = [("Content-Type", "application/octet-stream")];
        let done = match self.dice.below(4) {
            0 => client.registry("POST", &format!("{uploads}?digest={digest}"), &octets, &bytes)?,
            1 => {
                let opened = client.registry("POST", &uploads, &[], b"")?;
                client.registry(
                    "PUT",
                    &format!("{}?digest={digest}", opened.header("location").to_owned()),
                    &octets,
                    &bytes,
                )?
            }
            2 => {
                let other = format!("crash/writer{}", self.dice.below(WRITERS));
                let mounted = client.registry("POST", &format!("{uploads}?mount={digest}&from={other}"), &[], b"")?;
                if mounted.status == 201 {
                    return Ok(());
                }
                client.registry(
                    "PUT",
                    &format!("{}?digest={digest}", mounted.header("location").to_owned()),
                    &octets,
                    &bytes,
                )?
            }
            _ => {
                let mut at = client.registry("POST", &uploads, &[], b"")?.header("location").to_owned();
                let step = 1 + self.dice.below(bytes.len() as u64) as usize;
                let mut first = 0;
                for chunk in bytes.chunks(step) {
                    let range = format!("{first}-{}", first + chunk.len() - 1);
                    let sent = client.registry("PATCH", &at, &[("Content-Range", &range), octets[0]], chunk)?;
                    if sent.status != 202 {
                        return Err(unexpected("PATCH", sent.status, &sent.body));
                    }
                    at = sent.header("location").to_owned();
                    first += chunk.len();
                }
                client.registry("PUT", &format!("{at}?digest={digest}"), &[], b"")?
            }
        };
        if done.status == 201 { Ok(()) } else { Err(unexpected("a layer's push", done.status, &done.body)) }
    }

    fn push_layer_by_api(&mut self, client: &Client, layer: &Layer) -> Result<(), Gone> {
        let bytes = layer.bytes();
        let name = self.model.name.clone();
        let layers = json!({"repositoryName": name, "layerDigests": [digest(&bytes)]});
        let (_, known) = client.ecr("BatchCheckLayerAvailability", &layers)?;
        if known["layers"][0]["layerAvailability"] == "AVAILABLE" {
            return Ok(());
        }
        let (_, opened) = client.ecr("InitiateLayerUpload", &json!({"repositoryName": name}))?;
        let mut first = 0;
        for part in bytes.chunks(PART) {
            let input = json!({
                "repositoryName": name,
                "uploadId": opened["uploadId"],
                "partFirstByte": first,
                "partLastByte": first + part.len() - 1,
                "layerPartBlob": base64(part),
            });
            let (status, answer) = client.ecr("UploadLayerPart", &input)?;
            if status != 200 {
                return Err(unexpected("UploadLayerPart", status, answer.to_string().as_bytes()));
            }
            first += part.len();
        }
        let mut complete = layers;
        complete["uploadId"] = opened["uploadId"].clone();
        let (status, answer) = client.ecr("CompleteLayerUpload", &complete)?;
        if status == 200 || answer["__type"] == "LayerAlreadyExistsException" {
            return Ok(());
        }
        Err(unexpected("CompleteLayerUpload", status, answer.to_string().as_bytes()))
    }

    fn put_image(&mut self, client: &Client, tag: &str, image: &Image) -> Result<(), Gone> {
        if self.by_registry_api {
            let path = format!("/v2/{}/manifests/{tag}", self.model.name);
            let kind = [("Content-Type", "application/vnd.oci.image.manifest.v1+json")];
            let put = client.registry("PUT", &path, &kind, &image.manifest)?;
            return if put.status == 201 {
                Ok(())
            } else {
                Err(unexpected("a manifest's push", put.status, &put.body))
            };
        }
        let input = json!({
            "repositoryName": self.model.name,
            "imageTag": tag,
            "imageManifest": String::from_utf8_lossy(&image.manifest),
        });
        let (status, answer) = client.ecr("PutImage", &input)?;
        if status == 200 { Ok(()) } else { Err(unexpected("PutImage", status, answer.to_string().as_bytes())) }
    }

    fn delete(&mut self, client: &Client) -> Result<(), Gone> {
        let names: Vec<String> = self.model.tags.keys().cloned().collect();
        let Some(tag) = names.get(self.dice.below(names.len() as u64) as usize).cloned() else { return Ok(()) };
        let Some(Some(image)) = self.model.tags.get(&tag).and_then(|images| images.first().cloned()) else {
            return Ok(());
        };
        self.model.tags.insert(tag.clone(), vec![Some(image), None]);
        if self.by_registry_api {
            let deleted = client.registry("DELETE", &format!("/v2/{}/manifests/{tag}", self.model.name), &[], b"")?;
            if deleted.status != 202 {
                return Err(unexpected("a deletion", deleted.status, &deleted.body));
            }
        } else {
            let input = json!({"repositoryName": self.model.name, "imageIds": [{"imageTag": tag}]});
            let (status, answer) = client.ecr("BatchDeleteImage", &input)?;
            let failures = answer["failures"].as_array().map_or(1, Vec::len);
            if status != 200 || failures > 0 {
                return Err(unexpected("BatchDeleteImage", status, answer.to_string().as_bytes()));
            }
        }
        self.model.tags.insert(tag, vec![None]);
        self.model.acknowledged += 1;
        Ok(())
    }
}
