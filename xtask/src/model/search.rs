//! The search: every state that can be reached, breadth first.

use std::{
    collections::HashSet,
    hash::{BuildHasherDefault, Hasher},
};

use super::{Rules, State};

/// A quick hash: nobody chooses these states to collide.
#[derive(Default)]
struct Quick(u64);

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }

    /// The table takes its places from both ends of the word.
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// How many states there are, or the shortest way to a fault.
pub(super) fn explore(rules: &Rules) -> Result<usize, String> {
    let (mut states, mut parents) = (vec![State::START], vec![0_u32]);
    let mut seen: HashSet<State, BuildHasherDefault<Quick>> = HashSet::default();
    seen.insert(State::START);
    let mut at = 0;
    while let Some(state) = states.get(at).copied() {
        if let Some(fault) = state.fault() {
            return Err(format!("{fault}: {}", way(rules, &states, &parents, at)));
        }
        for (_, next) in state.steps(rules) {
            if seen.insert(next) {
                states.push(next);
                parents.push(u32::try_from(at).map_err(|_| "too many states".to_owned())?);
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
