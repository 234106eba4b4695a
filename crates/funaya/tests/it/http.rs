//! Requests that no honest client sends. Each gets a documented error, in
//! bounded time, and changes nothing.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{House, IMAGE, image};

/// Sends raw bytes and reads until the server closes.
fn raw(house: &House, request: &str) -> String {
    let mut stream = TcpStream::connect(house.server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // The server may close before it has read everything.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// A house with one image, and a check that it is still all there is.
fn house(name: &str) -> House {
    let house = House::new(name, &[]);
    house.create("team/web");
    house.push_image("team/web", "v1", b"a layer");
    house
}

fn unchanged(house: &House) {
    let tags = house.client.registry("GET", "/v2/team/web/tags/list", &[], b"").unwrap();
    assert_eq!(tags.text(), r#"{"name":"team/web","tags":["v1"]}"#);
    let catalog = house.client.registry("GET", "/v2/_catalog", &[], b"").unwrap();
    assert_eq!(catalog.text(), r#"{"repositories":["team/web"]}"#);
}

/// Two lengths in one request are how requests are smuggled past a proxy.
#[test]
fn conflicting_lengths_are_refused() {
    let house = house("lengths");
    let auth = house.client.authorization();
    let head = format!("POST /v2/team/web/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\n");
    let smuggled = "GET /v2/_catalog HTTP/1.1\r\nHost: x\r\n\r\n";
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 5, 6\r\n",
        "Transfer-Encoding: gzip\r\n",
    ] {
        let answer = raw(&house, &format!("{head}{lengths}Connection: close\r\n\r\n0\r\n\r\n{smuggled}"));
        assert_eq!(status(&answer), "400", "{lengths}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{lengths}: {answer}");
    }
    // The connection would stay open, and the upload would take the body.
    let chunked = "Transfer-Encoding: chunked\r\n";
    let length = "cOnTent-length: 5\r\n";
    let part = "3\r\nabc\r\n0\r\n\r\n";
    for lengths in [format!("{chunked}{length}"), format!("{length}{chunked}")] {
        for method in ["POST", "PUT", "PATCH", "GET"] {
            let head = head.replace("POST", method);
            let answer = raw(&house, &format!("{head}{lengths}\r\n{part}{smuggled}"));
            assert_eq!(status(&answer), "400", "{lengths}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{lengths}: {answer}");
            // Neither may it hide behind an earlier request.
            let answer = raw(&house, &format!("{smuggled}{head}{lengths}\r\n{part}{smuggled}"));
            assert_eq!(answer.matches("HTTP/1.1").count(), 2, "{lengths}: {answer}");
            assert!(answer.contains("HTTP/1.1 400"), "{lengths}: {answer}");
        }
    }
    // Chunked alone is fine, also for the second upload of a connection.
    let mut stream = TcpStream::connect(house.server.url.trim_start_matches("http://")).unwrap();
    for last in ["", "Connection: close\r\n"] {
        stream.write_all(format!("{head}{chunked}{last}\r\n{part}").as_bytes()).unwrap();
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert_eq!(status(&answer), "202", "{answer}");
    }
    unchanged(&house);
}

#[test]
fn huge_headers_are_refused() {
    let house = house("headers");
    let long = raw(&house, &format!("GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "a".repeat(1 << 20)));
    assert!(["431", "400"].contains(&status(&long)), "{}", &long[..long.len().min(100)]);
    let many: String = (0..2_000).map(|n| format!("X-{n}: a\r\n")).collect();
    let many = raw(&house, &format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{many}\r\n"));
    assert!(["431", "400"].contains(&status(&many)), "{}", &many[..many.len().min(100)]);
    let path = raw(&house, &format!("GET /v2/{} HTTP/1.1\r\nHost: x\r\n\r\n", "a/".repeat(200_000)));
    assert!(["414", "431", "400"].contains(&status(&path)), "{}", &path[..path.len().min(100)]);
    unchanged(&house);
}

/// Headers must come within 10 s.
#[test]
fn a_slow_client_is_given_up() {
    let house = house("slow");
    let mut stream = TcpStream::connect(house.server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap();
    let begun = Instant::now();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(begun.elapsed() < Duration::from_secs(25), "the connection stayed open");
    unchanged(&house);
}

/// Names, digests, tags and upload ids that are none.
#[test]
fn path_tricks_lead_nowhere() {
    let house = house("paths");
    let zeros = "0".repeat(64);
    let cases = [
        ("GET", "/v2/../../etc/passwd/tags/list".to_owned(), "400"),
        ("GET", "/v2/%2e%2e%2f%2e%2e%2fetc/tags/list".into(), "400"),
        ("GET", "/v2/team/web/manifests/..%2f..%2fmeta.db".into(), "404"),
        ("GET", "/v2/team/web/blobs/sha256:../../meta.db".into(), "404"),
        ("GET", "/v2/team/web/blobs/sha256:zz".into(), "400"),
        ("GET", format!("/v2/team/web/blobs/md5:{zeros}"), "400"),
        ("GET", format!("/v2/team/web/blobs/sha256:{zeros}"), "404"),
        ("GET", "/v2/team/web/manifests/sha256:short".into(), "400"),
        ("GET", format!("/v2/team/web/manifests/{}", "t".repeat(129)), "400"),
        ("GET", "/v2/TEAM/web/tags/list".into(), "400"),
        ("GET", "/v2/nobody/tags/list".into(), "404"),
        ("GET", "/v2/team/web/tags/list?n=-1".into(), "400"),
        ("GET", "/v2/team/web/tags/list?n=99999999999999".into(), "400"),
        ("GET", "/v2/team/web/blobs/uploads/..".into(), "404"),
        ("GET", "/v2/team/web/blobs/uploads/00000000-0000-4000-8000-000000000000".into(), "404"),
        ("PATCH", "/v2/team/web/blobs/uploads/00000000-0000-4000-8000-000000000000".into(), "404"),
        ("PUT", "/v2/team/web/blobs/uploads/00000000-0000-4000-8000-000000000000".into(), "400"),
        ("DELETE", format!("/v2/team/web/blobs/sha256:{zeros}"), "404"),
        ("DELETE", "/v2/team/web/manifests/v9".into(), "404"),
        ("POST", "/v2/team/web/manifests/v1".into(), "405"),
        ("PUT", "/v2/team/web/blobs/uploads/".into(), "405"),
        ("GET", "/v1/_ping".into(), "404"),
        ("GET", "/v0/".into(), "404"),
        ("POST", "/v2/nobody/blobs/uploads/".into(), "404"),
    ];
    for (method, path, want) in cases {
        let answer = raw(
            &house,
            &format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                house.client.authorization()
            ),
        );
        assert_eq!(status(&answer), want, "{method} {path}: {answer}");
        if want != "200" && !path.starts_with("/v0") && !path.starts_with("/v1") {
            assert!(answer.contains(r#"{"errors":[{"code":""#), "{method} {path}: {answer}");
        }
    }
    unchanged(&house);
}

/// IMG-28: 4 MiB, no more; and documents that are no manifests.
#[test]
fn bad_manifests_are_refused() {
    let house = house("manifests");
    let put = |body: &[u8], kind: &str| {
        house.client.registry("PUT", "/v2/team/web/manifests/v2", &[("Content-Type", kind)], body).unwrap()
    };
    let (config, layer) = (funaya_testkit::digest(b"{}"), funaya_testkit::digest(b"a layer"));
    let missing = funaya_testkit::digest(b"nobody pushed this");
    let padded = format!("{}{}", image(&config, 2, &layer, 7), " ".repeat(4 << 20));
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    let cases = [
        ("too large", padded.into_bytes(), IMAGE.1, 413, "MANIFEST_INVALID"),
        ("deep", deep.into_bytes(), IMAGE.1, 400, "MANIFEST_INVALID"),
        ("no JSON", b"hello".to_vec(), IMAGE.1, 400, "MANIFEST_INVALID"),
        ("not UTF-8", vec![0xff; 100], IMAGE.1, 400, "MANIFEST_INVALID"),
        ("another type", image(&config, 2, &layer, 7).into_bytes(), "text/plain", 400, "MANIFEST_INVALID"),
        ("missing layer", image(&config, 2, &missing, 7).into_bytes(), IMAGE.1, 400, "MANIFEST_BLOB_UNKNOWN"),
        ("wrong size", image(&config, 2, &layer, 8).into_bytes(), IMAGE.1, 400, "SIZE_INVALID"),
    ];
    for (name, body, kind, want, code) in cases {
        let answer = put(&body, kind);
        assert_eq!(answer.status, want, "{name}: {}", answer.text());
        assert!(answer.text().contains(code), "{name}: {}", answer.text());
    }
    unchanged(&house);
}

/// API-75, ERR-22 and the README's list of common errors.
#[test]
fn bad_api_calls_get_aws_errors() {
    let house = house("api");
    let check = |operation: &str, input: serde_json::Value, error: &str| {
        let (status, answer) = house.client.ecr(operation, &input).unwrap();
        assert!(status >= 400, "{operation} {input}");
        assert_eq!(answer["__type"], error, "{operation} {input}: {answer}");
    };
    check("CreateRepository", json!({}), "InvalidParameterException");
    check("CreateRepository", json!({"repositoryName": 5}), "SerializationException");
    check("CreateRepository", json!({"repositoryName": "A"}), "InvalidParameterException");
    check("CreateRepository", json!({"repositoryName": "team/web"}), "RepositoryAlreadyExistsException");
    check("DescribeRepositories", json!({"nextToken": "x"}), "InvalidParameterException");
    check("DescribeRepositories", json!({"maxResults": 0}), "InvalidParameterException");
    check("DescribeRepositories", json!({"maxResults": 1001}), "InvalidParameterException");
    check(
        "DescribeRepositories",
        json!({"repositoryNames": ["team/web"], "maxResults": 5}),
        "InvalidParameterException",
    );
    check("DescribeRepositories", json!({"repositoryNames": ["nobody"]}), "RepositoryNotFoundException");
    check("DeleteRepository", json!({"repositoryName": "team/web"}), "RepositoryNotEmptyException");
    check("Frobnicate", json!({}), "UnknownOperationException");
    check("PutReplicationConfiguration", json!({}), "ValidationException");
    check("SetRepositoryPolicy", json!({}), "InvalidParameterException");
    unchanged(&house);
}

/// A paging token of one list is none of another, nor is one that was tampered with (API-76).
#[test]
fn paging_tokens_are_bound() {
    let house = house("paging");
    house.create("team/api");
    let page = |name: &str, input: serde_json::Value| house.client.ecr(name, &input).unwrap();
    let (_, first) = page("DescribeRepositories", json!({"maxResults": 1}));
    let token = first["nextToken"].as_str().unwrap().to_owned();
    let (status, second) = page("DescribeRepositories", json!({"maxResults": 1, "nextToken": token}));
    assert_eq!((status, &second["nextToken"]), (200, &serde_json::Value::Null));
    assert_eq!(second["repositories"][0]["repositoryName"], "team/web");
    let (status, _) = page("ListImages", json!({"repositoryName": "team/web", "nextToken": token}));
    assert_eq!(status, 400);
    let mut tampered = token.into_bytes();
    tampered[20] ^= 1;
    let (status, _) = page("DescribeRepositories", json!({"nextToken": String::from_utf8(tampered).unwrap()}));
    assert_eq!(status, 400);
}

/// A body that stops coming is given up after 60 s; what had come before stays.
#[test]
fn an_idle_body_is_given_up() {
    let house = house("idle");
    let start = house.client.registry("POST", "/v2/team/web/blobs/uploads/", &[], b"").unwrap();
    let upload = start.header("location").to_owned();
    let auth = house.client.authorization();
    let head = format!("PATCH {upload} HTTP/1.1\r\nHost: x\r\nAuthorization: {auth}\r\nContent-Length: 10\r\n\r\nabc");
    let mut stream = TcpStream::connect(house.server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(status(&answer), "400", "{answer}");
    unchanged(&house);
}
