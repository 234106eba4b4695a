//! The collector's speed, and what pushes feel of it: garbage by the hundred thousand, all due
//! at once, then each stage by `funaya gc` while clients push.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use funaya_testkit::{Client, Dice, Gone, Scratch, Server, operator};
use serde_json::json;

use super::{
    Options,
    bulk::Bulk,
    doors::{Door, IMAGE},
    model::{Layer, manifest},
};
use crate::Failure;

/// Deleted images of one repository.
const IMAGES_EACH: u64 = 1_000;
const PUSHERS: u64 = 4;
/// How long pushes are measured with an idle collector, before and after each stage.
const ALONE: Duration = Duration::from_secs(6);
/// Images, links with their blobs, objects: each goes a round after the one before.
const STAGES: usize = 3;
/// No stage runs.
const IDLE: usize = STAGES;
const SETTINGS: [(&str, &str); 5] = [
    ("FUNAYA_GC_INTERVAL", "24h"),
    ("FUNAYA_GC_GRACE", "1s"),
    ("FUNAYA_GC_TRASH", "1s"),
    ("FUNAYA_UNDO_WINDOW", "1s"),
    ("FUNAYA_IMAGES_PER_REPOSITORY", "10000000"),
];

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    speed(options)?;
    beside_pushes(options)
}

fn garbage(options: &Options, data: &Path) -> Result<Server, Failure> {
    let mut bulk = Bulk::open(&options.bin, data)?;
    for number in 0..u64::from(options.objects).div_ceil(IMAGES_EACH) {
        bulk.garbage(data, &format!("garbage/r{number}"), IMAGES_EACH)?;
    }
    drop(bulk);
    Server::start(&options.bin, data, &SETTINGS)
}

/// How long the collector takes when nobody else works.
fn speed(options: &Options) -> Result<(), Failure> {
    let scratch = Scratch::new("collect")?;
    let data = scratch.path().join("data");
    let _server = garbage(options, &data)?;
    let mut whole = Duration::ZERO;
    for _ in 0..STAGES {
        let begun = Instant::now();
        let said = operator(&options.bin, &data, "gc")?;
        whole += begun.elapsed();
        println!("{:6.2} s: {}", begun.elapsed().as_secs_f64(), said.trim());
        thread::sleep(Duration::from_secs(2));
    }
    let left = operator(&options.bin, &data, "gc --dry-run")?;
    println!(
        "collect: {} objects with image, layer and blob in {:.1} s, {:.0} a minute; then {}",
        options.objects,
        whole.as_secs_f64(),
        f64::from(options.objects) / whole.as_secs_f64() * 60.0,
        left.trim()
    );
    Ok(())
}

/// What pushes feel: times of pushes while the collector runs, and just before and after.
fn beside_pushes(options: &Options) -> Result<(), Failure> {
    let gone = |Gone| "the server went away".to_owned();
    let scratch = Scratch::new("collect")?;
    let data = scratch.path().join("data");
    let server = garbage(options, &data)?;
    let client = Client::new(&server.url).map_err(gone)?;
    client.ecr("CreateRepository", &json!({"repositoryName": "pushes"})).map_err(gone)?;
    let (stop, busy) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(IDLE)));
    let pushers: Vec<_> = (0..PUSHERS)
        .map(|index| {
            let (stop, busy, url) = (stop.clone(), busy.clone(), server.url.clone());
            thread::spawn(move || push_until(&Client::new(&url)?, index, &stop, &busy))
        })
        .collect();
    for stage in 0..STAGES {
        thread::sleep(ALONE);
        busy.store(stage, Ordering::SeqCst);
        let begun = Instant::now();
        let done = operator(&options.bin, &data, "gc");
        busy.store(IDLE, Ordering::SeqCst);
        println!("beside pushes, {:6.2} s: {}", begun.elapsed().as_secs_f64(), done?.trim());
    }
    thread::sleep(ALONE);
    stop.store(true, Ordering::SeqCst);
    let mut times = Times::default();
    for pusher in pushers {
        let more = pusher.join().map_err(|_| "a pusher panicked".to_owned())?.map_err(gone)?;
        times.iter_mut().zip(more).for_each(|(all, spans)| all.extend(spans));
    }
    report(times);
    Ok(())
}

/// Times of pushes: beside each stage, and beside none.
type Times = [Vec<Duration>; STAGES + 1];

fn report(mut times: Times) {
    times.iter_mut().for_each(|spans| spans.sort_unstable());
    let [stages @ .., alone] = &times;
    let mut beside = stages.concat();
    beside.sort_unstable();
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
        let (a, b) = (at(alone, share), at(&beside, share));
        let each = stages.each_ref().map(|spans| format!("{:.2}", at(spans, share) / a)).join(", ");
        println!(
            "push of an image, {name}: {a:.2} ms alone, {b:.2} ms beside the collector, {:.2} times ({each})",
            b / a
        );
    }
    println!("{} pushes alone, {} beside the collector", alone.len(), beside.len());
}

fn at(spans: &[Duration], share: f64) -> f64 {
    let place = ((spans.len() as f64 * share) as usize).min(spans.len().saturating_sub(1));
    spans.get(place).copied().unwrap_or_default().as_secs_f64() * 1_000.0
}

/// Images of one new layer, one after the other.
fn push_until(client: &Client, index: u64, stop: &AtomicBool, busy: &AtomicUsize) -> Result<Times, Gone> {
    let (mut dice, mut times) = (Dice::new(index + 77), Times::default());
    while !stop.load(Ordering::SeqCst) {
        let layer = Layer { seed: dice.roll(), size: 4_000 };
        let (bytes, body) = (layer.bytes(), manifest(&[layer], dice.roll()));
        let tag = format!("p{index}");
        let (stage, begun) = (busy.load(Ordering::SeqCst), Instant::now());
        let sent = Door::Registry.push_layer(client, "pushes", &bytes, &mut dice)?;
        let put = Door::Registry.put_image(client, "pushes", Some(&tag), IMAGE, &body)?;
        let span = begun.elapsed();
        if !sent.went_well() || !put.went_well() {
            eprintln!("a push failed: {sent}, {put}");
            return Err(Gone);
        }
        // One that saw two of them is neither's.
        if stage == busy.load(Ordering::SeqCst) {
            times[stage].push(span);
        }
    }
    Ok(times)
}
