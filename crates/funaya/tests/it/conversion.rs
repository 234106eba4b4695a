//! Formats of manifests, and conversion for clients that do not understand what is stored
//! (08-manifest-formats-and-conversion).

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use funaya_rules::{
    jws::{self, Signer},
    manifest::{DOCKER_LIST, DOCKER_V1, DOCKER_V1_SIGNED, DOCKER_V2, OCI_IMAGE, OCI_INDEX},
};
use funaya_testkit::{Answer, Client, digest};
use funaya_types::Timestamp;
use serde_json::{Value, json};

use crate::{BIN, House, access, start};

const NAME: &str = "team/web";
const EMPTY_LAYER: &str = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The user agent of Docker 1.9, which sends no `Accept`.
const DOCKER_1_9: &str = "docker/1.9.1 go/go1.4.3 git-commit/a34a1d5 kernel/4.2.0 os/linux arch/amd64";
/// What Docker 1.10 accepts, each in a header of its own there.
const DOCKER_1_10: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws, application/json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// A house with a repository.
fn house(name: &str) -> House {
    let house = House::new(name, &[("FUNAYA_RATE_QUOTAS", "off"), ("FUNAYA_TEST_CLOCK", "1")]);
    house.create(NAME);
    house
}

/// The config of an image of two layers, with an entry between them that has none.
fn config(note: &str) -> Vec<u8> {
    json!({
        "architecture": "amd64", "os": "linux", "created": "2020-01-02T03:04:05Z", "config": {"Cmd": [note]},
        "rootfs": {"type": "layers", "diff_ids": [digest(b"1"), digest(b"2")]},
        "history": [
            {"created": "2020-01-01T00:00:00Z", "created_by": "ADD file"},
            {"created": "2020-01-01T00:00:01Z", "created_by": "ENV a=b", "empty_layer": true},
            {"created": "2020-01-02T03:04:05Z", "created_by": "RUN make"},
        ],
    })
    .to_string()
    .into_bytes()
}

/// An image of schema 2 or OCI: config, layers.
fn image(media_type: &str, config: &[u8], layers: &[&[u8]]) -> Value {
    let (config_type, layer_type) =
        if media_type == DOCKER_V2 { (DOCKER_CONFIG, DOCKER_LAYER) } else { (OCI_CONFIG, OCI_LAYER) };
    let blob =
        |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()});
    json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": blob(config_type, config),
        "layers": layers.iter().map(|layer| blob(layer_type, layer)).collect::<Vec<_>>(),
    })
}

/// A schema 1 manifest, signed with a client's key.
fn schema_1(layers: &[&[u8]]) -> Vec<u8> {
    let sums: Vec<Value> = layers.iter().map(|layer| json!({"blobSum": digest(layer)})).collect();
    let history = vec![json!({"v1Compatibility": "{\"id\":\"a\"}"}); layers.len()];
    let document = json!({"schemaVersion": 1, "name": NAME, "tag": "v1", "architecture": "amd64", "fsLayers": sums,
        "history": history});
    let payload = serde_json::to_string_pretty(&document).unwrap();
    Signer::from_seed(&[9; 32]).unwrap().sign(payload.as_bytes(), Timestamp::from_secs(1_500_000_000)).unwrap()
}

fn put(house: &House, reference: &str, media_type: &str, bytes: &[u8]) -> Answer {
    let path = format!("/v2/{NAME}/manifests/{reference}");
    house.client.registry("PUT", &path, &[("Content-Type", media_type)], bytes).unwrap()
}

/// Pushes a manifest; returns its digest.
fn push(house: &House, tag: &str, media_type: &str, bytes: &[u8]) -> String {
    let answer = put(house, tag, media_type, bytes);
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.header("docker-content-digest").to_owned()
}

/// Pushes an image of schema 2 or OCI with its blobs; returns its digest.
fn push_image(house: &House, tag: &str, media_type: &str, note: &str) -> String {
    let config = config(note);
    for blob in [&config[..], b"layer one", b"layer two"] {
        house.push_blob(NAME, blob);
    }
    let manifest = image(media_type, &config, &[b"layer one", b"layer two"]);
    push(house, tag, media_type, manifest.to_string().as_bytes())
}

fn push_schema_1(house: &House, tag: &str) -> String {
    let layers: [&[u8]; 2] = [b"layer two", b"layer one"];
    layers.iter().for_each(|layer| drop(house.push_blob(NAME, layer)));
    push(house, tag, DOCKER_V1_SIGNED, &schema_1(&layers))
}

fn ask(client: &Client, method: &str, reference: &str, headers: &[(&str, &str)]) -> Answer {
    client.registry(method, &format!("/v2/{NAME}/manifests/{reference}"), headers, b"").unwrap()
}

/// Pulls with an `Accept`, and checks what every answer must hold to (MAN-17).
fn pull(house: &House, reference: &str, accept: &str) -> Answer {
    let headers = [("Accept", accept)];
    let (got, head) = (ask(&house.client, "GET", reference, &headers), ask(&house.client, "HEAD", reference, &headers));
    assert_eq!(got.status, head.status, "{reference} {accept}");
    if got.status == 200 {
        for name in ["content-type", "content-length", "docker-content-digest", "etag"] {
            assert_eq!(got.header(name), head.header(name), "{reference} {accept} {name}");
        }
        assert_eq!(got.header("docker-content-digest"), digest_of(&got));
    }
    got
}

/// The digest of the bytes sent: of signed schema 1 without the signatures (MAN-05).
fn digest_of(answer: &Answer) -> String {
    let media_type = answer.header("content-type");
    funaya_rules::manifest::digest(&answer.body, media_type, funaya_types::Algorithm::Sha256).to_string()
}

fn value(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

/// What a client does with a manifest: downloads what it names, and checks it.
fn download_all(house: &House, manifest: &Answer) {
    let document = value(manifest);
    let named: Vec<&Value> = match document["schemaVersion"].as_i64() {
        Some(1) => document["fsLayers"].as_array().unwrap().iter().map(|layer| &layer["blobSum"]).collect(),
        _ => document["layers"]
            .as_array()
            .unwrap()
            .iter()
            .chain([&document["config"]])
            .map(|blob| &blob["digest"])
            .collect(),
    };
    assert!(!named.is_empty());
    for blob in named.into_iter().map(|blob| blob.as_str().unwrap()) {
        let got = house.client.registry("GET", &format!("/v2/{NAME}/blobs/{blob}"), &[], b"").unwrap();
        assert_eq!((got.status, digest(&got.body).as_str()), (200, blob));
    }
    if document["schemaVersion"] == 1 {
        assert_eq!(jws::verify(&manifest.body), Ok(()));
        assert_eq!(document["fsLayers"].as_array().unwrap().len(), document["history"].as_array().unwrap().len());
    }
}

/// MAN-20, by MAN-10 to MAN-14: pushed in each format, pulled by tag and digest as each.
#[test]
fn eighteen_cases() {
    let house = house("eighteen");
    let stored = [
        (DOCKER_V1_SIGNED, push_schema_1(&house, "old")),
        (DOCKER_V2, push_image(&house, "docker", DOCKER_V2, "a")),
        (OCI_IMAGE, push_image(&house, "oci", OCI_IMAGE, "a")),
    ];
    // Rows: pushed as; columns: requested as schema 1, schema 2, OCI. `None`: an error.
    let table = [
        [Some(DOCKER_V1_SIGNED), None, None],
        [Some(DOCKER_V1_SIGNED), Some(DOCKER_V2), Some(OCI_IMAGE)],
        [Some(DOCKER_V1_SIGNED), Some(DOCKER_V2), Some(OCI_IMAGE)],
    ];
    for (((pushed, digest), tag), row) in stored.iter().zip(["old", "docker", "oci"]).zip(table) {
        for (accept, expected) in [DOCKER_V1_SIGNED, DOCKER_V2, OCI_IMAGE].into_iter().zip(row) {
            let by_tag = pull(&house, tag, accept);
            match expected {
                None => {
                    assert_eq!(
                        (by_tag.status, &value(&by_tag)["errors"][0]["code"]),
                        (404, &json!("MANIFEST_UNKNOWN"))
                    );
                }
                Some(format) => {
                    assert_eq!((by_tag.status, by_tag.header("content-type")), (200, format), "{tag} {accept}");
                    assert_eq!(by_tag.header("docker-content-digest") == digest, format == *pushed, "{tag} {accept}");
                    download_all(&house, &by_tag);
                    // The digest that was told can be pulled, by the same client (MAN-17).
                    let told = pull(&house, by_tag.header("docker-content-digest"), accept);
                    assert_eq!(told.body, by_tag.body);
                    assert_eq!(told.header("content-type"), format);
                }
            }
            // MAN-13: by digest there is no conversion.
            let by_digest = pull(&house, digest, accept);
            let understood = accept == *pushed;
            assert_eq!(by_digest.status, if understood { 200 } else { 404 }, "{tag} {accept}");
            if understood {
                download_all(&house, &by_digest);
            }
        }
        // MAN-15: by tag or digest, without a wish as stored.
        for accept in ["*/*", "application/json", "application/vnd.example+json"] {
            for reference in [tag, digest.as_str()] {
                let got = pull(&house, reference, accept);
                assert_eq!(
                    (got.header("docker-content-digest"), got.header("content-type")),
                    (digest.as_str(), *pushed)
                );
            }
        }
        // MAN-14: what is stored as schema 1 is that to a client that reads both.
        let both = pull(&house, tag, DOCKER_1_10);
        assert_eq!(both.header("content-type"), if *pushed == OCI_IMAGE { DOCKER_V2 } else { pushed });
    }
}

/// A request as old clients make it: without the headers that newer libraries add.
fn bare(house: &House, method: &str, reference: &str, headers: &str) -> (u16, String, Vec<u8>) {
    let host = house.server.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let auth = house.client.authorization();
    let request = format!(
        "{method} /v2/{NAME}/manifests/{reference} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {auth}\r\n\
         {headers}Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    (head[9..12].parse().unwrap(), head.clone(), answer[end + 4..].to_vec())
}

/// MAN-12, MAN-13, MAN-15, MAN-30: Docker 1.9 says nothing but its name.
#[test]
fn docker_1_9() {
    let house = house("docker-1-9");
    for (tag, media_type) in [("docker", DOCKER_V2), ("oci", OCI_IMAGE)] {
        let stored = push_image(&house, tag, media_type, "a");
        let agent = format!("User-Agent: {DOCKER_1_9}\r\nAccept-Encoding: gzip\r\n");
        let (status, head, body) = bare(&house, "GET", tag, &agent);
        assert_eq!(status, 200, "{head}");
        assert!(head.contains("application/vnd.docker.distribution.manifest.v1+prettyjws"), "{head}");
        let document: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&document["name"], &document["tag"], &document["architecture"]),
            (&json!(NAME), &json!(tag), &json!("amd64"))
        );
        let sums: Vec<&str> =
            document["fsLayers"].as_array().unwrap().iter().filter_map(|l| l["blobSum"].as_str()).collect();
        assert_eq!(sums, [&digest(b"layer two"), EMPTY_LAYER, &digest(b"layer one")]);
        assert_eq!(jws::verify(&body), Ok(()));
        let newest: Value = serde_json::from_str(document["history"][0]["v1Compatibility"].as_str().unwrap()).unwrap();
        assert_eq!(newest["config"], json!({"Cmd": ["a"]}));
        let (status, again, _) = bare(&house, "HEAD", tag, &agent);
        assert_eq!((status, line(&again, "docker-content-digest")), (200, line(&head, "docker-content-digest")));
        // By digest the same client fails, unless the digest is that of what it got.
        assert_eq!(bare(&house, "GET", &stored, &agent).0, 404);
        let (status, _, told) = bare(&house, "GET", line(&head, "docker-content-digest"), &agent);
        assert_eq!((status, told), (200, body));
        // Nobody else who says nothing gets anything but what is stored.
        for agent in ["", "User-Agent: curl/8.5.0\r\n", "User-Agent: docker/1.10.3 go/go1.5.3\r\n"] {
            let (status, head, _) = bare(&house, "GET", tag, agent);
            assert_eq!((status, line(&head, "docker-content-digest")), (200, stored.as_str()), "{agent}");
        }
        // What it says counts, if it says something.
        let (_, head, _) = bare(&house, "GET", tag, &format!("{agent}Accept: {media_type}\r\n"));
        assert_eq!(line(&head, "docker-content-digest"), stored);
    }
}

fn line<'a>(head: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    head.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default()
}

/// MAN-17: a digest that was told stays good over a restart, and the same is made of the same.
#[test]
fn conversions_outlive_a_restart() {
    let House { scratch, server, client } = house("conversion-restart");
    let house = House { scratch, server, client };
    push_image(&house, "v1", OCI_IMAGE, "a");
    let told: Vec<(&str, Answer)> =
        [DOCKER_V2, DOCKER_V1_SIGNED].into_iter().map(|accept| (accept, pull(&house, "v1", accept))).collect();
    let House { scratch, server, .. } = house;
    assert!(server.terminate());
    let server = start(&scratch.path().join("data"), &[("FUNAYA_TEST_CLOCK", "1")]);
    let client = Client::new(&server.url).unwrap();
    let house = House { scratch, server, client };
    for (accept, before) in &told {
        let tag = before.header("docker-content-digest");
        assert_eq!(pull(&house, tag, accept).body, before.body);
        assert_eq!(pull(&house, "v1", accept).body, before.body);
        let known = [("Accept", *accept), ("If-None-Match", before.header("etag"))];
        assert_eq!(ask(&house.client, "GET", "v1", &known).status, 304);
    }
    // The server's key is one key.
    push_image(&house, "v2", OCI_IMAGE, "b");
    let key = |manifest: &Answer| value(manifest)["signatures"][0]["header"]["jwk"].clone();
    assert_eq!(key(&pull(&house, "v2", DOCKER_V1_SIGNED)), key(&told[1].1));
}

/// An index of three images: arm64, amd64, and what is no image for Docker.
fn push_index(house: &House, tag: &str, index: &str, format: &str) -> String {
    let arm = push_image(house, "arm", format, "arm");
    let amd = push_image(house, "amd", format, "amd");
    let mut manifests = vec![
        json!({"mediaType": format, "digest": arm, "size": 1, "platform": {"os": "linux", "architecture": "arm64"}}),
        json!({"mediaType": format, "digest": amd, "size": 1, "platform": {"os": "linux", "architecture": "amd64"}}),
    ];
    if format == OCI_IMAGE {
        let mut attestation = image(OCI_IMAGE, &config("amd"), &[b"layer one"]);
        attestation["layers"][0]["mediaType"] = json!("application/vnd.in-toto+json");
        let digest = push(house, "attestation", OCI_IMAGE, attestation.to_string().as_bytes());
        manifests.push(json!({"mediaType": OCI_IMAGE, "digest": digest, "size": 1,
            "platform": {"os": "unknown", "architecture": "unknown"}}));
    }
    let document = json!({"schemaVersion": 2, "mediaType": index, "manifests": manifests});
    push(house, tag, index, document.to_string().as_bytes())
}

/// MAN-16: lists and indexes turn into each other, with images that the client can pull.
#[test]
fn lists_and_indexes() {
    for (number, (stored, of, wanted, image)) in
        [(OCI_INDEX, OCI_IMAGE, DOCKER_LIST, DOCKER_V2), (DOCKER_LIST, DOCKER_V2, OCI_INDEX, OCI_IMAGE)]
            .into_iter()
            .enumerate()
    {
        let house = house(&format!("lists-{number}"));
        let digest = push_index(&house, "v1", stored, of);
        let accept = format!("{wanted}, {image}");
        let list = pull(&house, "v1", &accept);
        assert_eq!((list.status, list.header("content-type")), (200, wanted));
        assert_eq!(pull(&house, list.header("docker-content-digest"), &accept).body, list.body);
        let document = value(&list);
        let manifests = document["manifests"].as_array().unwrap();
        // The attestation has no counterpart.
        assert_eq!(manifests.len(), 2);
        for child in manifests {
            let got = pull(&house, child["digest"].as_str().unwrap(), &accept);
            assert_eq!((got.status, got.header("content-type")), (200, image));
            assert_eq!(json!(got.body.len()), child["size"]);
            download_all(&house, &got);
        }
        // By digest nothing is converted, and who reads the stored one gets it.
        assert_eq!(pull(&house, &digest, &accept).status, 404);
        assert_eq!(pull(&house, "v1", &format!("{stored}, {accept}")).header("docker-content-digest"), digest);
        // Who reads neither gets the image for Linux on AMD64.
        let amd = pull(&house, "amd", of).header("docker-content-digest").to_owned();
        assert_eq!(pull(&house, "v1", of).header("docker-content-digest"), amd);
        let converted = pull(&house, "v1", image);
        assert_eq!(converted.header("docker-content-digest"), manifests[1]["digest"]);
        let old = pull(&house, "v1", DOCKER_V1_SIGNED);
        assert_eq!(value(&old)["tag"], "v1");
        let newest: Value =
            serde_json::from_str(value(&old)["history"][0]["v1Compatibility"].as_str().unwrap()).unwrap();
        assert_eq!(newest["config"]["Cmd"], json!(["amd"]));
        download_all(&house, &old);
    }
}

/// MAN-16: without an image for Linux on AMD64, and with an index in an index.
#[test]
fn indexes_without_a_counterpart() {
    let house = house("odd-indexes");
    let arm = push_image(&house, "arm", OCI_IMAGE, "arm");
    let child = |digest: &str, kind: &str| {
        json!({"mediaType": kind, "digest": digest, "size": 1,
        "platform": {"os": "linux", "architecture": "arm64"}})
    };
    let index = |children: &[Value], more: Value| {
        let mut document = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        document.to_string()
    };
    // The same image a thousand times is converted once; an index in it goes.
    let many = index(&vec![child(&arm, OCI_IMAGE); 150], json!({}));
    let inner = push(&house, "many", OCI_INDEX, many.as_bytes());
    let nested = index(&[child(&inner, OCI_INDEX), child(&arm, OCI_IMAGE)], json!({}));
    push(&house, "nested", OCI_INDEX, nested.as_bytes());
    assert_eq!(pull(&house, "many", DOCKER_V2).status, 404);
    let list = value(&pull(&house, "many", DOCKER_LIST));
    assert_eq!(list["manifests"].as_array().unwrap().len(), 150);
    assert_eq!(value(&pull(&house, "nested", DOCKER_LIST))["manifests"].as_array().unwrap().len(), 1);
    let endless = index(&vec![child(&arm, OCI_IMAGE); 10_000], json!({}));
    push(&house, "endless", OCI_INDEX, endless.as_bytes());
    assert_eq!(pull(&house, "endless", DOCKER_LIST).status, 404);
    for (tag, document) in [
        ("only-nested", index(&[child(&inner, OCI_INDEX)], json!({}))),
        ("artifact", index(&[child(&arm, OCI_IMAGE)], json!({"artifactType": "application/vnd.example"}))),
        ("none", index(&[], json!({}))),
    ] {
        let digest = push(&house, tag, OCI_INDEX, document.as_bytes());
        assert_eq!(pull(&house, tag, DOCKER_LIST).status, 404, "{tag}");
        assert_eq!(pull(&house, tag, "*/*").header("docker-content-digest"), digest, "{tag}");
    }
}

/// MAN-18: what has no counterpart is never spoiled.
#[test]
fn artifacts_stay_what_they_are() {
    let house = house("artifacts");
    let config = config("a");
    for blob in [&config[..], b"{}", b"layer one", b"layer two"] {
        house.push_blob(NAME, blob);
    }
    let layers: [&[u8]; 2] = [b"layer one", b"layer two"];
    let mut chart = image(OCI_IMAGE, b"{}", &layers[..1]);
    chart["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    chart["layers"][0]["mediaType"] = json!("application/vnd.cncf.helm.chart.content.v1.tar+gzip");
    let mut zstd = image(OCI_IMAGE, &config, &layers);
    zstd["layers"][1]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+zstd");
    let mut signature = image(OCI_IMAGE, &config, &layers);
    signature["artifactType"] = json!("application/vnd.dev.cosign.artifact.sig.v1+json");
    let mut attached = image(OCI_IMAGE, &config, &layers);
    attached["subject"] = json!({"mediaType": OCI_IMAGE, "digest": digest(b"x"), "size": 1});
    for (tag, document) in [("chart", chart), ("zstd", zstd), ("signature", signature), ("attached", attached)] {
        let stored = push(&house, tag, OCI_IMAGE, document.to_string().as_bytes());
        for accept in [DOCKER_V2, DOCKER_V1_SIGNED, DOCKER_1_10, DOCKER_LIST] {
            let got = pull(&house, tag, accept);
            assert_eq!(got.status, 404, "{tag} {accept}");
            assert!(got.text().contains(OCI_IMAGE), "{}", got.text());
        }
        for accept in ["*/*", OCI_IMAGE, "application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1"] {
            assert_eq!(pull(&house, tag, accept).header("docker-content-digest"), stored, "{tag} {accept}");
        }
    }
}

/// MAN-17: conversions are no images, and go with theirs.
#[test]
fn conversions_count_nowhere() {
    let house = house("counting");
    let stored = push_image(&house, "v1", OCI_IMAGE, "a");
    let converted = pull(&house, "v1", DOCKER_V2).header("docker-content-digest").to_owned();
    pull(&house, "v1", DOCKER_V1_SIGNED);
    let call = |operation: &str, more: Value| {
        let mut input = json!({"repositoryName": NAME});
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        house.client.ecr(operation, &input).unwrap()
    };
    let (_, listed) = call("ListImages", json!({}));
    assert_eq!(listed["imageIds"], json!([{"imageDigest": stored, "imageTag": "v1"}]));
    let ids = json!({"imageIds": [{"imageDigest": converted}]});
    assert_eq!(call("DescribeImages", ids.clone()).1["__type"], "ImageNotFoundException");
    assert_eq!(call("BatchDeleteImage", ids).1["failures"][0]["failureCode"], "ImageNotFound");
    assert_eq!(pull(&house, &converted, DOCKER_V2).status, 200);
    // An index can't name one: it is nothing that was pushed.
    let index = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST,
        "manifests": [{"mediaType": DOCKER_V2, "digest": converted, "size": 1}]});
    assert_eq!(put(&house, "list", DOCKER_LIST, index.to_string().as_bytes()).status, 400);
    let ids = json!({"imageIds": [{"imageDigest": stored}]});
    assert_eq!(call("BatchDeleteImage", ids).1["failures"], json!([]));
    for reference in ["v1", converted.as_str(), stored.as_str()] {
        assert_eq!(pull(&house, reference, DOCKER_V2).status, 404, "{reference}");
    }
    house.client.advance(60 * 86_400).unwrap();
    for command in ["gc", "verify"] {
        funaya_testkit::operator(std::path::Path::new(BIN), &house.data(), command).unwrap();
    }
    // Pushed again after its rows have gone, it is converted again to the same.
    let mut client = house.client.clone();
    client.log_in().unwrap();
    let house = House { client, ..house };
    push_image(&house, "v1", OCI_IMAGE, "a");
    assert_eq!(pull(&house, &converted, "*/*").status, 404);
    assert_eq!(pull(&house, "v1", DOCKER_V2).header("docker-content-digest"), converted);
}

/// MAN-04, MAN-11, MAN-14, MAN-17: `BatchGetImage` by `acceptedMediaTypes`.
#[test]
fn accepted_media_types_of_the_api() {
    let house = house("accepted");
    let old = push_schema_1(&house, "old");
    let stored = push_image(&house, "oci", OCI_IMAGE, "a");
    let get = |id: Value, accepted: Value| {
        let mut input = json!({"repositoryName": NAME, "imageIds": [id]});
        if !accepted.is_null() {
            input["acceptedMediaTypes"] = accepted;
        }
        let (status, answer) = house.client.ecr("BatchGetImage", &input).unwrap();
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let tag = json!({"imageTag": "oci"});
    let plain = get(tag.clone(), Value::Null);
    assert_eq!(plain["images"][0]["imageManifestMediaType"], OCI_IMAGE);
    assert_eq!(plain["images"][0]["imageId"]["imageDigest"], stored);
    for accepted in [DOCKER_V2, DOCKER_V1_SIGNED, DOCKER_V1] {
        let image = get(tag.clone(), json!([accepted]))["images"][0].clone();
        let sent = if accepted == DOCKER_V1 { DOCKER_V1_SIGNED } else { accepted };
        assert_eq!(image["imageManifestMediaType"], sent);
        let manifest = image["imageManifest"].as_str().unwrap();
        let over_docker = pull(&house, "oci", accepted);
        assert_eq!(manifest.as_bytes(), over_docker.body);
        assert_eq!(
            image["imageId"],
            json!({"imageTag": "oci", "imageDigest": over_docker.header("docker-content-digest")})
        );
        // By the digest that was told, as over Docker.
        let told = get(json!({"imageDigest": image["imageId"]["imageDigest"]}), json!([accepted]));
        assert_eq!(told["images"][0]["imageManifest"], image["imageManifest"]);
    }
    for (id, accepted) in [
        (json!({"imageDigest": stored}), DOCKER_V2),
        (json!({"imageDigest": stored, "imageTag": "oci"}), DOCKER_V2),
        (json!({"imageTag": "old"}), DOCKER_V2),
        (json!({"imageDigest": old}), OCI_IMAGE),
    ] {
        let answer = get(id.clone(), json!([accepted]));
        assert_eq!(answer["failures"][0]["failureCode"], "ImageNotFound", "{id} {accepted} {answer}");
        assert_eq!(answer["images"], json!([]));
    }
    let both = get(json!({"imageTag": "old"}), json!([DOCKER_V2, DOCKER_V1_SIGNED]));
    assert_eq!(both["images"][0]["imageId"]["imageDigest"], old);
    let other = get(json!({"imageTag": "oci", "imageDigest": old}), json!([DOCKER_V2]));
    assert_eq!(other["failures"][0]["failureCode"], "ImageTagDoesNotMatchDigest");
}

/// MAN-19: the empty layer is in every repository, over both doors, for who never pushed it.
#[test]
fn the_empty_layer_is_always_there() {
    let house = house("empty-layer");
    let path = format!("/v2/{NAME}/blobs/{EMPTY_LAYER}");
    let get = |method: &str, headers: &[(&str, &str)]| house.client.registry(method, &path, headers, b"").unwrap();
    let whole = get("GET", &[]);
    assert_eq!((whole.status, digest(&whole.body).as_str()), (200, EMPTY_LAYER));
    assert_eq!((get("HEAD", &[]).status, get("HEAD", &[]).header("content-length")), (200, "32"));
    let part = get("GET", &[("Range", "bytes=30-")]);
    assert_eq!((part.status, &part.body[..]), (206, &whole.body[30..]));
    let other = house.client.registry("GET", &format!("/v2/no/such/blobs/{EMPTY_LAYER}"), &[], b"").unwrap();
    assert_eq!(other.status, 404);
    let ids = json!({"repositoryName": NAME, "layerDigests": [EMPTY_LAYER]});
    let (_, checked) = house.client.ecr("BatchCheckLayerAvailability", &ids).unwrap();
    assert_eq!(checked["layers"][0]["layerAvailability"], "AVAILABLE");
    let url = json!({"repositoryName": NAME, "layerDigest": EMPTY_LAYER});
    let (_, url) = house.client.ecr("GetDownloadUrlForLayer", &url).unwrap();
    let got = house.client.showing("").registry("GET", url["downloadUrl"].as_str().unwrap(), &[], b"").unwrap();
    assert_eq!((got.status, got.body), (200, whole.body.clone()));
    // A push that relies on it is served, even once the layer has been pushed and collected.
    house.push_blob(NAME, b"{}");
    let mut manifest = image(DOCKER_V2, b"{}", &[&whole.body]);
    push(&house, "v1", DOCKER_V2, manifest.to_string().as_bytes());
    download_all(&house, &pull(&house, "v1", DOCKER_V2));
    manifest["layers"][0]["size"] = json!(33);
    assert_eq!(put(&house, "v2", DOCKER_V2, manifest.to_string().as_bytes()).status, 400);
    house.push_blob(NAME, &whole.body);
    let deleted = house.client.registry("DELETE", &path, &[], b"").unwrap();
    assert_eq!((deleted.status, get("GET", &[]).status), (202, 200));
}

/// IMG-28, MAN-01: a signature that is wrong is no signature; none is fine where none is claimed.
#[test]
fn forged_schema_1_is_refused() {
    let house = house("forged");
    let layers: [&[u8]; 2] = [b"layer two", b"layer one"];
    layers.iter().for_each(|layer| drop(house.push_blob(NAME, layer)));
    let good = String::from_utf8(schema_1(&layers)).unwrap();
    let signature = value_of(&good)["signatures"][0]["signature"].as_str().unwrap().to_owned();
    let protected = value_of(&good)["signatures"][0]["protected"].as_str().unwrap().to_owned();
    let cases = [
        ("changed", good.replace("amd64", "arm64")),
        ("hidden", good.replace(",\n   \"signatures\"", ",\"history\":[],\n   \"signatures\"")),
        ("signature", good.replace(&signature, &signature.chars().rev().collect::<String>())),
        ("protected", good.replace(&protected, "e30")),
        ("none", good.replace("ES256", "none")),
        ("empty", format!("{},\"signatures\":[]}}", good.split(",\n   \"signatures\"").next().unwrap())),
    ];
    for (name, text) in cases {
        for media_type in [DOCKER_V1_SIGNED, "application/json"] {
            let answer = put(&house, "forged", media_type, text.as_bytes());
            let code = value(&answer)["errors"][0]["code"].clone();
            assert_eq!((answer.status, code), (400, json!("MANIFEST_INVALID")), "{name}: {}", answer.text());
        }
    }
    let input = json!({"repositoryName": NAME, "imageManifest": good.replace("amd64", "arm64"), "imageTag": "forged"});
    assert_eq!(house.client.ecr("PutImage", &input).unwrap().1["__type"], "InvalidParameterException");
    assert_eq!(put(&house, "good", "application/json", good.as_bytes()).status, 201);
    let unsigned = json!({"schemaVersion": 1, "name": NAME, "tag": "v1", "fsLayers": [{"blobSum": digest(layers[0])}]});
    assert_eq!(put(&house, "unsigned", DOCKER_V1, unsigned.to_string().as_bytes()).status, 201);
    assert_eq!(pull(&house, "unsigned", DOCKER_V1_SIGNED).header("content-type"), DOCKER_V1);
}

fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// MAN-19: configs and manifests that make no image. Each answer comes in bounded time.
#[test]
fn odd_images_have_no_schema_1() {
    let house = house("odd-images");
    let layers: [&[u8]; 2] = [b"layer one", b"layer two"];
    layers.iter().for_each(|layer| drop(house.push_blob(NAME, layer)));
    let with = |member: &str, new: Value| {
        let mut document = value_of(&String::from_utf8(config("a")).unwrap());
        document[member] = new;
        document.to_string().into_bytes()
    };
    let entry = json!({"created_by": "x"});
    let mut large = config("a");
    large.resize(9 << 20, b' ');
    let configs = [
        ("not JSON", b"\x7fELF".to_vec()),
        ("empty", b"{}".to_vec()),
        ("history too long", with("history", json!([entry, entry, entry]))),
        ("history too short", with("history", json!([entry]))),
        ("other layers", with("rootfs", json!({"diff_ids": ["a"]}))),
        ("endless history", with("history", json!(vec![json!({"empty_layer": true}); 100_000]))),
        ("deep", with("x", value_of(&format!("{}1{}", "[".repeat(100), "]".repeat(100))))),
        ("larger than 8 MiB", large),
    ];
    for (number, (name, config)) in configs.iter().enumerate() {
        house.push_blob(NAME, config);
        let tag = format!("odd-{number}");
        push(&house, &tag, DOCKER_V2, image(DOCKER_V2, config, &layers).to_string().as_bytes());
        let begun = Instant::now();
        let expected = if *name == "deep" { 200 } else { 404 };
        assert_eq!(pull(&house, &tag, DOCKER_V1_SIGNED).status, expected, "{name}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{name} took {:?}", begun.elapsed());
        // Its config is no matter to the other family.
        assert_eq!(pull(&house, &tag, OCI_IMAGE).header("content-type"), OCI_IMAGE, "{name}");
    }
    let many = vec![layers[0]; 15_000];
    let config = with("rootfs", json!({"diff_ids": vec!["a"; 15_000]}));
    house.push_blob(NAME, &config);
    push(&house, "layers", OCI_IMAGE, image(OCI_IMAGE, &config, &many).to_string().as_bytes());
    let begun = Instant::now();
    assert_eq!(pull(&house, "layers", DOCKER_V1_SIGNED).status, 404);
    assert_eq!(value(&pull(&house, "layers", DOCKER_V2))["layers"].as_array().unwrap().len(), 15_000);
    assert!(begun.elapsed() < Duration::from_secs(20), "took {:?}", begun.elapsed());
    // History is optional in OCI.
    let config = with("history", Value::Null);
    house.push_blob(NAME, &config);
    push(&house, "plain", OCI_IMAGE, image(OCI_IMAGE, &config, &layers).to_string().as_bytes());
    assert_eq!(value(&pull(&house, "plain", DOCKER_V1_SIGNED))["fsLayers"].as_array().unwrap().len(), 2);
}

/// Many clients at once get one and the same conversion.
#[test]
fn converted_at_once() {
    let house = house("at-once");
    push_index(&house, "v1", OCI_INDEX, OCI_IMAGE);
    for accept in [DOCKER_LIST, DOCKER_V1_SIGNED] {
        let digests: BTreeSet<String> = std::thread::scope(|scope| {
            let pullers: Vec<_> = (0..8)
                .map(|_| {
                    let client = house.client.clone();
                    scope.spawn(move || {
                        let got = ask(&client, "GET", "v1", &[("Accept", accept)]);
                        assert_eq!(got.status, 200, "{}", got.text());
                        got.header("docker-content-digest").to_owned()
                    })
                })
                .collect();
            pullers.into_iter().map(|puller| puller.join().unwrap()).collect()
        });
        assert_eq!(digests.len(), 1);
    }
    assert!(
        funaya_testkit::operator(std::path::Path::new(BIN), &house.data(), "verify").unwrap().contains("0 damaged")
    );
}

/// MAN-31, MAN-32, MAN-40: the four actions are enough to pull, converted or not; so is the managed policy.
#[test]
fn four_actions_suffice() {
    let house = house("four-actions");
    push_image(&house, "v1", OCI_IMAGE, "a");
    let mut by_actions = access::user(&house, "instance");
    assert_eq!(ask(&by_actions, "GET", "v1", &[]).status, 401);
    access::put_user_policy(
        &house,
        "instance",
        &json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Resource": "*", "Action": [
            "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer",
            "ecr:GetAuthorizationToken",
        ]}]}),
    );
    let mut managed = access::user(&house, "managed");
    let arn = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role";
    access::iam(&house.client, &[("Action", "AttachUserPolicy"), ("UserName", "managed"), ("PolicyArn", arn)]);
    by_actions.log_in().unwrap();
    managed.log_in().unwrap();
    let mut house = house;
    for client in [by_actions, managed] {
        house.client = client;
        for accept in [OCI_IMAGE, DOCKER_V2, DOCKER_V1_SIGNED] {
            let manifest = pull(&house, "v1", accept);
            assert_eq!(manifest.status, 200, "{}", manifest.text());
            download_all(&house, &manifest);
        }
        let ids = json!({"repositoryName": NAME, "layerDigests": [digest(b"layer one")]});
        assert_eq!(house.client.ecr("BatchCheckLayerAvailability", &ids).unwrap().0, 200);
        let url = json!({"repositoryName": NAME, "layerDigest": digest(b"layer one")});
        assert_eq!(house.client.ecr("GetDownloadUrlForLayer", &url).unwrap().0, 200);
        assert_eq!(put(&house, "v2", OCI_IMAGE, b"{}").status, 403);
    }
}
