//! Uploads that are cut, repeated, resumed.

use std::{io::Write as _, net::TcpStream, time::Duration};

use funaya_testkit::{Dice, digest};

use crate::House;

fn house(name: &str) -> House {
    let house = House::new(name, &[]);
    house.create("team/web");
    house
}

fn open(house: &House) -> String {
    let opened = house.client.registry("POST", "/v2/team/web/blobs/uploads/", &[], b"").unwrap();
    assert_eq!(opened.status, 202);
    opened.header("location").to_owned()
}

/// What a cut-off client has sent is kept, and it can go on from there.
#[test]
fn an_upload_goes_on_after_a_cut() {
    let house = house("cut");
    let bytes = Dice::new(5).bytes(700_000);
    let location = open(&house);
    let mut stream = TcpStream::connect(house.server.url.trim_start_matches("http://")).unwrap();
    let head = format!(
        "PATCH {location} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\nContent-Length: {}\r\n\r\n",
        house.client.authorization(),
        bytes.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&bytes[..400_000]).unwrap();
    stream.flush().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    drop(stream);
    let mut received = 0;
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(100));
        let asked = house.client.registry("GET", &location, &[], b"").unwrap();
        assert_eq!(asked.status, 204);
        received = asked.header("range").trim_start_matches("0-").parse::<usize>().unwrap();
        if received > 0 {
            break;
        }
    }
    assert!(received > 0 && received < bytes.len(), "{received}");
    let first = received + 1;
    let range = format!("{first}-{}", bytes.len() - 1);
    let sent = house.client.registry("PATCH", &location, &[("Content-Range", &range)], &bytes[first..]).unwrap();
    assert_eq!(sent.status, 202, "{}", sent.text());
    let digest = digest(&bytes);
    let done = house.client.registry("PUT", &format!("{location}?digest={digest}"), &[], b"").unwrap();
    assert_eq!(done.status, 201, "{}", done.text());
    let read = house.client.registry("GET", &format!("/v2/team/web/blobs/{digest}"), &[], b"").unwrap();
    assert!(read.body == bytes);
}

/// A chunk in the wrong place is refused; the session lives on, with what it had.
#[test]
fn chunks_must_follow_one_another() {
    let house = house("order");
    let location = open(&house);
    let patch = |range: &str, body: &[u8]| {
        house.client.registry("PATCH", &location, &[("Content-Range", range)], body).unwrap()
    };
    assert_eq!(patch("0-4", b"hello").status, 202);
    for (range, body) in [("7-9", b"xyz".as_slice()), ("0-4", b"HELLO"), ("4-6", b"abc")] {
        let refused = patch(range, body);
        assert_eq!((refused.status, refused.header("range")), (416, "0-4"), "{range}");
    }
    assert_eq!(patch("5-9", b"abc").status, 400, "a length that differs from the range");
    assert_eq!(patch("x-y", b"abc").status, 416);
    assert_eq!(patch("5-10", b" world").status, 202);
    let wrong = house.client.registry("PUT", &format!("{location}?digest={}", digest(b"other")), &[], b"").unwrap();
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("DIGEST_INVALID"));
    let path = format!("{location}?digest={}", digest(b"hello world"));
    assert_eq!(house.client.registry("PUT", &path, &[], b"").unwrap().status, 201);
    // The answer may have been lost: the same request again succeeds as well.
    assert_eq!(house.client.registry("PUT", &path, &[], b"").unwrap().status, 201);
}

#[test]
fn a_cancelled_upload_is_gone() {
    let house = house("cancel");
    let location = open(&house);
    assert_eq!(house.client.registry("PATCH", &location, &[], b"some bytes").unwrap().status, 202);
    assert_eq!(house.client.registry("DELETE", &location, &[], b"").unwrap().status, 204);
    for method in ["GET", "DELETE"] {
        assert_eq!(house.client.registry(method, &location, &[], b"").unwrap().status, 404, "{method}");
    }
    let path = format!("{location}?digest={}", digest(b"some bytes"));
    assert_eq!(house.client.registry("PUT", &path, &[], b"").unwrap().status, 404);
}

/// V2-07: with `FUNAYA_BLOB_REDIRECT=always` a layer is elsewhere, as in ECR, and needs no sign-in there.
#[test]
fn layers_can_be_redirected() {
    let house = House::new("redirect", &[("FUNAYA_BLOB_REDIRECT", "always")]);
    house.create("team/web");
    let digest = house.push_blob("team/web", b"somewhere else");
    let url = format!("{}/v2/team/web/blobs/{digest}", house.server.url);
    let auth = format!("Authorization: {}", house.client.authorization());
    let curl = |args: &[&str]| {
        let out = std::process::Command::new("curl").args(["-s", "-w", " %{http_code}"]).args(args).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    assert_eq!(curl(&["-H", &auth, &url]), " 307");
    assert_eq!(curl(&["-L", "-H", &auth, &url]), "somewhere else 200");
}

/// RFC 9110: ranges of a blob, and conditions.
#[test]
fn ranges_and_conditions() {
    let house = house("ranges");
    let bytes = Dice::new(9).bytes(200_000);
    let path = format!("/v2/team/web/blobs/{}", house.push_blob("team/web", &bytes));
    let get = |name: &str, value: &str| house.client.registry("GET", &path, &[(name, value)], b"").unwrap();
    let part = get("Range", "bytes=65530-131080");
    assert_eq!((part.status, part.header("content-range")), (206, "bytes 65530-131080/200000"));
    assert!(part.body == bytes[65_530..=131_080]);
    let last = get("Range", "bytes=-1");
    assert!(last.status == 206 && last.body == bytes[199_999..]);
    assert_eq!(get("Range", "bytes=200000-").status, 416);
    let etag = house.client.registry("HEAD", &path, &[], b"").unwrap().header("etag").to_owned();
    let same = get("If-None-Match", &etag);
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert_eq!(get("If-None-Match", "\"other\"").status, 200);
}
