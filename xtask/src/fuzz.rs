//! `cargo xtask fuzz`: mangled input for every parser that strangers reach.
//!
//! A case is a valid example, changed a few times at random. The parser may refuse it, but must not panic, must not
//! take long, and what it accepts must keep the promises that its target checks. Case `n` of a run is made from the
//! seed plus `n` alone, so a failure is replayed by its own seed.

mod mutate;
mod parsers;
mod targets;
mod xml;

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    thread,
    time::{Duration, Instant},
};

use funaya_testkit::Dice;
use rustix::time::{ClockId, clock_gettime};

use crate::Failure;

/// One case may take so much of a processor.
const SLOW: Duration = Duration::from_secs(1);
/// The stack of the server's threads.
const STACK_BYTES: usize = 2 * 1024 * 1024;
/// After so many failures a target has said enough.
const FAILURES_MAX: usize = 5;
const SHOWN_BYTES_MAX: usize = 2_000;

/// What a case came to: whether the parser took it, or which promise was broken.
type Verdict = Result<bool, String>;

/// One parser, or a family of them.
struct Target {
    name: &'static str,
    /// Valid examples.
    seeds: fn() -> Vec<Vec<u8>>,
    /// Words of the grammar, with blanks between them.
    words: &'static str,
    check: fn(&[u8]) -> Verdict,
}

struct Options {
    target: Option<String>,
    seconds: u64,
    seed: u64,
}

impl Options {
    fn parse(args: &[&str]) -> Result<Self, Failure> {
        let mut options = Self { target: None, seconds: 10, seed: 1 };
        for pair in args.chunks(2) {
            let [name, value] = pair else { return Err(format!("{} needs a value", pair[0])) };
            let number = || value.parse::<u64>().map_err(|_| format!("{name}: {value} is not a number"));
            match *name {
                "--target" => options.target = Some((*value).into()),
                "--seconds" => options.seconds = number()?,
                "--seed" => options.seed = number()?,
                _ => return Err(format!("{name} is not an option here")),
            }
        }
        Ok(options)
    }
}

/// Runs one target or all; with `--seconds 0` one case each.
pub fn run(args: &[&str]) -> Result<(), Failure> {
    let options = Options::parse(args)?;
    let wanted = |target: &&Target| options.target.as_deref().is_none_or(|name| name == target.name);
    let chosen: Vec<&Target> = targets::ALL.iter().filter(wanted).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = targets::ALL.iter().map(|target| target.name).collect();
        return Err(format!("no such target; there are: {}", names.join(", ")));
    }
    listen();
    let mut failures = Vec::new();
    for target in chosen {
        let tally = in_thread(target, &options)?;
        println!("{}", tally.line(target.name));
        failures.extend(tally.failures);
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// What a target's cases came to.
#[derive(Default)]
struct Tally {
    cases: u64,
    accepted: u64,
    slowest: Duration,
    slowest_seed: u64,
    failures: Vec<String>,
}

impl Tally {
    fn line(&self, name: &str) -> String {
        let Self { cases, accepted, slowest, slowest_seed, failures } = self;
        let refused = cases - accepted - failures.len() as u64;
        format!(
            "fuzz {name}: {cases} cases, {accepted} accepted, {refused} refused, slowest {:.1} ms (seed {slowest_seed}), \
             {} failures",
            slowest.as_secs_f64() * 1e3,
            failures.len()
        )
    }
}

/// The target in a thread whose panics are caught and whose stack is like the server's.
fn in_thread(target: &Target, options: &Options) -> Result<Tally, Failure> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name(THREAD.into()).stack_size(STACK_BYTES);
        let thread = builder.spawn_scoped(scope, || fuzz(target, options)).map_err(|e| e.to_string())?;
        thread.join().map_err(|_| format!("{}: the fuzzer itself panicked", target.name))
    })
}

fn fuzz(target: &Target, options: &Options) -> Tally {
    let seeds = (target.seeds)();
    let words: Vec<&str> = target.words.split_whitespace().collect();
    let mut tally = Tally::default();
    // The examples themselves must be right.
    for example in &seeds {
        if let (Ok(false), _) | (Err(_), _) = one(target, example) {
            tally.failures.push(format!("{}: an example is refused: {}", target.name, shown(example)));
        }
        tally.cases += 1;
    }
    tally.accepted = tally.cases - tally.failures.len() as u64;
    let end = Instant::now() + Duration::from_secs(options.seconds);
    let mut seed = options.seed;
    loop {
        let case = mutate::case(&mut Dice::new(seed), &seeds, &words);
        tally.add(target, seed, &case);
        seed = seed.wrapping_add(1);
        if Instant::now() >= end || tally.failures.len() >= FAILURES_MAX {
            return tally;
        }
    }
}

impl Tally {
    fn add(&mut self, target: &Target, seed: u64, case: &[u8]) {
        self.cases += 1;
        let (mut verdict, took) = one(target, case);
        if took > self.slowest {
            (self.slowest, self.slowest_seed) = (took, seed);
        }
        if took > SLOW {
            verdict = Err(format!("took {took:?}"));
        }
        match verdict {
            Ok(accepted) => self.accepted += u64::from(accepted),
            Err(what) => self.failures.push(format!(
                "{name}: {what}\n  input of {} bytes: {}\n  again: cargo xtask fuzz --target {name} --seed {seed} --seconds 0",
                case.len(),
                shown(case),
                name = target.name,
            )),
        }
    }
}

/// One case and the processor's time that it took; a panic is a broken promise.
fn one(target: &Target, case: &[u8]) -> (Verdict, Duration) {
    let began = processor_time();
    let verdict = panic::catch_unwind(AssertUnwindSafe(|| (target.check)(case)));
    let verdict = verdict.unwrap_or_else(|_| Err(format!("panicked {}", PANIC.take())));
    (verdict, processor_time().saturating_sub(began))
}

/// Of this thread, so that it does not matter how busy the machine is.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn shown(case: &[u8]) -> String {
    let text = case[..case.len().min(SHOWN_BYTES_MAX)].escape_ascii().to_string();
    if case.len() > SHOWN_BYTES_MAX { text + "…" } else { text }
}

const THREAD: &str = "fuzz";

thread_local! {
    /// What the last panic of this thread said, and where.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps what panics of cases say; those of other threads are told as ever.
fn listen() {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name() == Some(THREAD) {
            PANIC.set(info.to_string().replace('\n', " "));
        } else {
            told(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_finds_nothing_in_a_moment() {
        assert_eq!(run(&["--seconds", "2"]), Ok(()));
    }

    #[test]
    fn a_seed_makes_the_same_case_again() {
        let case = |seed| mutate::case(&mut Dice::new(seed), &[b"{\"a\": [1, \"b\"]}".to_vec()], &["x"]);
        assert!((1..200).all(|seed| case(seed) == case(seed)));
        assert!((1..200).any(|seed| case(seed) != case(seed + 1)));
    }

    /// A panic, a broken promise and a slow case are each found, told and replayed.
    #[test]
    fn what_is_wrong_is_found() {
        fn holds(case: &[u8], word: &str) -> bool {
            case.windows(word.len()).any(|piece| piece == word.as_bytes())
        }
        listen();
        let target = |words, check| Target { name: "test", seeds: || vec![b"a good example".to_vec()], words, check };
        let cases: [(Target, &str); 3] = [
            (target("boom", |case| Ok(!holds(case, "boom") || panic!("it went off"))), "it went off"),
            (target("lie", |case| if holds(case, "lie") { Err("a promise".into()) } else { Ok(true) }), "a promise"),
            (target("slow", |case| Ok(!holds(case, "slow") || busy(SLOW * 2))), "took 2"),
        ];
        for (target, told) in cases {
            let tally = in_thread(&target, &Options { target: None, seconds: 1, seed: 1 }).unwrap();
            let failure = tally.failures.first().unwrap_or_else(|| panic!("{told} was not found"));
            assert!(failure.contains(told), "{failure}");
            let seed =
                failure.split("--seed ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse().unwrap();
            let again = in_thread(&target, &Options { target: None, seconds: 0, seed }).unwrap();
            assert!(again.failures.iter().any(|failure| failure.contains(told)), "{told} did not come again");
        }
    }

    fn busy(span: Duration) -> bool {
        let end = processor_time() + span;
        while processor_time() < end {}
        false
    }
}
