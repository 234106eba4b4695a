//! Mass data: repositories with many images of one small layer, each with a tag. Through the
//! API of a running server, or in bulk into the folder of a stopped one.

use std::thread;

use funaya_testkit::{Client, Gone, digest};
use serde_json::json;

use super::{
    Options,
    model::{Layer, manifest},
    scale,
};
use crate::Failure;

const THREADS: u32 = 8;
/// Images of one repository (QUOTA-02); more go to further repositories.
const IMAGES_MAX: u32 = 10_000;
/// Images of the repositories that a bulk fill makes first, to compare sizes.
pub(crate) const SIZES: [u64; 4] = [100, 1_000, 10_000, 100_000];

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    if let Some(data) = &options.data {
        return scale::fill(options, data);
    }
    let gone = |Gone| "the server went away".to_owned();
    let url = options.url.as_deref().ok_or("--url or --data is missing")?;
    let client = Client::new(url).map_err(gone)?;
    for index in 0..options.images.div_ceil(IMAGES_MAX) {
        let name = format!("populate/r{index}");
        let images = (options.images - index * IMAGES_MAX).min(IMAGES_MAX);
        client.ecr("CreateRepository", &json!({"repositoryName": name})).map_err(gone)?;
        fill(&client, &name, images).map_err(gone)?;
        println!("{name}: {images} images");
    }
    Ok(())
}

fn fill(client: &Client, name: &str, images: u32) -> Result<(), Gone> {
    let layers = [Layer { seed: 1, size: 500 }, Layer { seed: 2, size: 4_000 }];
    for layer in &layers {
        let bytes = layer.bytes();
        let path = format!("/v2/{name}/blobs/uploads/?digest={}", digest(&bytes));
        client.registry("POST", &path, &[], &bytes)?;
    }
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (client, name, layers) = (client.clone(), name.to_owned(), layers.clone());
            thread::spawn(move || {
                for number in (thread..images).step_by(THREADS as usize) {
                    let path = format!("/v2/{name}/manifests/v{number:06}");
                    let kind = [("Content-Type", "application/vnd.oci.image.manifest.v1+json")];
                    let put = client.registry("PUT", &path, &kind, &manifest(&layers, u64::from(number)))?;
                    if put.status != 201 {
                        eprintln!("{path}: status {}", put.status);
                        return Err(Gone);
                    }
                }
                Ok(())
            })
        })
        .collect();
    threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| Gone)?)
}
