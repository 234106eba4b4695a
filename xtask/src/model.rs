//! The collector's rules as a small model, checked in every state that can be reached (D5):
//! two repositories, two pushers, one layer, a collector, a sweeper, a reader with a download
//! URL, deletions, restores, an index. Each transaction is one step, as the database makes it;
//! a pusher may crash at every step. docs/collector.md says what it stands for.
//!
//! Each guard of the code is a rule here. Switched off, it must be missed: that tests the model.

mod search;
mod state;
mod steps;

use std::time::Instant;

use crate::Failure;
use state::State;

/// What of the product is modelled, and which of its guards work.
#[derive(Clone, Copy)]
struct Rules {
    ticks: u8,
    keys: u8,
    /// Deleted images are buried first, can be restored, and are purged later.
    undo: bool,
    /// There is an index, which names the image of the first repository.
    index: bool,
    /// Somebody downloads by a URL.
    reader: bool,
    guards: Guards,
}

/// The guards of the code; all of them work.
#[derive(Clone, Copy)]
struct Guards {
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
    /// A deleted image that can be restored holds its layers.
    buried_hold: bool,
    /// A purge looks whether the image was deleted when its tombstone says.
    purge_looks: bool,
    /// The push of an index updates its images' rows, so their deletion waits for it.
    index_locks: bool,
    /// An image that an index names is not deleted.
    index_holds: bool,
    /// With an index its deleted images come back.
    restore_children: bool,
    /// Nothing is restored after its time.
    restore_in_time: bool,
}

const GUARDS: Guards = Guards {
    head_touches: true,
    purge_touches: true,
    commit_first: true,
    mount_locks: true,
    put_locks: true,
    buried_hold: true,
    purge_looks: true,
    index_locks: true,
    index_holds: true,
    restore_children: true,
    restore_in_time: true,
};

/// A guard: what it says, what goes wrong without it, how much of the product that needs (undo
/// window, index), and how it is switched off.
type Guard = (&'static str, &'static str, (bool, bool), fn(&mut Guards));

const PLAIN: (bool, bool) = (false, false);
const WITH_UNDO: (bool, bool) = (true, false);
const WITH_INDEX: (bool, bool) = (true, true);

const WITHOUT: [Guard; 12] = [
    ("HEAD prolongs a link near its end", "a push failed inside the promise", PLAIN, |g| g.head_touches = false),
    ("a deletion prolongs the layers' links", "a push failed inside the promise", PLAIN, |g| g.purge_touches = false),
    ("a purge prolongs the layers' links", "a push failed inside the promise", WITH_UNDO, |g| g.purge_touches = false),
    ("the commit comes before the deletion of bytes", "a blob without its object", PLAIN, |g| g.commit_first = false),
    ("a mount updates the blob's row", "a link without its blob", PLAIN, |g| g.mount_locks = false),
    ("a push updates the links' rows", "an image without its bytes", PLAIN, |g| g.put_locks = false),
    ("deleted images hold their layers", "an image without its bytes", WITH_UNDO, |g| g.buried_hold = false),
    ("a purge looks at the image's row", "an image is gone that nobody deleted", WITH_UNDO, |g| g.purge_looks = false),
    ("the push of an index updates its images' rows", "an index without its image", WITH_INDEX, |g| {
        g.index_locks = false
    }),
    ("an index holds its images", "an index without its image", WITH_INDEX, |g| g.index_holds = false),
    ("a restored index brings its images back", "an index without its image", WITH_INDEX, |g| {
        g.restore_children = false
    }),
    ("nothing is restored after its time", "an index without its image", WITH_INDEX, |g| g.restore_in_time = false),
];

/// Explores the rules as they are, then without each guard.
pub(crate) fn run(options: &[&str]) -> Result<(), Failure> {
    let begun = Instant::now();
    let asked = parse(options)?;
    for rules in asked.map_or_else(short_ones, |rules| vec![rules]) {
        let states = search::explore(&rules).map_err(|found| format!("the rules as they are: {found}"))?;
        println!(
            "model: {states} states, {} ticks, {} uploads{}{}{}: nothing goes wrong",
            rules.ticks,
            rules.keys,
            if rules.undo { ", undo window" } else { "" },
            if rules.index { ", index" } else { "" },
            if rules.reader { ", reader" } else { "" }
        );
    }
    let mut missed = Vec::new();
    for (guard, want, (undo, index), switch_off) in WITHOUT {
        let mut rules = Rules { ticks: 5, keys: 2, undo, index, reader: false, guards: GUARDS };
        switch_off(&mut rules.guards);
        match search::explore(&rules) {
            Err(found) if found.starts_with(want) => println!("without `{guard}`: {found}"),
            Err(found) => missed.push(format!("without `{guard}` another fault was found: {found}")),
            Ok(states) => missed.push(format!("without `{guard}` nothing goes wrong in {states} states")),
        }
    }
    println!("model: {} guards, {} not missed; {:.1} s", WITHOUT.len(), missed.len(), begun.elapsed().as_secs_f64());
    if missed.is_empty() { Ok(()) } else { Err(missed.join("\n")) }
}

/// What takes seconds: all rules, though not all of them together.
fn short_ones() -> Vec<Rules> {
    let plain = Rules { ticks: 4, keys: 2, undo: false, index: false, reader: true, guards: GUARDS };
    let undo = Rules { ticks: 3, keys: 1, undo: true, ..plain };
    vec![plain, undo, Rules { index: true, reader: false, ..undo }]
}

/// The rules that were asked for, if any were.
fn parse(options: &[&str]) -> Result<Option<Rules>, Failure> {
    let mut rules = Rules { ticks: 3, keys: 2, undo: true, index: true, reader: true, guards: GUARDS };
    for pair in options.chunks(2) {
        let [name, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
        let number = || value.parse::<u8>().map_err(|_| format!("{name}: {value} is not a small number"));
        match *name {
            "--ticks" => rules.ticks = number()?,
            "--uploads" => rules.keys = number()?.min(state::KEYS as u8),
            "--rules" => (rules.undo, rules.index) = levels(value)?,
            _ => return Err(format!("{name} is not an option here")),
        }
    }
    Ok((!options.is_empty()).then_some(rules))
}

/// Whether there is an undo window, and an index.
fn levels(name: &str) -> Result<(bool, bool), Failure> {
    match name {
        "plain" => Ok((false, false)),
        "undo" => Ok((true, false)),
        "index" => Ok((true, true)),
        _ => Err(format!("--rules: {name} is neither plain, undo nor index")),
    }
}
