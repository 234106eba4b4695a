//! A state of the model, and what must hold in each.

/// Uploads, and so storage keys, at most.
pub(super) const KEYS: usize = 3;
/// Grace, half of it, how long trash is kept, how long a URL is good, how long what was
/// deleted can be restored: in ticks.
pub(super) const GRACE: u8 = 2;
pub(super) const PROMISE: u8 = 1;
pub(super) const TRASH: u8 = 1;
pub(super) const URL: u8 = 1;
pub(super) const UNDO: u8 = 1;

pub(super) type Key = u8;

/// What a pusher is about to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Pusher {
    Start,
    Create(Key),
    Complete(Key),
    /// Told that the layer is there, until a time at least.
    Put(u8),
    /// Only without a guard: looked, but holds no row.
    Mounting,
    /// Only without a guard: looked, but holds no row.
    Putting(u8),
    /// Only without a guard: an index's images were seen, but no row is held.
    Indexing,
    Done,
    Dead,
    /// A push missed its layer at a time, though it was promised until another.
    Failed(u8, u8),
}

/// The row of an image or an index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Row {
    None,
    Live,
    /// Deleted; can be restored before this time, and is purged from then on.
    Buried(u8),
}

impl Row {
    pub(super) fn is_buried(self) -> bool {
        matches!(self, Self::Buried(_))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct State {
    pub(super) now: u8,
    /// The layer's blob: its object, and until when it is kept.
    pub(super) blob: Option<(Key, u8)>,
    /// Until when each repository's link to the blob is kept.
    pub(super) links: [Option<u8>; 2],
    /// Each repository's image, whose one layer that is.
    pub(super) images: [Row; 2],
    /// Tombstones of images that were pushed again: when they come due.
    pub(super) stale: [Option<u8>; 2],
    /// The first repository's index, which names its image, and whether the row that says so is there.
    pub(super) index: Row,
    pub(super) names: bool,
    /// What clients were told is stored, and have not deleted: two images, the index.
    pub(super) told: [bool; 3],
    pub(super) uploads: [Option<u8>; KEYS],
    pub(super) trash: [Option<u8>; KEYS],
    pub(super) objects: [bool; KEYS],
    pub(super) pushers: [Pusher; 2],
    pub(super) keys: u8,
    /// A download URL: of which object, and until when.
    pub(super) reader: Option<(Key, u8)>,
}

impl State {
    pub(super) const START: Self = Self {
        now: 0,
        blob: None,
        links: [None; 2],
        images: [Row::None; 2],
        stale: [None; 2],
        index: Row::None,
        names: false,
        told: [false; 3],
        uploads: [None; KEYS],
        trash: [None; KEYS],
        objects: [false; KEYS],
        pushers: [Pusher::Start; 2],
        keys: 0,
        reader: None,
    };

    pub(super) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn stored(&self) -> bool {
        self.blob.is_some_and(|(key, _)| self.objects[usize::from(key)])
    }

    /// What is wrong with this state.
    pub(super) fn fault(&self) -> Option<&'static str> {
        self.rows_fault().or_else(|| self.index_fault()).or_else(|| self.keys_fault()).or_else(|| self.clients_fault())
    }

    fn rows_fault(&self) -> Option<&'static str> {
        for repository in 0..2 {
            let there = self.images[repository] != Row::None;
            if there && (self.links[repository].is_none() || !self.stored()) {
                return Some("an image without its bytes");
            }
            if self.links[repository].is_some() && self.blob.is_none() {
                return Some("a link without its blob");
            }
        }
        (self.blob.is_some() && !self.stored()).then_some("a blob without its object")
    }

    /// A live index has its image; one that can be restored has it at least deleted.
    fn index_fault(&self) -> Option<&'static str> {
        let lacks = match self.index {
            Row::None => false,
            Row::Live => !self.names || self.images[0] != Row::Live,
            Row::Buried(until) => self.now < until && (!self.names || self.images[0] == Row::None),
        };
        lacks.then_some("an index without its image")
    }

    /// A storage key has one owner as long as there is an object.
    fn keys_fault(&self) -> Option<&'static str> {
        for key in 0..KEYS {
            let blob = self.blob.is_some_and(|(blob, _)| usize::from(blob) == key);
            let owners = [blob, self.uploads[key].is_some(), self.trash[key].is_some()];
            match owners.iter().filter(|owns| **owns).count() {
                0 if self.objects[key] => return Some("an object without owner"),
                0 | 1 => {}
                _ => return Some("a key with two owners"),
            }
        }
        None
    }

    fn clients_fault(&self) -> Option<&'static str> {
        let rows = [self.images[0], self.images[1], self.index];
        if rows.iter().zip(self.told).any(|(row, told)| told && *row != Row::Live) {
            return Some("an image is gone that nobody deleted");
        }
        if self.pushers.iter().any(|pusher| matches!(pusher, Pusher::Failed(at, promised) if at <= promised)) {
            return Some("a push failed inside the promise");
        }
        let lost = |(key, until): (Key, u8)| self.now <= until && !self.objects[usize::from(key)];
        self.reader.is_some_and(lost).then_some("a reader lost its object")
    }
}
