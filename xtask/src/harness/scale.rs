//! Size: what lists, a deletion and a restore cost in repositories of different sizes, on a
//! folder that `populate --data` filled.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use funaya_testkit::{Client, Gone, Server};
use serde_json::{Value, json};

use super::{Options, bulk::Bulk, populate::SIZES, soak::rss};
use crate::Failure;

/// A fill may make more repositories than the quota, so that one could not come back.
const QUOTA: (&str, &str) = ("FUNAYA_REPOSITORIES_PER_REGISTRY", "100000");
/// Calls of each kind; the median counts.
const CALLS: usize = 300;
/// Calls between which the sizes take turns, so that what slows the machine slows all.
const TURN: usize = 20;

/// Fills a folder: a repository of each size, and `--repositories` of `--images` images.
pub(crate) fn fill(options: &Options, data: &Path) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut bulk = Bulk::open(&options.bin, data)?;
    for size in SIZES {
        bulk.repository(&format!("size/{size}"), size)?;
    }
    for number in 0..options.repositories {
        bulk.repository(&format!("many/r{number:05}"), u64::from(options.images))?;
        if (number + 1) % 1_000 == 0 {
            println!("{} repositories, {} s", number + 1, begun.elapsed().as_secs());
        }
    }
    drop(bulk);
    let bytes = std::fs::metadata(data.join("meta.db")).map_or(0, |file| file.len());
    let rows = u64::from(options.repositories) * u64::from(options.images) + SIZES.iter().sum::<u64>();
    println!("populate: {rows} images in {} s, database {} MiB", begun.elapsed().as_secs(), bytes >> 20);
    Ok(())
}

/// One of the lists: its name, and how its first page is asked for.
type List = (&'static str, fn(&Client, &str, &str) -> Result<bool, Gone>);

const LISTS: [List; 6] = [
    ("DescribeImages, 100 a page", |client, name, _| {
        let input = json!({"repositoryName": name, "maxResults": 100});
        Ok(items(&client.ecr("DescribeImages", &input)?.1, "imageDetails") == 100)
    }),
    // Fewer than any has: a last page looks for images without a tag as well.
    ("ListImages, 50 a page", |client, name, _| {
        let input = json!({"repositoryName": name, "maxResults": 50});
        Ok(items(&client.ecr("ListImages", &input)?.1, "imageIds") == 50)
    }),
    ("DescribeRepositories of one", |client, name, _| {
        Ok(items(&client.ecr("DescribeRepositories", &json!({"repositoryNames": [name]}))?.1, "repositories") == 1)
    }),
    ("DescribeRepositories, a page", |client, _, _| {
        Ok(items(&client.ecr("DescribeRepositories", &json!({"maxResults": 5}))?.1, "repositories") == 5)
    }),
    ("tags/list, n=100", |client, name, _| {
        Ok(client.registry("GET", &format!("/v2/{name}/tags/list?n=100"), &[], b"")?.text().matches("\"v").count()
            == 100)
    }),
    ("referrers, 20", |client, name, first| {
        let answer = client.registry("GET", &format!("/v2/{name}/referrers/{first}"), &[], b"")?;
        Ok(answer.text().matches("\"sha256:").count() == 20)
    }),
];

fn items(answer: &Value, list: &str) -> usize {
    answer[list].as_array().map_or(0, Vec::len)
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let gone = |Gone| "the server went away".to_owned();
    let data = options.data.as_deref().ok_or("--data is missing: a folder that `populate --data` filled")?;
    let started = Instant::now();
    let server = Server::start(&options.bin, data, &[QUOTA])?;
    println!("start to ready: {} ms", started.elapsed().as_millis());
    let client = Client::new(&server.url).map_err(gone)?;
    println!("memory at the start: {:.1} MiB", rss(server.id()) as f64 / 1024.0);
    print!("| first page | ");
    println!("{} images | largest / smallest |", SIZES.map(|size| size.to_string()).join(" | "));
    for (list, ask) in LISTS {
        let medians = measure(&client, ask).map_err(gone)?;
        let (most, least) = medians.iter().fold((0.0_f64, f64::MAX), |(most, least), m| (most.max(*m), least.min(*m)));
        let texts = medians.iter().map(|median| format!("{median:.3} ms")).collect::<Vec<_>>().join(" | ");
        println!("| {list} | {texts} | {:.2} |", most / least);
    }
    println!("memory after the lists: {:.1} MiB", rss(server.id()) as f64 / 1024.0);
    restore(options, data, &client)?;
    println!("memory at the end: {:.1} MiB", rss(server.id()) as f64 / 1024.0);
    Ok(())
}

/// Medians by size, in milliseconds.
fn measure(client: &Client, ask: fn(&Client, &str, &str) -> Result<bool, Gone>) -> Result<Vec<f64>, Gone> {
    let mut targets = Vec::new();
    for size in SIZES {
        let name = format!("size/{size}");
        let first = client.registry("HEAD", &format!("/v2/{name}/manifests/v000000"), &[("Accept", "*/*")], b"")?;
        targets.push((name, first.header("docker-content-digest").to_owned()));
    }
    let mut spans = vec![Vec::new(); targets.len()];
    for _ in 0..CALLS / TURN {
        for (index, (name, first)) in targets.iter().enumerate() {
            for _ in 0..TURN {
                let begun = Instant::now();
                if !ask(client, name, first)? {
                    eprintln!("{name}: an answer without its rows");
                    return Err(Gone);
                }
                spans[index].push(begun.elapsed());
            }
        }
    }
    Ok(spans.into_iter().map(|mut spans| median(&mut spans).as_secs_f64() * 1_000.0).collect())
}

fn median(spans: &mut [Duration]) -> Duration {
    spans.sort_unstable();
    spans.get(spans.len() / 2).copied().unwrap_or_default()
}

/// Deletes the largest repository and brings it back, as an operator does.
fn restore(options: &Options, data: &Path, client: &Client) -> Result<(), Failure> {
    let name = format!("size/{}", SIZES[SIZES.len() - 1]);
    let begun = Instant::now();
    let deleted = client.ecr("DeleteRepository", &json!({"repositoryName": name, "force": true}));
    if !matches!(deleted, Ok((200, _))) {
        return Err(format!("{name} can't be deleted"));
    }
    let (deletion, begun) = (begun.elapsed(), Instant::now());
    let done = Command::new(&options.bin).args(["restore", "repository", &name]).env("FUNAYA_DATA", data).output();
    let done = done.map_err(|error| error.to_string())?;
    if !done.status.success() {
        return Err(format!("{name} can't be restored: {}", String::from_utf8_lossy(&done.stdout)));
    }
    println!(
        "{name}: deleted in {} ms, `funaya restore repository` took {} ms",
        deletion.as_millis(),
        begun.elapsed().as_millis()
    );
    Ok(())
}
