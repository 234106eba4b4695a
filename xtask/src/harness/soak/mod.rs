//! The soak: everything at once against one server for a long time, the collector always on.
//!
//! Workers push, mount, retag, delete, restore and pull over both APIs, and know what must be
//! there. At the end every listed image is read whole, and the garbage must be gone.

mod garbage;
mod worker;

use std::{
    fs::{File, read_to_string},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use funaya_testkit::{Client, Gone, Scratch, Server, operator};
use serde_json::{Value, json};

use super::{
    Options,
    doors::{Door, Pulled},
};
use crate::Failure;
use garbage::{Look, Report};
use worker::{COMMON, Counts, Site, Worker};

const WORKERS: u64 = 6;
const INTERVAL: Duration = Duration::from_secs(2);
/// Two rounds of the collector, and what records lose by naming whole seconds.
const SOON: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After this the uploads that were left expire.
const UPLOADS_EXPIRE_S: i64 = 25 * 3600;
/// Errors that are told in full.
const ERRORS_SHOWN: usize = 20;

/// How long things are kept: short, so that all of it goes while the load runs.
struct Spans {
    grace: Duration,
    trash: Duration,
    undo: Duration,
}

const SPANS: Spans =
    Spans { grace: Duration::from_secs(20), trash: Duration::from_secs(3), undo: Duration::from_secs(8) };

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let scratch = Scratch::new("soak")?;
    let log = scratch.path().join("log");
    let done = soak(options, &scratch.path().join("data"), &log);
    if done.is_err() {
        let told = read_to_string(&log).unwrap_or_default();
        told.lines().rev().take(ERRORS_SHOWN).for_each(|line| eprintln!("{line}"));
    }
    done
}

fn soak(options: &Options, data: &Path, log: &Path) -> Result<(), Failure> {
    let gone = |Gone| "the server went away".to_owned();
    let text = |span: Duration| format!("{}s", span.as_secs());
    let (interval, grace, trash, undo) = (text(INTERVAL), text(SPANS.grace), text(SPANS.trash), text(SPANS.undo));
    let settings = [
        ("FUNAYA_GC_INTERVAL", interval.as_str()),
        ("FUNAYA_GC_GRACE", &grace),
        ("FUNAYA_GC_TRASH", &trash),
        ("FUNAYA_UNDO_WINDOW", &undo),
        ("FUNAYA_LIFECYCLE_INTERVAL", "3s"),
        ("FUNAYA_SCRUB_INTERVAL", "1s"),
        ("FUNAYA_LOG", "info"),
        ("FUNAYA_TEST_CLOCK", "1"),
    ];
    println!(
        "soak: {} s, seed {}, {WORKERS} workers; collector every {interval}, undo window {undo}, grace {grace}, trash \
         {trash}, lifecycle policies every 3s, a scrub 1s after the last",
        options.load.as_secs(),
        options.seed
    );
    let to_log = File::create(log).map_err(|error| error.to_string())?;
    let server = Server::start_with_log(&options.bin, data, &settings, to_log.into())?;
    let mut client = Client::new(&server.url).map_err(gone)?;
    client.ecr("CreateRepository", &json!({"repositoryName": COMMON})).map_err(gone)?;
    let site = Site {
        url: server.url.clone(),
        bin: options.bin.clone(),
        data: data.to_owned(),
        undo: SPANS.undo,
        workers: WORKERS,
        seed: options.seed,
    };
    let mut load = Load::run(&site, options.load, server.id())?;
    load.memory.push(rss(server.id()));
    let listed = check_all(&client, &mut load).map_err(gone)?;
    // All that was garbage when the load ended: its whole way to the disk, two rounds for each stage.
    let way = SPANS.undo + SPANS.grace + SPANS.trash + 6 * INTERVAL;
    let until = Instant::now() + way;
    while Instant::now() < until {
        thread::sleep(LOOK_EVERY.min(until - Instant::now()));
        load.looks.push(Look::new(data));
    }
    let due = operator(&options.bin, data, "gc --dry-run")?;
    // Then the uploads that nobody came back to.
    client.advance(UPLOADS_EXPIRE_S).map_err(gone)?;
    client.log_in().map_err(gone)?;
    thread::sleep(SPANS.trash + 6 * INTERVAL);
    let report = Report::read(&options.bin, data, &SPANS, SOON, &load.looks)?;
    let listed_after = check_all(&client, &mut load).map_err(gone)?;
    drop(server);
    load.read_log(&read_to_string(log).map_err(|error| error.to_string())?);
    let verified = operator(&options.bin, data, "verify")?;
    let left = Look::new(data).count();
    tell(&load, &report, (listed, listed_after), &due, (verified.trim(), left))
}

/// What came of the load.
struct Load {
    counts: Counts,
    events: u64,
    objects: u64,
    errors: Vec<String>,
    looks: Vec<Look>,
    /// KiB, at the start, then every few seconds.
    memory: Vec<u64>,
}

impl Load {
    fn run(site: &Site, span: Duration, server: u32) -> Result<Self, Failure> {
        let (stop, events) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut workers = Vec::new();
        for index in 0..WORKERS {
            let gone = |Gone| "the server does not answer".to_owned();
            let mut worker = Worker::new(index, site).map_err(gone)?;
            worker.set_up().map_err(gone)?;
            workers.push(worker);
        }
        let errors = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = workers
            .into_iter()
            .map(|mut worker| {
                let (stop, events, errors) = (stop.clone(), events.clone(), errors.clone());
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        worker.step();
                        events.fetch_add(1, Ordering::Relaxed);
                        if !worker.errors.is_empty() {
                            let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
                            worker.errors.iter().for_each(|error| eprintln!("ERROR {error}"));
                            errors.append(&mut worker.errors);
                        }
                    }
                    worker
                })
            })
            .collect();
        let (looks, memory) = watch(site, span, server, &events);
        stop.store(true, Ordering::Relaxed);
        let mut load = Self { counts: Counts::new(), events: 0, objects: 0, errors: Vec::new(), looks, memory };
        for thread in threads {
            let worker = thread.join().map_err(|_| "a worker panicked".to_owned())?;
            for (what, count) in worker.counts {
                *load.counts.entry(what).or_default() += count;
            }
            load.objects += worker.objects;
        }
        load.events = events.load(Ordering::Relaxed);
        load.errors.append(&mut errors.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(load)
    }

    /// What the server told of itself: nothing may have failed, and no scrub may have found damage.
    fn read_log(&mut self, log: &str) {
        self.errors.extend(log.lines().filter(|line| line.contains(" ERROR ")).map(str::to_owned));
        *self.counts.entry("scrubs").or_default() =
            log.lines().filter(|line| line.contains(" scrubbed ")).count() as u64;
    }
}

/// Looks at the disk and at the server's memory now and then, and tells each minute how it goes.
fn watch(site: &Site, span: Duration, server: u32, events: &AtomicU64) -> (Vec<Look>, Vec<u64>) {
    let (begun, mut looks, mut memory) = (Instant::now(), Vec::new(), vec![rss(server)]);
    let mut minutes = 0;
    while begun.elapsed() < span {
        thread::sleep(LOOK_EVERY.min(span.saturating_sub(begun.elapsed())));
        let look = Look::new(&site.data);
        memory.push(rss(server));
        if begun.elapsed().as_secs() / 60 > minutes {
            minutes = begun.elapsed().as_secs() / 60;
            println!(
                "{minutes} min: {} events, {} objects on disk, {} MiB",
                events.load(Ordering::Relaxed),
                look.count(),
                memory.last().unwrap_or(&0) / 1024
            );
        }
        looks.push(look);
    }
    (looks, memory)
}

/// The server's resident memory in KiB.
pub(crate) fn rss(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Reads every image that any repository lists, whole, by the two APIs in turn.
fn check_all(client: &Client, load: &mut Load) -> Result<u64, Gone> {
    let mut count = 0;
    for name in repositories(client)? {
        for digest in worker::list(client, &name)? {
            count += 1;
            let door = if count % 2 == 0 { Door::Registry } else { Door::Aws };
            let broken = match door.pull(client, &name, &digest)? {
                Pulled::Whole => continue,
                // A policy may have expired it since it was listed.
                Pulled::Absent if name.starts_with("soak/policy") => continue,
                Pulled::Absent => format!("{name} lists {digest}, which is not there"),
                Pulled::Broken(why) => format!("{name}: {why}"),
            };
            eprintln!("BROKEN {broken}");
            load.errors.push(broken);
            *load.counts.entry("broken images").or_default() += 1;
        }
    }
    Ok(count)
}

fn repositories(client: &Client) -> Result<Vec<String>, Gone> {
    let (mut all, mut next) = (Vec::new(), Value::Null);
    loop {
        let input = if next.is_null() { json!({}) } else { json!({"nextToken": next}) };
        let (_, answer) = client.ecr("DescribeRepositories", &input)?;
        let named = answer["repositories"].as_array().into_iter().flatten();
        all.extend(named.filter_map(|one| one["repositoryName"].as_str().map(str::to_owned)));
        next = answer["nextToken"].clone();
        if next.is_null() {
            return Ok(all);
        }
    }
}

/// Prints all totals; an error if anything is not as it should be.
fn tell(
    load: &Load,
    report: &Report,
    (listed, listed_after): (u64, u64),
    due: &str,
    (verified, left): (&str, u64),
) -> Result<(), Failure> {
    for (what, count) in &load.counts {
        println!("{count:>9} {what}");
    }
    println!("{:>9} images expired by lifecycle policies", report.expired);
    for (kind, (count, late, latest)) in &report.pieces {
        println!("garbage: {count} {kind}, {late} of them late, the latest after {latest} s");
    }
    let (pieces, late) = report.total();
    let share = 100.0 * (pieces - late) as f64 / pieces.max(1) as f64;
    let needed: u64 = verified.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or_default();
    let garbage = load.objects - needed.min(load.objects);
    let remains = left - needed.min(left);
    let kib = |place: usize| load.memory.get(place).copied().unwrap_or_default() as f64 / 1024.0;
    let highest = load.memory.iter().max().copied().unwrap_or_default() as f64 / 1024.0;
    println!(
        "soak: {} events, {} errors, {} broken of {listed} and of {listed_after} listed images; {verified}",
        load.events,
        load.errors.len(),
        load.counts.get("broken images").unwrap_or(&0)
    );
    println!(
        "soak: {} rounds of the collector removed {pieces} pieces of garbage, {share:.2} % of them within two rounds of \
         their time; before the uploads' time came, {}",
        report.cycles.len(),
        due.trim().lines().last().unwrap_or_default()
    );
    println!("soak: {} objects written, {needed} needed, {remains} of {garbage} others still on disk", load.objects);
    println!(
        "soak: memory {:.1} MiB at the start, {:.1} in the middle, {:.1} at the end, {highest:.1} at most",
        kib(0),
        kib(load.memory.len() / 2),
        kib(load.memory.len().saturating_sub(1))
    );
    load.errors.iter().take(ERRORS_SHOWN).for_each(|error| eprintln!("{error}"));
    match load.errors.len() {
        0 if share >= 99.9 && remains == 0 => Ok(()),
        0 => Err("garbage was left".into()),
        _ => Err("a client got what it should not".into()),
    }
}
