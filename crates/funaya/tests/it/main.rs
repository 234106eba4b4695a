//! The program as a whole, from outside: a process, a socket, a folder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod access;
mod audit;
mod conversion;
mod damage;
mod gc;
mod http;
mod iam;
mod identity;
mod lifecycle;
mod matrix;
mod process;
mod pull_times;
mod quotas;
mod replicas;
mod restore;
mod routes;
mod uploads;

use std::path::Path;

use funaya_testkit::{Client, Scratch, Server, digest};
use serde_json::json;

const BIN: &str = env!("CARGO_BIN_EXE_funaya");

/// A server on a folder of its own.
struct House {
    scratch: Scratch,
    server: Server,
    client: Client,
}

impl House {
    fn new(name: &str, settings: &[(&str, &str)]) -> Self {
        let scratch = Scratch::new(name).unwrap();
        let server = start(&scratch.path().join("data"), settings);
        let client = Client::new(&server.url).unwrap();
        Self { scratch, server, client }
    }

    fn data(&self) -> std::path::PathBuf {
        self.scratch.path().join("data")
    }

    fn create(&self, name: &str) {
        let (status, answer) = self.client.ecr("CreateRepository", &json!({"repositoryName": name})).unwrap();
        assert_eq!(status, 200, "{answer}");
    }

    /// Pushes a blob in one request; returns its digest.
    fn push_blob(&self, name: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        let pushed = self.client.registry("POST", &path, &[], bytes).unwrap();
        assert_eq!(pushed.status, 201, "{}", pushed.text());
        digest
    }

    /// Pushes an image of one layer; returns its manifest.
    fn push_image(&self, name: &str, tag: &str, layer: &[u8]) -> String {
        let config = b"{}";
        let (config_digest, layer_digest) = (self.push_blob(name, config), self.push_blob(name, layer));
        let manifest = image(&config_digest, config.len(), &layer_digest, layer.len());
        let put = self.client.registry("PUT", &format!("/v2/{name}/manifests/{tag}"), &[IMAGE], manifest.as_bytes());
        let put = put.unwrap();
        assert_eq!(put.status, 201, "{}", put.text());
        manifest
    }
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE: (&str, &str) = ("Content-Type", "application/vnd.oci.image.manifest.v1+json");

fn image(config: &str, config_bytes: usize, layer: &str, layer_bytes: usize) -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": IMAGE.1,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_bytes},
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer, "size": layer_bytes
        }],
    })
    .to_string()
}

fn start(data: &Path, settings: &[(&str, &str)]) -> Server {
    Server::start(Path::new(BIN), data, settings).unwrap()
}
