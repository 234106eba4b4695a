//! The collector's rules as a small model, checked in every state that can be
//! reached (D5): two repositories, two pushers, one digest, a collector, a
//! sweeper, a reader with a download URL. Each transaction is one step; a pusher
//! may crash at every step.
//!
//! The model without an undo window is the one that the design was checked with
//! (4,466,934 states with `FUNAYA_MODEL=full`); with the window it has the
//! tombstones of the code as well. Each guard switched off must be missed.

use std::collections::HashMap;

/// Grace, half of it, how long trash is kept, how long a URL is good: in ticks.
const GRACE: u8 = 2;
const PROMISE: u8 = 1;
const TRASH: u8 = 1;
const URL: u8 = 1;
const KEYS: usize = 3;

type Key = u8;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Pusher {
    Start,
    Create(Key),
    Complete(Key),
    Put(u8),
    /// Only without a guard: looked, but holds no row.
    Mounting,
    /// Only without a guard: looked, but holds no row.
    Putting(u8),
    Done,
    Dead,
    Failed(u8, u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Edge {
    None,
    Live,
    /// Deleted, can be restored.
    Buried,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    now: u8,
    blob: Option<(Key, u8)>,
    links: [Option<u8>; 2],
    edges: [Edge; 2],
    uploads: [Option<u8>; KEYS],
    trash: [Option<u8>; KEYS],
    objects: [bool; KEYS],
    pushers: [Pusher; 2],
    keys: u8,
    reader: Option<(Key, u8)>,
}

#[derive(Clone, Copy)]
struct Rules {
    ticks: u8,
    keys: u8,
    /// Deleted images are buried first and purged later.
    undo: bool,
    /// HEAD prolongs an unreferenced link that is near its end.
    head_touches: bool,
    /// A link that loses its last reference is prolonged.
    purge_touches: bool,
    /// The collector commits before an object is deleted.
    commit_first: bool,
    /// A mount updates the blob's row, so the collector waits for it.
    mount_locks: bool,
    /// A push updates the link's row, so the collector waits for it.
    put_locks: bool,
}

const RULES: Rules = Rules {
    ticks: 4,
    keys: 2,
    undo: false,
    head_touches: true,
    purge_touches: true,
    commit_first: true,
    mount_locks: true,
    put_locks: true,
};

type Steps = Vec<(&'static str, State)>;

impl State {
    const START: Self = Self {
        now: 0,
        blob: None,
        links: [None; 2],
        edges: [Edge::None; 2],
        uploads: [None; KEYS],
        trash: [None; KEYS],
        objects: [false; KEYS],
        pushers: [Pusher::Start; 2],
        keys: 0,
        reader: None,
    };

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn steps(&self, rules: &Rules) -> Steps {
        let mut out = Vec::with_capacity(16);
        if self.now < rules.ticks {
            out.push(("tick", self.with(|s| s.now += 1)));
        }
        for who in 0..2 {
            self.push_steps(who, rules, &mut out);
        }
        self.image_steps(rules, &mut out);
        self.collector_steps(rules, &mut out);
        if let (None, Some((key, _)), true) = (self.reader, self.blob, self.links != [None; 2]) {
            out.push(("a reader gets a URL", self.with(|s| s.reader = Some((key, s.now + URL)))));
        }
        out
    }

    /// Pusher `who` pushes to repository `who`.
    fn push_steps(&self, who: usize, rules: &Rules, out: &mut Steps) {
        use Pusher::{Complete, Create, Dead, Done, Failed, Mounting, Put, Putting, Start};
        let (now, pusher) = (self.now, self.pushers[who]);
        let then = |next: Pusher, change: &dyn Fn(&mut Self)| {
            self.with(|s| {
                s.pushers[who] = next;
                change(s);
            })
        };
        if !matches!(pusher, Done | Dead | Failed(..)) {
            out.push(("a pusher crashes", then(Dead, &|_| {})));
        }
        match pusher {
            Start => match self.links[who] {
                Some(keep) => {
                    let near = self.edges[who] == Edge::None && keep < now + PROMISE && rules.head_touches;
                    let keep = if near { now + GRACE } else { keep };
                    out.push(("HEAD finds it", then(Put(now + PROMISE), &|s| s.links[who] = Some(keep))));
                }
                None => {
                    if self.keys < rules.keys {
                        let key = self.keys;
                        out.push((
                            "an upload begins",
                            then(Create(key), &|s| {
                                s.uploads[usize::from(key)] = Some(who as u8);
                                s.keys += 1;
                            }),
                        ));
                    }
                    match self.blob {
                        Some(_) if self.links[1 - who].is_some() && !rules.mount_locks => {
                            out.push(("a mount looks", then(Mounting, &|_| {})));
                        }
                        Some((key, keep)) if self.links[1 - who].is_some() => {
                            out.push((
                                "a mount",
                                then(Put(now + PROMISE), &|s| {
                                    s.blob = Some((key, keep.max(now + GRACE)));
                                    s.links[who] = Some(now + GRACE);
                                }),
                            ));
                        }
                        _ => {}
                    }
                }
            },
            Mounting => {
                let link = |s: &mut Self| s.links[who] = Some(now + GRACE);
                out.push(("a mount links", then(Put(now + PROMISE), &link)));
            }
            Create(key) => {
                out.push(("bytes are written", then(Complete(key), &|s| s.objects[usize::from(key)] = true)))
            }
            Complete(key) if self.uploads[usize::from(key)].is_some() => {
                out.push((
                    "the upload completes",
                    then(Put(now + PROMISE), &|s| {
                        s.uploads[usize::from(key)] = None;
                        match &mut s.blob {
                            Some((_, keep)) => {
                                *keep = (*keep).max(now + GRACE);
                                s.trash[usize::from(key)] = Some(now + TRASH);
                            }
                            none => *none = Some((key, now + GRACE)),
                        }
                        s.links[who] = Some(now + GRACE);
                    }),
                ));
            }
            Complete(_) => {}
            Put(deadline) if !rules.put_locks && self.links[who].is_some() => {
                out.push(("a push looks", then(Putting(deadline), &|_| {})));
            }
            Put(deadline) => match self.links[who] {
                Some(keep) => out.push(("an image is stored", self.stored(who, Some(keep.max(now + GRACE))))),
                None => out.push(("a push misses its layer", then(Failed(now, deadline), &|_| {}))),
            },
            Putting(_) => out.push(("an image is stored late", self.stored(who, self.links[who]))),
            Done | Dead | Failed(..) => {}
        }
    }

    fn stored(&self, who: usize, link: Option<u8>) -> Self {
        let first = self.edges.iter().filter(|edge| **edge == Edge::Live).count() < 2;
        self.with(|s| {
            s.links[who] = link;
            s.edges[who] = Edge::Live;
            s.pushers[who] = if first { Pusher::Start } else { Pusher::Done };
        })
    }

    fn image_steps(&self, rules: &Rules, out: &mut Steps) {
        for repository in 0..2 {
            let keep = self.links[repository].map(|keep| keep.max(self.now + GRACE));
            let purged = self.with(|s| {
                s.edges[repository] = Edge::None;
                if rules.purge_touches {
                    s.links[repository] = keep;
                }
            });
            match self.edges[repository] {
                Edge::Live if rules.undo => {
                    out.push(("an image is deleted", self.with(|s| s.edges[repository] = Edge::Buried)));
                }
                Edge::Live => out.push(("an image is deleted for good", purged)),
                Edge::Buried => out.push(("a deleted image is purged", purged)),
                Edge::None => {}
            }
        }
    }

    fn collector_steps(&self, rules: &Rules, out: &mut Steps) {
        for repository in 0..2 {
            let due = self.links[repository].is_some_and(|keep| keep < self.now);
            if due && self.edges[repository] == Edge::None {
                out.push(("a link is collected", self.with(|s| s.links[repository] = None)));
            }
        }
        if let (Some((key, keep)), [None, None]) = (self.blob, self.links)
            && keep < self.now
        {
            if !rules.commit_first {
                out.push(("an object is deleted early", self.with(|s| s.objects[usize::from(key)] = false)));
            }
            out.push((
                "a blob is collected",
                self.with(|s| {
                    s.blob = None;
                    s.trash[usize::from(key)] = Some(s.now + TRASH);
                }),
            ));
        }
        for key in 0..KEYS {
            let writing = |who: u8| matches!(self.pushers[usize::from(who)], Pusher::Create(_) | Pusher::Complete(_));
            if self.uploads[key].is_some_and(|who| !writing(who)) {
                out.push((
                    "an upload expires",
                    self.with(|s| {
                        s.uploads[key] = None;
                        s.trash[key] = Some(s.now + TRASH);
                    }),
                ));
            }
            if self.trash[key].is_some_and(|after| after < self.now) {
                out.push((
                    "an object is swept",
                    self.with(|s| {
                        s.trash[key] = None;
                        s.objects[key] = false;
                    }),
                ));
            }
        }
    }

    fn fault(&self) -> Option<&'static str> {
        let stored = self.blob.is_some_and(|(key, _)| self.objects[usize::from(key)]);
        for repository in 0..2 {
            if self.edges[repository] != Edge::None && (self.links[repository].is_none() || !stored) {
                return Some("an image without its bytes");
            }
            if self.links[repository].is_some() && self.blob.is_none() {
                return Some("a link without its blob");
            }
        }
        for key in 0..KEYS {
            let blob = self.blob.is_some_and(|(blob, _)| usize::from(blob) == key);
            let owners = [blob, self.uploads[key].is_some(), self.trash[key].is_some()];
            match owners.iter().filter(|owns| **owns).count() {
                0 if self.objects[key] => return Some("an object without owner"),
                0 | 1 => {}
                _ => return Some("a key with two owners"),
            }
        }
        if self.blob.is_some() && !stored {
            return Some("a blob without its object");
        }
        if self.pushers.iter().any(|pusher| matches!(pusher, Pusher::Failed(at, deadline) if at <= deadline)) {
            return Some("a push failed inside the promise");
        }
        if self.reader.is_some_and(|(key, until)| self.now <= until && !self.objects[usize::from(key)]) {
            return Some("a reader lost its object");
        }
        None
    }
}

/// Every state that can be reached, breadth first: how many, or the shortest way to a fault.
fn explore(rules: &Rules) -> Result<usize, String> {
    let (mut states, mut parents) = (vec![State::START], vec![0_u32]);
    let mut seen: HashMap<State, ()> = HashMap::from([(State::START, ())]);
    let mut at = 0;
    while at < states.len() {
        let state = states[at];
        if let Some(fault) = state.fault() {
            return Err(format!("{fault}: {}", way(rules, &states, &parents, at)));
        }
        for (_, next) in state.steps(rules) {
            if seen.insert(next, ()).is_none() {
                states.push(next);
                parents.push(at as u32);
            }
        }
        at += 1;
    }
    Ok(states.len())
}

fn way(rules: &Rules, states: &[State], parents: &[u32], mut at: usize) -> String {
    let mut steps = Vec::new();
    while at != 0 {
        let parent = parents[at] as usize;
        let step = states[parent].steps(rules).into_iter().find(|(_, next)| *next == states[at]);
        steps.push(step.map_or("?", |(name, _)| name));
        at = parent;
    }
    steps.reverse();
    steps.join(", ")
}

fn full() -> bool {
    std::env::var("FUNAYA_MODEL").is_ok_and(|value| value == "full")
}

#[test]
fn nothing_goes_wrong() {
    let states = explore(&RULES).unwrap();
    assert!(states > 100_000, "only {states} states: the model does nothing");
}

#[test]
fn nothing_goes_wrong_with_an_undo_window() {
    let states = explore(&Rules { undo: true, ..RULES }).unwrap();
    assert!(states > 100_000, "only {states} states: the model does nothing");
}

#[test]
fn nothing_goes_wrong_in_the_full_model() {
    if full() {
        assert_eq!(explore(&Rules { ticks: 5, keys: 3, ..RULES }), Ok(4_466_934));
        explore(&Rules { ticks: 5, keys: 3, undo: true, ..RULES }).unwrap();
    }
}

#[test]
fn each_guard_is_needed() {
    let cases = [
        ("a push failed inside the promise", Rules { head_touches: false, ..RULES }),
        ("a push failed inside the promise", Rules { purge_touches: false, ..RULES }),
        ("a push failed inside the promise", Rules { purge_touches: false, undo: true, ..RULES }),
        ("a blob without its object", Rules { commit_first: false, ..RULES }),
        ("a link without its blob", Rules { mount_locks: false, ..RULES }),
        ("an image without its bytes", Rules { put_locks: false, ..RULES }),
    ];
    for (want, rules) in cases {
        let found = explore(&rules).unwrap_err();
        assert!(found.starts_with(want), "want `{want}`, found `{found}`");
    }
}
