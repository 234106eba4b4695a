//! Races: 2 to 8 writers on one upload session. One wins; what is read back is
//! the winner's, byte for byte (D4).

use std::{
    sync::{Arc, Barrier},
    thread,
};

use funaya_testkit::{Client, Dice, Gone, Scratch, Server, base64, digest, operator};
use serde_json::json;

use super::Options;
use crate::Failure;

const NAME: &str = "race/one";

#[derive(Clone, Copy, Debug)]
enum Way {
    Chunks,
    Whole,
    Parts,
}

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let gone = |Gone| "the server went away".to_owned();
    let scratch = Scratch::new("race")?;
    let data = scratch.path().join("data");
    let server = Server::start(&options.bin, &data, &[("FUNAYA_GC_INTERVAL", "1s")])?;
    let client = Client::new(&server.url).map_err(gone)?;
    client.ecr("CreateRepository", &json!({"repositoryName": NAME})).map_err(gone)?;
    let mut dice = Dice::new(options.seed);
    let (mut wrong_winners, mut wrong_bytes, mut writers) = (0, 0, 0);
    for round in 0..options.rounds {
        let way = [Way::Chunks, Way::Whole, Way::Parts][dice.below(3) as usize];
        let count = 2 + dice.below(7) as usize;
        let size = 1 + dice.below(200_000) as usize;
        let bodies: Vec<Vec<u8>> = (0..count).map(|_| dice.bytes(size)).collect();
        writers += count;
        let winners = one_round(&client, way, &bodies).map_err(gone)?;
        let [winner] = winners[..] else {
            eprintln!("round {round} {way:?}: {} winners of {count}", winners.len());
            wrong_winners += 1;
            continue;
        };
        let path = format!("/v2/{NAME}/blobs/{}", digest(&bodies[winner]));
        let read = client.registry("GET", &path, &[], b"").map_err(gone)?;
        if read.status != 200 || read.body != bodies[winner] {
            eprintln!("round {round} {way:?}: status {}, {} bytes", read.status, read.body.len());
            wrong_bytes += 1;
        }
    }
    drop(server);
    let verified = operator(&options.bin, &data, "verify")?;
    println!(
        "race: {} rounds, {writers} writers, {wrong_winners} rounds without exactly one winner, {wrong_bytes} with \
         wrong bytes; {}",
        options.rounds,
        verified.trim()
    );
    if wrong_winners + wrong_bytes > 0 { Err("a race went wrong".into()) } else { Ok(()) }
}

/// Which of the writers were told that their bytes are the layer.
fn one_round(client: &Client, way: Way, bodies: &[Vec<u8>]) -> Result<Vec<usize>, Gone> {
    let session = open(client, way)?;
    let barrier = Arc::new(Barrier::new(bodies.len()));
    let threads: Vec<_> = bodies
        .iter()
        .cloned()
        .map(|body| {
            let (client, barrier, session) = (client.clone(), barrier.clone(), session.clone());
            thread::spawn(move || {
                barrier.wait();
                send(&client, way, &session, &body)
            })
        })
        .collect();
    let mut winners = Vec::new();
    for (index, thread) in threads.into_iter().enumerate() {
        if thread.join().map_err(|_| Gone)?? {
            winners.push(index);
        }
    }
    if let (Way::Chunks | Way::Parts, [winner]) = (way, &winners[..])
        && !complete(client, way, &session, &bodies[*winner])?
    {
        winners.clear();
    }
    Ok(winners)
}

fn open(client: &Client, way: Way) -> Result<String, Gone> {
    match way {
        Way::Parts => {
            let (_, answer) = client.ecr("InitiateLayerUpload", &json!({"repositoryName": NAME}))?;
            Ok(answer["uploadId"].as_str().unwrap_or_default().into())
        }
        Way::Chunks | Way::Whole => {
            Ok(client.registry("POST", &format!("/v2/{NAME}/blobs/uploads/"), &[], b"")?.header("location").to_owned())
        }
    }
}

fn send(client: &Client, way: Way, session: &str, body: &[u8]) -> Result<bool, Gone> {
    let last = body.len() - 1;
    match way {
        Way::Chunks => {
            let range = format!("0-{last}");
            Ok(client.registry("PATCH", session, &[("Content-Range", &range)], body)?.status == 202)
        }
        Way::Whole => {
            let path = format!("{session}?digest={}", digest(body));
            Ok(client.registry("PUT", &path, &[], body)?.status == 201)
        }
        Way::Parts => {
            let input = json!({
                "repositoryName": NAME,
                "uploadId": session,
                "partFirstByte": 0,
                "partLastByte": last,
                "layerPartBlob": base64(body),
            });
            Ok(client.ecr("UploadLayerPart", &input)?.0 == 200)
        }
    }
}

fn complete(client: &Client, way: Way, session: &str, body: &[u8]) -> Result<bool, Gone> {
    if let Way::Parts = way {
        let input = json!({"repositoryName": NAME, "uploadId": session, "layerDigests": [digest(body)]});
        return Ok(client.ecr("CompleteLayerUpload", &input)?.0 == 200);
    }
    Ok(client.registry("PUT", &format!("{session}?digest={}", digest(body)), &[], b"")?.status == 201)
}
