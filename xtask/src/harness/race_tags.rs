//! Races for a tag that never moves: in each round two clients give it to two different
//! images at once, each over either API. One wins; the other is told so, and the tag names
//! the winner's image, byte for byte (IMG-80).

use std::{sync::Barrier, thread};

use funaya_testkit::{Client, Dice, Gone, Scratch, Server, digest, operator, start_postgres};
use serde_json::json;

use super::{
    Options,
    doors::{Door, IMAGE, Told},
    model::{Layer, manifest},
};
use crate::Failure;

const NAME: &str = "race/tags";
const DOORS: [[Door; 2]; 4] = [
    [Door::Registry, Door::Registry],
    [Door::Aws, Door::Aws],
    [Door::Registry, Door::Aws],
    [Door::Aws, Door::Registry],
];
/// Rounds after which a long run tells how far it is.
const TELL_EVERY: u32 = 2_000;

/// What went wrong, by rounds.
#[derive(Default)]
struct Faults {
    winners: u32,
    answers: u32,
    bytes: u32,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let gone = |Gone| "the server went away".to_owned();
    let scratch = Scratch::new("race-tags")?;
    let data = scratch.path().join("data");
    let database = options.postgres.then(start_postgres);
    let url = database.as_ref().map(|database| database.url().to_owned()).unwrap_or_default();
    // More images than ECR's quota of a repository, and the database that was asked for.
    let settings = [("FUNAYA_IMAGES_PER_REPOSITORY", "1000000"), ("FUNAYA_DATABASE", url.as_str())];
    let server = Server::start(&options.bin, &data, &settings)?;
    let clients = [Client::new(&server.url).map_err(gone)?, Client::new(&server.url).map_err(gone)?];
    let layers = prepare(&clients[0]).map_err(gone)?;
    let mut dice = Dice::new(options.seed);
    let (mut faults, mut first_won) = (Faults::default(), 0);
    for round in 0..options.tags {
        let doors = DOORS[round as usize % DOORS.len()];
        let bodies = [0, 1].map(|_| manifest(&layers, dice.roll()));
        let told = put_both(&clients, doors, &format!("v{round:06}"), &bodies).map_err(gone)?;
        let winner = judge(round, doors, &told, &mut faults);
        first_won += u32::from(winner == Some(0));
        if let Some(winner) = winner {
            check(&clients[0], round, [&bodies[winner], &bodies[1 - winner]], &mut faults).map_err(gone)?;
        }
        if (round + 1) % TELL_EVERY == 0 {
            println!("{} rounds", round + 1);
        }
    }
    let verified = operator(&options.bin, &data, "verify")?;
    println!(
        "race for tags on {}: {} rounds, {} without exactly one winner, {} with a wrong answer to the loser, {} with \
         wrong bytes (the first of the two won {first_won}); {}",
        if options.postgres { "PostgreSQL" } else { "SQLite" },
        options.tags,
        faults.winners,
        faults.answers,
        faults.bytes,
        verified.trim()
    );
    match faults.winners + faults.answers + faults.bytes {
        0 => Ok(()),
        _ => Err("a race for a tag went wrong".into()),
    }
}

/// A repository whose tags never move, with the layers that all images share.
fn prepare(client: &Client) -> Result<Vec<Layer>, Gone> {
    client.ecr("CreateRepository", &json!({"repositoryName": NAME, "imageTagMutability": "IMMUTABLE"}))?;
    let layers = vec![Layer { seed: 1, size: 500 }, Layer { seed: 2, size: 4_000 }];
    for layer in &layers {
        Door::Registry.push_layer(client, NAME, &layer.bytes(), &mut Dice::new(1))?;
    }
    Ok(layers)
}

/// Both at the same moment.
fn put_both(clients: &[Client; 2], doors: [Door; 2], tag: &str, bodies: &[Vec<u8>; 2]) -> Result<[Told; 2], Gone> {
    let barrier = Barrier::new(2);
    let put = |index: usize| {
        barrier.wait();
        doors[index].put_image(&clients[index], NAME, Some(tag), IMAGE, &bodies[index])
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| put(1));
        let own = put(0);
        Ok([own?, other.join().map_err(|_| Gone)??])
    })
}

/// Who won; `None` if not exactly one did.
fn judge(round: u32, doors: [Door; 2], told: &[Told; 2], faults: &mut Faults) -> Option<usize> {
    let winner = match told.each_ref().map(Told::went_well) {
        [true, false] => 0,
        [false, true] => 1,
        _ => {
            eprintln!("round {round} {doors:?}: {} and {}", told[0], told[1]);
            faults.winners += 1;
            return None;
        }
    };
    let (want, loser) = match doors[1 - winner] {
        Door::Registry => ("TAG_INVALID", &told[1 - winner]),
        Door::Aws => ("ImageTagAlreadyExistsException", &told[1 - winner]),
    };
    if loser.status != 400 || loser.error != want {
        eprintln!("round {round} {doors:?}: the loser was told {loser}");
        faults.answers += 1;
    }
    Some(winner)
}

/// The tag gives the winner's bytes, and the loser's image is not there.
fn check(client: &Client, round: u32, [won, lost]: [&Vec<u8>; 2], faults: &mut Faults) -> Result<(), Gone> {
    let get = |reference: &str| {
        client.registry("GET", &format!("/v2/{NAME}/manifests/{reference}"), &[("Accept", "*/*")], b"")
    };
    let (by_tag, by_digest) = (get(&format!("v{round:06}"))?, get(&digest(lost))?);
    if by_tag.status != 200 || by_tag.body != *won || by_digest.status != 404 {
        eprintln!("round {round}: status {} by tag, {} of the loser's image", by_tag.status, by_digest.status);
        faults.bytes += 1;
    }
    Ok(())
}
