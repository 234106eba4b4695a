//! Who may come in (01-registry-and-authentication).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use funaya_testkit::{Client, REGION};
use serde_json::json;

use crate::House;

const HOUR_S: i64 = 3600;

/// A house in which time can be moved.
fn with_clock(name: &str) -> House {
    House::new(name, &[("FUNAYA_TEST_CLOCK", "1"), ("FUNAYA_REGIONS", "us-west-2")])
}

fn advance(house: &House, seconds: i64) {
    let moved = house.client.registry("GET", &format!("/_test/clock?advance={seconds}"), &[], b"").unwrap();
    assert_eq!(moved.status, 200);
}

fn ping(house: &House, authorization: &str, host: &str) -> (u16, String) {
    let mut stream = std::net::TcpStream::connect(house.server.url.trim_start_matches("http://")).unwrap();
    let request =
        format!("GET /v2/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: {authorization}\r\nConnection: close\r\n\r\n");
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

/// AUTH-13, ERR-41: good for twelve hours, refused after.
#[test]
fn a_token_ends_after_twelve_hours() {
    let house = with_clock("token");
    let token = house.client.authorization().to_owned();
    advance(&house, 12 * HOUR_S - 60);
    assert_eq!(ping(&house, &token, "localhost").0, 200);
    advance(&house, 61);
    let (status, text) = ping(&house, &token, "localhost");
    assert_eq!(status, 403);
    assert!(text.contains("Your authorization token has expired. Reauthenticate and try again."), "{text}");
}

/// AUTH-16: a token of another Region is refused; that Region's own is not.
#[test]
fn a_token_is_bound_to_its_region() {
    let house = with_clock("region");
    let west = Client::in_region(&house.server.url, "us-west-2").unwrap();
    let host = |region| format!("123456789012.dkr.ecr.{region}.example.com");
    let east = house.client.authorization();
    assert_eq!(ping(&house, east, &host(REGION)).0, 200);
    assert_eq!(ping(&house, east, &host("us-west-2")).0, 403);
    assert_eq!(ping(&house, west.authorization(), &host("us-west-2")).0, 200);
    assert_eq!(ping(&house, west.authorization(), &host(REGION)).0, 403);
}

/// REG-03: registries of two Regions share nothing.
#[test]
fn regions_are_independent() {
    let house = with_clock("regions");
    let west = Client::in_region(&house.server.url, "us-west-2").unwrap();
    house.create("team/web");
    let (status, answer) = west.ecr("DescribeRepositories", &json!({})).unwrap();
    assert_eq!((status, &answer["repositories"]), (200, &json!([])));
    let (status, _) = west.ecr("CreateRepository", &json!({"repositoryName": "team/web"})).unwrap();
    assert_eq!(status, 200);
}

/// AUTH-11, AUTH-12, V2-02: anything but a token of ours gets 401 and learns nothing.
#[test]
fn other_credentials_get_401() {
    let house = with_clock("basic");
    let token = house.client.authorization().trim_start_matches("Basic ").to_owned();
    let decoded = String::from_utf8(STANDARD.decode(&token).unwrap()).unwrap();
    let (user, password) = decoded.split_once(':').unwrap();
    assert_eq!(user, "AWS");
    assert!(!password.contains([':', ' ', '\n']), "{password}");
    let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
    let mut flipped = password.to_owned().into_bytes();
    flipped[40] ^= 1;
    let cases = [
        String::new(),
        "Basic".into(),
        "Bearer x".into(),
        "Basic !!!".into(),
        basic("AWS".into()),
        basic("AWS:".into()),
        basic(format!("aws:{password}")),
        basic(format!("root:{password}")),
        basic(format!("AWS:{password}x")),
        basic(format!("AWS:{}", &password[..password.len() - 2])),
        basic(format!("AWS:{}", String::from_utf8(flipped).unwrap())),
        basic(format!("AWS:{}", "A".repeat(20_000))),
    ];
    for case in cases {
        let (status, text) = ping(&house, &case, "localhost");
        assert_eq!(status, 401, "{case}");
        assert!(text.to_lowercase().contains("www-authenticate: basic realm=") && text.ends_with("Not Authorized"));
    }
}

/// Root of one account may do nothing in another (POL-02, ERR-20).
#[test]
fn another_account_is_closed() {
    let house = with_clock("account");
    house.create("team/web");
    let input = json!({"repositoryName": "team/web", "registryId": "210987654321"});
    let (status, answer) = house.client.ecr("ListImages", &input).unwrap();
    assert_eq!((status, answer["__type"].as_str()), (400, Some("AccessDeniedException")));
    let text = answer["message"].as_str().unwrap();
    assert_eq!(
        text,
        "User: arn:aws:iam::123456789012:root is not authorized to perform: ecr:ListImages on resource: \
         arn:aws:ecr:us-east-1:210987654321:repository/team/web"
    );
    let path = "/v2/team/web/tags/list";
    let (status, text) = {
        let mut stream = std::net::TcpStream::connect(house.server.url.trim_start_matches("http://")).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 210987654321.dkr.ecr.us-east-1.amazonaws.com\r\nAuthorization: {}\r\n\
             Connection: close\r\n\r\n",
            house.client.authorization()
        );
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        (answer.split(' ').nth(1).unwrap().to_owned(), answer)
    };
    assert!(status == "403" && text.contains("DENIED") && text.contains("is not authorized to perform"), "{text}");
}

/// IMG-27: the URL alone is enough, for an hour, for that layer and that host only.
#[test]
fn a_download_url_ends_after_an_hour() {
    let house = with_clock("download");
    house.create("team/web");
    house.push_image("team/web", "v1", b"the layer");
    let digest = funaya_testkit::digest(b"the layer");
    let input = json!({"repositoryName": "team/web", "layerDigest": digest});
    let (status, answer) = house.client.ecr("GetDownloadUrlForLayer", &input).unwrap();
    assert_eq!(status, 200, "{answer}");
    let url = answer["downloadUrl"].as_str().unwrap().to_owned();
    let fetch = |url: &str| {
        let out = std::process::Command::new("curl").args(["-s", "-w", "\n%{http_code}", url]).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse::<u16>().unwrap(), body.to_owned())
    };
    assert_eq!(fetch(&url), (200, "the layer".into()));
    let other = digest.replace(':', "/").replacen("sha256/", "sha256/0", 1);
    assert_eq!(fetch(&url.replace(&digest.replace(':', "/"), &other[..other.len() - 1])).0, 403);
    assert_eq!(fetch(&url.replace("Expires=3600", "Expires=7200")).0, 403);
    advance(&house, HOUR_S - 10);
    assert_eq!(fetch(&url).0, 200);
    advance(&house, 11);
    assert_eq!(fetch(&url).0, 403);
}

/// QUOTA-20, QUOTA-23: 200 tokens at once, then Docker and SDKs are told in their own words.
#[test]
fn rates_are_enforced() {
    let scratch = funaya_testkit::Scratch::new("rates").unwrap();
    let server = crate::start(&scratch.path().join("data"), &[("FUNAYA_RATE_QUOTAS", "ecr")]);
    let client = Client::new(&server.url).unwrap();
    let (_, made) = client.ecr("CreateRepository", &json!({"repositoryName": "team/web"})).unwrap();
    assert!(made["repository"].is_object());
    // Registry requests wait for their turn, as Docker does not; 10 a second come in.
    let threads: Vec<_> = (0..240)
        .map(|_| {
            let client = client.clone();
            std::thread::spawn(move || {
                let answer = client.registry("POST", "/v2/team/web/blobs/uploads/", &[], b"").unwrap();
                (answer.status, answer.text())
            })
        })
        .collect();
    let answers: Vec<(u16, String)> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let allowed = answers.iter().filter(|(status, _)| *status == 202).count();
    assert!((60..240).contains(&allowed), "{allowed} of 240 uploads were let in at 10 a second, within 10 s");
    let (_, refused) = answers.iter().find(|(status, _)| *status == 429).unwrap();
    assert!(refused.contains("TOOMANYREQUESTS") && refused.contains("Rate exceeded"), "{refused}");
    let throttled = (0..260).map(|_| client.ecr("GetAuthorizationToken", &json!({})).unwrap()).find(|(s, _)| *s != 200);
    let (status, answer) = throttled.expect("260 tokens in a row exceed a burst of 200");
    assert_eq!((status, answer["__type"].as_str()), (400, Some("ThrottlingException")));
    assert_eq!(answer["message"], "Rate exceeded");
}
