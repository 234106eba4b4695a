//! One worker of the soak: what it does, and what it knows must be there.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use funaya_testkit::{Client, Dice, Gone, base64, digest};
use serde_json::{Value, json};

use super::super::{
    doors::{self, Door, IMAGE, INDEX, Pulled, Told},
    model::{Layer, manifest},
};

/// Layers that all workers share.
const SHARED_LAYERS: u64 = 40;
/// Images of the common repository: few, so that workers meet over them.
const COMMON_IMAGES: u64 = 24;
/// From so many images on a worker deletes more than it pushes.
const IMAGES_WANTED: usize = 60;
/// Lifecycle policies keep so many images.
pub(super) const KEPT: usize = 10;
/// Nobody knows on which side of its time something is that is so near.
const NEAR: Duration = Duration::from_secs(3);

/// What happened, by name.
pub(super) type Counts = BTreeMap<&'static str, u64>;

/// An image that must be there.
#[derive(Clone)]
struct Known {
    manifest: Vec<u8>,
    media_type: &'static str,
    children: Vec<String>,
}

/// An image that was deleted, and the tags that went with it.
struct Grave {
    at: Instant,
    digest: String,
    image: Known,
    tags: Vec<String>,
}

pub(super) struct Worker {
    index: u64,
    workers: u64,
    client: Client,
    dice: Dice,
    bin: PathBuf,
    data: PathBuf,
    undo: Duration,
    /// Images of the worker's own repository, by digest, and its tags.
    images: BTreeMap<String, Known>,
    tags: BTreeMap<String, String>,
    graves: Vec<Grave>,
    /// Tags of the repository whose policy expires images, the newest last.
    expiring: VecDeque<String>,
    note: u64,
    pub(super) counts: Counts,
    /// Uploads that got bytes: each is an object on disk.
    pub(super) objects: u64,
    pub(super) errors: Vec<String>,
}

type Done = Result<(), Gone>;

/// What every worker is told.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) url: String,
    pub(super) bin: PathBuf,
    pub(super) data: PathBuf,
    pub(super) undo: Duration,
    pub(super) workers: u64,
    pub(super) seed: u64,
}

/// The repository that all workers use.
pub(super) const COMMON: &str = "soak/common";

impl Worker {
    pub(super) fn new(index: u64, site: &Site) -> Result<Self, Gone> {
        Ok(Self {
            index,
            workers: site.workers,
            client: Client::new(&site.url)?,
            dice: Dice::new(site.seed ^ (index + 1) << 32),
            bin: site.bin.clone(),
            data: site.data.clone(),
            undo: site.undo,
            images: BTreeMap::new(),
            tags: BTreeMap::new(),
            graves: Vec::new(),
            expiring: VecDeque::new(),
            note: 0,
            counts: Counts::new(),
            objects: 0,
            errors: Vec::new(),
        })
    }

    fn own(&self) -> String {
        format!("soak/own{}", self.index)
    }

    fn with_policy(&self) -> String {
        format!("soak/policy{}", self.index)
    }

    /// Makes the worker's repositories.
    pub(super) fn set_up(&mut self) -> Done {
        for name in [self.own(), self.with_policy()] {
            let made = self.client.ecr("CreateRepository", &json!({"repositoryName": name}))?;
            self.expect("CreateRepository", made.0 == 200, &made.1);
        }
        let rule = |priority: u64, selection: Value| json!({"rulePriority": priority, "selection": selection, "action": {"type": "expire"}});
        let count = json!({"countType": "imageCountMoreThan", "countNumber": KEPT});
        let with = |more: Value| {
            let mut all = count.clone();
            if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
                all.extend(more);
            }
            all
        };
        let rules = json!([
            rule(1, with(json!({"tagStatus": "tagged", "tagPrefixList": ["e"]}))),
            rule(2, with(json!({"tagStatus": "untagged"}))),
        ]);
        let policy = json!({"rules": rules}).to_string();
        let input = json!({"repositoryName": self.with_policy(), "lifecyclePolicyText": policy});
        let put = self.client.ecr("PutLifecyclePolicy", &input)?;
        self.expect("PutLifecyclePolicy", put.0 == 200, &put.1);
        Ok(())
    }

    /// One event.
    pub(super) fn step(&mut self) {
        let crowded = self.images.len() > IMAGES_WANTED;
        let done = match self.dice.below(100) {
            0..24 if !crowded => self.push_own(),
            24..30 if !crowded => self.push_index(),
            30..36 => self.retag(),
            0..46 => self.delete(),
            46..50 => self.restore(),
            50..52 => self.push_again(),
            52..66 => self.pull_own(),
            66..76 => self.push_expiring(),
            76..80 => self.pull_expiring(),
            80..88 => self.common_push(),
            88..92 => self.common_pull(),
            92..95 => self.common_delete(),
            95..98 => self.abandon(),
            98 => self.whole_repository(),
            _ => self.check_list(),
        };
        if let Err(Gone) = done {
            self.errors.push("no answer within a minute".into());
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn expect(&mut self, what: &str, well: bool, told: &dyn std::fmt::Display) -> bool {
        if !well {
            self.errors.push(format!("{what}: {told}"));
        }
        well
    }

    fn well(&mut self, what: &str, told: &Told) -> bool {
        self.expect(what, told.went_well(), told)
    }

    fn layer(&mut self) -> Layer {
        if self.dice.below(3) == 0 { self.shared_layer() } else { self.new_layer() }
    }

    fn shared_layer(&mut self) -> Layer {
        let seed = 1_000 + self.dice.below(SHARED_LAYERS);
        Layer { seed, size: 5_000 + seed as usize * 7 }
    }

    fn new_layer(&mut self) -> Layer {
        let size = match self.dice.below(40) {
            0 => 1 + self.dice.below(500_000),
            1..10 => 65_536 * (1 + self.dice.below(2)) + self.dice.below(3) - 1,
            _ => 1 + self.dice.below(8_000),
        };
        Layer { seed: self.dice.roll(), size: size as usize }
    }

    /// As clients do: look first, mount what another repository may have, or send the bytes.
    fn push_layer(&mut self, name: &str, layer: &Layer, door: Door) -> Result<bool, Gone> {
        let bytes = layer.bytes();
        if self.dice.below(2) == 0 && door.has_layer(&self.client, name, &digest(&bytes))? {
            return Ok(true);
        }
        if layer.seed < 10_000 && self.dice.below(2) == 0 {
            let from = format!("soak/own{}", self.dice.below(self.workers));
            let (mounted, told) = doors::mount(&self.client, name, &from, &bytes)?;
            self.count(if mounted { "mounts" } else { "mounts that became uploads" });
            self.objects += u64::from(!mounted);
            return Ok(self.well("a mount", &told));
        }
        let told = door.push_layer(&self.client, name, &bytes, &mut self.dice)?;
        self.objects += 1;
        let known = told.error == "LayerAlreadyExistsException";
        Ok(self.expect("a layer's push", told.went_well() || known, &told))
    }

    /// Pushes layers and the manifest of an image; its digest and what is known of it.
    fn push_image(&mut self, name: &str, tag: Option<&str>) -> Result<Option<(String, Known)>, Gone> {
        let layers: Vec<Layer> = (0..2 + self.dice.below(3)).map(|_| self.layer()).collect();
        self.note += 1;
        self.push_image_of(name, tag, &layers, self.index << 40 | self.note)
    }

    fn push_image_of(
        &mut self,
        name: &str,
        tag: Option<&str>,
        layers: &[Layer],
        note: u64,
    ) -> Result<Option<(String, Known)>, Gone> {
        let door = Door::any(&mut self.dice);
        for layer in layers {
            if !self.push_layer(name, layer, door)? {
                return Ok(None);
            }
        }
        let manifest = manifest(layers, note);
        let told = door.put_image(&self.client, name, tag, IMAGE, &manifest)?;
        let known = told.error == "ImageAlreadyExistsException" && name == COMMON;
        self.expect("an image's push", told.went_well() || known, &told);
        self.count("images pushed");
        let digest = digest(&manifest);
        Ok(Some((digest, Known { manifest, media_type: IMAGE, children: Vec::new() })))
    }

    fn new_tag(&mut self) -> String {
        format!("t{}", self.dice.below(80))
    }

    fn push_own(&mut self) -> Done {
        let tag = self.new_tag();
        if let Some((digest, image)) = self.push_image(&self.own(), Some(&tag))? {
            self.images.insert(digest.clone(), image);
            self.tags.insert(tag, digest);
        }
        Ok(())
    }

    /// Images of several architectures, then the index that names them.
    fn index(&mut self, name: &str, tag: &str) -> Result<Option<Vec<(String, Known)>>, Gone> {
        let mut all = Vec::new();
        for _ in 0..2 + self.dice.below(2) {
            match self.push_image(name, None)? {
                Some(image) => all.push(image),
                None => return Ok(None),
            }
        }
        let architectures = ["amd64", "arm64", "riscv64"];
        let manifests: Vec<Value> = all
            .iter()
            .zip(architectures)
            .map(|((digest, image), architecture)| {
                let platform = json!({"os": "linux", "architecture": architecture});
                json!({"mediaType": IMAGE, "digest": digest, "size": image.manifest.len(), "platform": platform})
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string().into_bytes();
        let told = Door::any(&mut self.dice).put_image(&self.client, name, Some(tag), INDEX, &index)?;
        if !self.well("an index' push", &told) {
            return Ok(None);
        }
        self.count("indexes pushed");
        let children = all.iter().map(|(digest, _)| digest.clone()).collect();
        all.push((digest(&index), Known { manifest: index, media_type: INDEX, children }));
        Ok(Some(all))
    }

    fn push_index(&mut self) -> Done {
        let tag = self.new_tag();
        if let Some(all) = self.index(&self.own(), &tag)? {
            if let Some((digest, _)) = all.last() {
                self.tags.insert(tag, digest.clone());
            }
            self.images.extend(all);
        }
        Ok(())
    }

    fn some_image(&mut self) -> Option<(String, Known)> {
        let place = self.dice.below(self.images.len() as u64) as usize;
        self.images.iter().nth(place).map(|(digest, image)| (digest.clone(), image.clone()))
    }

    fn parent_of(&self, digest: &str) -> bool {
        self.images.values().any(|image| image.children.iter().any(|child| child == digest))
    }

    /// Another tag for an image that is there, or a tag that moves.
    fn retag(&mut self) -> Done {
        let Some((digest, image)) = self.some_image() else { return Ok(()) };
        if self.parent_of(&digest) {
            return Ok(());
        }
        let tag = self.new_tag();
        let door = Door::any(&mut self.dice);
        let told = door.put_image(&self.client, &self.own(), Some(&tag), image.media_type, &image.manifest)?;
        let same = self.tags.get(&tag) == Some(&digest) && told.error == "ImageAlreadyExistsException";
        if self.expect("a retag", told.went_well() || same, &told) {
            self.count("retags");
            self.tags.insert(tag, digest);
        }
        Ok(())
    }

    fn tags_of(&self, digest: &str) -> Vec<String> {
        self.tags.iter().filter(|(_, target)| *target == digest).map(|(tag, _)| tag.clone()).collect()
    }

    fn delete(&mut self) -> Done {
        let Some((digest, _)) = self.some_image() else { return Ok(()) };
        let (tags, door) = (self.tags_of(&digest), Door::any(&mut self.dice));
        let by_tag = tags.first().filter(|_| self.dice.below(2) == 0).cloned();
        let reference = by_tag.as_ref().unwrap_or(&digest);
        let told = door.delete_image(&self.client, &self.own(), reference)?;
        let needed = self.parent_of(&digest);
        // The tag goes alone: there are others, or an index needs the image (decision 0007).
        let tag = by_tag.filter(|_| tags.len() > 1 || (needed && door == Door::Registry));
        if needed && tag.is_none() {
            let refused = matches!(told.error.as_str(), "ImageReferencedByManifestList" | "UNSUPPORTED");
            self.count("deletions refused, as an index needs the image");
            self.expect("a deletion that an index forbids", refused, &told);
            return Ok(());
        }
        if self.well("a deletion", &told) {
            self.count("deletions");
            match tag {
                Some(tag) => drop(self.tags.remove(&tag)),
                None => self.bury(&digest, tags),
            }
        }
        Ok(())
    }

    fn bury(&mut self, digest: &str, tags: Vec<String>) {
        for tag in &tags {
            self.tags.remove(tag);
        }
        if let Some(image) = self.images.remove(digest) {
            self.graves.push(Grave { at: Instant::now(), digest: digest.to_owned(), image, tags });
        }
    }

    /// A grave that is still open, or whose time has passed; one that is near its end is nobody's matter.
    fn some_grave(&mut self) -> Option<(Grave, bool)> {
        let undo = self.undo;
        self.graves.retain(|grave| grave.at.elapsed() < 3 * undo);
        let place = self.dice.below(self.graves.len() as u64) as usize;
        let age = self.graves.get(place)?.at.elapsed();
        if age + NEAR > undo && age < undo + NEAR {
            return None;
        }
        Some((self.graves.swap_remove(place), age < undo))
    }

    fn restore(&mut self) -> Done {
        let Some((grave, open)) = self.some_grave() else { return Ok(()) };
        let told = self.operator(&["restore", "image", &format!("{}@{}", self.own(), grave.digest)]);
        if !open {
            self.count("restores refused, as their time had passed");
            self.expect("a late restore", told.is_err(), &"it went well");
            return Ok(());
        }
        if let Err(text) = told {
            self.expect("a restore", false, &text);
            return Ok(());
        }
        self.count("restores");
        // Children that had been deleted come back with their index.
        for child in &grave.image.children {
            if let Some(place) = self.graves.iter().position(|other| other.digest == *child) {
                let child = self.graves.swap_remove(place);
                self.images.insert(child.digest, child.image);
            }
        }
        for tag in grave.tags {
            self.tags.entry(tag).or_insert_with(|| grave.digest.clone());
        }
        self.images.insert(grave.digest, grave.image);
        Ok(())
    }

    fn operator(&self, arguments: &[&str]) -> Result<String, String> {
        let done = Command::new(&self.bin).args(arguments).env("FUNAYA_DATA", &self.data).output();
        let done = done.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        if done.status.success() { Ok(text) } else { Err(text + &String::from_utf8_lossy(&done.stderr)) }
    }

    /// A deleted image is pushed again: its layers are still there while it can be restored.
    fn push_again(&mut self) -> Done {
        let Some((grave, open)) = self.some_grave() else { return Ok(()) };
        if !open || !grave.image.children.is_empty() {
            return Ok(());
        }
        let tag = self.new_tag();
        let door = Door::any(&mut self.dice);
        let told = door.put_image(&self.client, &self.own(), Some(&tag), IMAGE, &grave.image.manifest)?;
        if self.well("a push of a deleted image", &told) {
            self.count("deleted images pushed again");
            self.tags.insert(tag, grave.digest.clone());
            self.images.insert(grave.digest, grave.image);
        }
        Ok(())
    }

    fn pull(&mut self, name: &str, reference: &str, may_be_absent: bool) -> Done {
        let door = Door::any(&mut self.dice);
        self.count(if door == Door::Registry { "pulls by the registry API" } else { "pulls by the ECR API" });
        match door.pull(&self.client, name, reference)? {
            Pulled::Whole => {}
            Pulled::Absent if may_be_absent => self.count("pulls of images that had gone"),
            Pulled::Absent => self.errors.push(format!("{name} {reference} is not there")),
            Pulled::Broken(why) => self.errors.push(format!("{name}: {why}")),
        }
        Ok(())
    }

    fn pull_own(&mut self) -> Done {
        let Some((digest, _)) = self.some_image() else { return Ok(()) };
        let reference = self.tags_of(&digest).into_iter().next().filter(|_| self.dice.below(2) == 0);
        self.pull(&self.own(), reference.as_ref().unwrap_or(&digest), false)
    }

    fn push_expiring(&mut self) -> Done {
        let (name, tag) = (self.with_policy(), format!("e{}", self.note));
        let pushed = match self.dice.below(6) {
            0 => self.index(&name, &tag)?.is_some(),
            _ => self.push_image(&name, Some(&tag))?.is_some(),
        };
        if pushed {
            self.expiring.push_back(tag);
            if self.expiring.len() > 4 * KEPT {
                self.expiring.pop_front();
            }
        }
        Ok(())
    }

    /// The newest must be there; older ones may be.
    fn pull_expiring(&mut self) -> Done {
        let age = self.dice.below(self.expiring.len() as u64) as usize;
        let Some(tag) = self.expiring.iter().rev().nth(age).cloned() else { return Ok(()) };
        self.pull(&self.with_policy(), &tag, age >= KEPT)
    }

    /// The same few images by all workers, so that pushes, pulls and deletions of one image meet.
    fn common_push(&mut self) -> Done {
        let number = self.dice.below(COMMON_IMAGES);
        let layer = |place| Layer { seed: 20_000 + number * 3 + place, size: 3_000 };
        let tag = format!("c{}", self.dice.below(COMMON_IMAGES));
        self.push_image_of(COMMON, Some(&tag), &[layer(0), layer(1)], number).map(drop)
    }

    fn common_pull(&mut self) -> Done {
        let tag = format!("c{}", self.dice.below(COMMON_IMAGES));
        self.pull(COMMON, &tag, true)
    }

    fn common_delete(&mut self) -> Done {
        let tag = format!("c{}", self.dice.below(COMMON_IMAGES));
        let told = Door::any(&mut self.dice).delete_image(&self.client, COMMON, &tag)?;
        let gone = matches!(told.error.as_str(), "MANIFEST_UNKNOWN" | "ImageNotFound");
        self.expect("a deletion in the common repository", told.went_well() || gone, &told);
        self.count(if gone { "deletions of images that had gone" } else { "deletions" });
        Ok(())
    }

    /// An upload that gets some bytes and is left, or cancelled.
    fn abandon(&mut self) -> Done {
        let (name, size) = (self.own(), 1 + self.dice.below(100_000) as usize);
        let bytes = self.dice.bytes(size);
        self.objects += 1;
        if self.dice.below(2) == 0 {
            let (_, opened) = self.client.ecr("InitiateLayerUpload", &json!({"repositoryName": name}))?;
            let input = json!({
                "repositoryName": name, "uploadId": opened["uploadId"], "partFirstByte": 0, "partLastByte": size - 1,
                "layerPartBlob": base64(&bytes),
            });
            let sent = self.client.ecr("UploadLayerPart", &input)?;
            self.expect("UploadLayerPart", sent.0 == 200, &sent.1);
            self.count("abandoned uploads");
            return Ok(());
        }
        let opened = self.client.registry("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"")?;
        let sent = self.client.registry("PATCH", opened.header("location"), &[], &bytes)?;
        self.expect("a chunk", sent.status == 202, &sent.text());
        if self.dice.below(2) == 0 {
            let cancelled = self.client.registry("DELETE", sent.header("location"), &[], b"")?;
            self.expect("a cancellation", cancelled.status == 204, &cancelled.text());
            self.count("cancelled uploads");
        } else {
            self.count("abandoned uploads");
        }
        Ok(())
    }

    /// A repository comes, gets images, goes with all of them, and sometimes comes back.
    fn whole_repository(&mut self) -> Done {
        self.note += 1;
        let name = format!("soak/short{}-{}", self.index, self.note);
        let made = self.client.ecr("CreateRepository", &json!({"repositoryName": name}))?;
        self.expect("CreateRepository", made.0 == 200, &made.1);
        for tag in ["one", "two"] {
            self.push_image(&name, Some(tag))?;
        }
        let deleted = self.client.ecr("DeleteRepository", &json!({"repositoryName": name, "force": true}))?;
        self.expect("DeleteRepository", deleted.0 == 200, &deleted.1);
        self.count("repositories deleted");
        if self.dice.below(2) == 0 {
            let told = self.operator(&["restore", "repository", &name]);
            if let Err(text) = told {
                self.expect("a repository's restore", false, &text);
                return Ok(());
            }
            self.count("repositories restored");
            self.pull(&name, "two", false)?;
            let again = self.client.ecr("DeleteRepository", &json!({"repositoryName": name, "force": true}))?;
            self.expect("DeleteRepository", again.0 == 200, &again.1);
        }
        Ok(())
    }

    /// The worker's repository lists what the worker knows, and nothing else.
    fn check_list(&mut self) -> Done {
        self.count("lists compared");
        let listed = list(&self.client, &self.own())?;
        let known: BTreeSet<String> = self.images.keys().cloned().collect();
        for digest in known.difference(&listed) {
            self.errors.push(format!("{} does not list {digest}", self.own()));
        }
        for digest in listed.difference(&known) {
            self.errors.push(format!("{} lists {digest}, which was deleted", self.own()));
        }
        let (_, answer) = self.client.ecr("DescribeRepositories", &json!({"repositoryNames": [COMMON]}))?;
        self.expect("DescribeRepositories", answer["repositories"][0]["repositoryName"] == COMMON, &answer);
        Ok(())
    }
}

/// The digests of a repository's images.
pub(super) fn list(client: &Client, name: &str) -> Result<BTreeSet<String>, Gone> {
    let (mut all, mut next) = (BTreeSet::new(), Value::Null);
    loop {
        let mut input = json!({"repositoryName": name, "maxResults": 1000});
        if !next.is_null() {
            input["nextToken"] = next;
        }
        let (_, answer) = client.ecr("ListImages", &input)?;
        let ids = answer["imageIds"].as_array().into_iter().flatten();
        all.extend(ids.filter_map(|id| id["imageDigest"].as_str().map(str::to_owned)));
        next = answer["nextToken"].clone();
        if next.is_null() {
            return Ok(all);
        }
    }
}
