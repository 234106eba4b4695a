//! What can happen next in a state: each step is a transaction of `funaya-meta`, or bytes
//! written or deleted.

use super::{
    Rules, State,
    state::{GRACE, KEYS, Key, PROMISE, Pusher, Row, TRASH, UNDO, URL},
};

type Steps = Vec<(&'static str, State)>;

impl State {
    pub(super) fn steps(&self, rules: &Rules) -> Steps {
        let mut out = Vec::with_capacity(24);
        if self.now < rules.ticks {
            out.push(("a tick", self.with(|s| s.now += 1)));
        }
        for who in 0..2 {
            self.push_steps(who, rules, &mut out);
        }
        for repository in 0..2 {
            self.image_steps(repository, rules, &mut out);
        }
        if rules.index {
            self.index_steps(rules, &mut out);
        }
        self.collector_steps(rules, &mut out);
        if let (None, Some((key, _)), true) = (self.reader, self.blob, rules.reader && self.links != [None; 2]) {
            out.push(("a reader gets a URL", self.with(|s| s.reader = Some((key, s.now + URL)))));
        }
        out
    }

    fn then(&self, who: usize, next: Pusher, change: impl FnOnce(&mut Self)) -> Self {
        self.with(|s| {
            s.pushers[who] = next;
            change(s);
        })
    }

    /// Pusher `who` pushes to repository `who`.
    fn push_steps(&self, who: usize, rules: &Rules, out: &mut Steps) {
        use Pusher::{Complete, Create, Dead, Done, Failed, Indexing, Mounting, Put, Putting, Start};
        let now = self.now;
        if !matches!(self.pushers[who], Done | Dead | Failed(..)) {
            out.push(("a pusher crashes", self.then(who, Dead, |_| {})));
        }
        match self.pushers[who] {
            Start => self.start_steps(who, rules, out),
            Mounting => {
                let linked = self.then(who, Put(now + PROMISE), |s| s.links[who] = Some(now + GRACE));
                out.push(("a mount links", linked));
            }
            Create(key) => {
                let written = self.then(who, Complete(key), |s| s.objects[usize::from(key)] = true);
                out.push(("bytes are written", written));
            }
            Complete(key) if self.uploads[usize::from(key)].is_some() => {
                out.push(("the upload completes", self.completed(who, key)));
            }
            Complete(_) => {}
            Put(promised) if !rules.guards.put_locks && self.links[who].is_some() => {
                out.push(("a push looks", self.then(who, Putting(promised), |_| {})));
            }
            Put(promised) => match self.links[who] {
                Some(keep) => out.push(("an image is stored", self.image_stored(who, Some(keep.max(now + GRACE))))),
                None => out.push(("a push misses its layer", self.then(who, Failed(now, promised), |_| {}))),
            },
            Putting(_) => out.push(("an image is stored late", self.image_stored(who, self.links[who]))),
            Indexing => {
                // Without a lock the image may have been deleted, and even purged: then the row names nothing.
                let stored = self.then(who, Start, |s| {
                    (s.index, s.told[2]) = (Row::Live, true);
                    s.names = s.images[0] != Row::None;
                });
                out.push(("an index is stored late", stored));
            }
            Done | Dead | Failed(..) => {}
        }
    }

    fn start_steps(&self, who: usize, rules: &Rules, out: &mut Steps) {
        let now = self.now;
        if rules.index && who == 0 && self.images[0] == Row::Live && self.index != Row::Live {
            out.push(match rules.guards.index_locks {
                true => ("an index is stored", self.with(|s| (s.index, s.names, s.told[2]) = (Row::Live, true, true))),
                false => ("the push of an index looks", self.then(who, Pusher::Indexing, |_| {})),
            });
        }
        let Some(keep) = self.links[who] else {
            self.layer_steps(who, rules, out);
            return;
        };
        // Edges hold a link, those of deleted images too.
        let near = self.images[who] == Row::None && keep < now + PROMISE && rules.guards.head_touches;
        let keep = if near { now + GRACE } else { keep };
        out.push(("HEAD finds it", self.then(who, Pusher::Put(now + PROMISE), |s| s.links[who] = Some(keep))));
    }

    /// How a repository gets a layer that it lacks: by an upload or a mount.
    fn layer_steps(&self, who: usize, rules: &Rules, out: &mut Steps) {
        let now = self.now;
        if self.keys < rules.keys {
            let key = self.keys;
            let begun = self.then(who, Pusher::Create(key), |s| {
                s.uploads[usize::from(key)] = Some(who as u8);
                s.keys += 1;
            });
            out.push(("an upload begins", begun));
        }
        let (Some((key, keep)), true) = (self.blob, self.links[1 - who].is_some()) else { return };
        if !rules.guards.mount_locks {
            out.push(("a mount looks", self.then(who, Pusher::Mounting, |_| {})));
            return;
        }
        let mounted = self.then(who, Pusher::Put(now + PROMISE), |s| {
            s.blob = Some((key, keep.max(now + GRACE)));
            s.links[who] = Some(now + GRACE);
        });
        out.push(("a mount", mounted));
    }

    /// The upload's row goes, the blob's comes; equal bytes that are there already stay, and ours are trash.
    fn completed(&self, who: usize, key: Key) -> Self {
        let now = self.now;
        self.then(who, Pusher::Put(now + PROMISE), |s| {
            s.uploads[usize::from(key)] = None;
            match &mut s.blob {
                Some((_, keep)) => {
                    *keep = (*keep).max(now + GRACE);
                    s.trash[usize::from(key)] = Some(now + TRASH);
                }
                none => *none = Some((key, now + GRACE)),
            }
            s.links[who] = Some(now + GRACE);
        })
    }

    /// A deleted image lives again; its tombstone stays, and stands for nothing.
    fn image_stored(&self, who: usize, link: Option<u8>) -> Self {
        let first = self.images.iter().filter(|image| **image == Row::Live).count() < 2;
        self.then(who, if first { Pusher::Start } else { Pusher::Done }, |s| {
            s.links[who] = link;
            if let Row::Buried(until) = s.images[who] {
                s.stale[who] = Some(until);
            }
            s.images[who] = Row::Live;
            s.told[who] = true;
        })
    }

    fn image_steps(&self, repository: usize, rules: &Rules, out: &mut Steps) {
        let needed = repository == 0 && self.index == Row::Live && self.names && rules.guards.index_holds;
        match self.images[repository] {
            Row::Live if needed => {}
            Row::Live if rules.undo => {
                let buried = self.with(|s| {
                    s.images[repository] = Row::Buried(s.now + UNDO);
                    s.told[repository] = false;
                });
                out.push(("an image is deleted", buried));
            }
            Row::Live => {
                let gone = self.purged(repository, rules).with(|s| s.told[repository] = false);
                out.push(("an image is deleted for good", gone));
            }
            Row::Buried(until) => {
                if until <= self.now {
                    out.push(("a deleted image is purged", self.purged(repository, rules)));
                }
                if until > self.now || !rules.guards.restore_in_time {
                    let restored = self.with(|s| {
                        s.images[repository] = Row::Live;
                        s.told[repository] = true;
                    });
                    out.push(("an image is restored", restored));
                }
            }
            Row::None => {}
        }
        if self.stale[repository].is_some_and(|until| until <= self.now) {
            let dropped = self.with(|s| s.stale[repository] = None);
            let purges = !rules.guards.purge_looks && self.images[repository] == Row::Live;
            let next = if purges { dropped.purged(repository, rules) } else { dropped };
            out.push(("an old tombstone comes due", next));
        }
    }

    /// The image's rows go, and the rows by which an index names it; its link gets a last grace.
    fn purged(&self, repository: usize, rules: &Rules) -> Self {
        self.with(|s| {
            s.images[repository] = Row::None;
            s.names &= repository != 0;
            if rules.guards.purge_touches {
                s.links[repository] = s.links[repository].map(|keep| keep.max(s.now + GRACE));
            }
        })
    }

    fn index_steps(&self, rules: &Rules, out: &mut Steps) {
        match self.index {
            Row::Live => {
                let buried = self.with(|s| {
                    s.index = Row::Buried(s.now + UNDO);
                    s.told[2] = false;
                });
                out.push(("an index is deleted", buried));
            }
            Row::Buried(until) => {
                if until <= self.now {
                    out.push(("a deleted index is purged", self.with(|s| (s.index, s.names) = (Row::None, false))));
                }
                if until > self.now || !rules.guards.restore_in_time {
                    out.push(("an index is restored", self.index_restored(rules)));
                }
            }
            Row::None => {}
        }
    }

    fn index_restored(&self, rules: &Rules) -> Self {
        self.with(|s| {
            (s.index, s.told[2]) = (Row::Live, true);
            if rules.guards.restore_children && s.names && s.images[0].is_buried() {
                (s.images[0], s.told[0]) = (Row::Live, true);
            }
        })
    }

    fn collector_steps(&self, rules: &Rules, out: &mut Steps) {
        for repository in 0..2 {
            let due = self.links[repository].is_some_and(|keep| keep < self.now);
            let held = match self.images[repository] {
                Row::None => false,
                Row::Live => true,
                Row::Buried(_) => rules.guards.buried_hold,
            };
            if due && !held {
                out.push(("a link is collected", self.with(|s| s.links[repository] = None)));
            }
        }
        if let (Some((key, keep)), [None, None]) = (self.blob, self.links)
            && keep < self.now
        {
            if !rules.guards.commit_first {
                out.push(("an object is deleted early", self.with(|s| s.objects[usize::from(key)] = false)));
            }
            let collected = self.with(|s| {
                s.blob = None;
                s.trash[usize::from(key)] = Some(s.now + TRASH);
            });
            out.push(("a blob is collected", collected));
        }
        for key in 0..KEYS {
            self.key_steps(key, out);
        }
    }

    /// Uploads that nobody moves on, and objects in the trash.
    fn key_steps(&self, key: usize, out: &mut Steps) {
        let writing = |who: u8| matches!(self.pushers[usize::from(who)], Pusher::Create(_) | Pusher::Complete(_));
        if self.uploads[key].is_some_and(|who| !writing(who)) {
            let expired = self.with(|s| {
                s.uploads[key] = None;
                s.trash[key] = Some(s.now + TRASH);
            });
            out.push(("an upload expires", expired));
        }
        if self.trash[key].is_some_and(|after| after < self.now) {
            let swept = self.with(|s| {
                s.trash[key] = None;
                s.objects[key] = false;
            });
            out.push(("an object is swept", swept));
        }
    }
}
