//! AWS's own test suite (AUTH-02, AUTH-03): what it signed we must believe.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use funaya_sigv4::{Encoding, Expected, Payload, Request, SigningKey, parse, payload_hash, verify};
use funaya_types::{Secret, Timestamp};

/// 2015-08-30T12:36:00Z
const NOW: Timestamp = Timestamp::from_secs(1_440_938_160);

/// Vectors that must be refused, with the reason.
const REFUSED: [(&str, &str); 1] =
    [("post-sts-header-after", "the token is added after signing, which only AWS IoT allows")];

struct Message {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// A request file. A header line that begins with a blank goes on from the line before.
fn message(text: &str) -> Message {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap().strip_suffix(" HTTP/1.1").unwrap();
    let (method, target) = first.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in lines {
        match line.split_once(':') {
            Some((name, value)) if !line.starts_with(' ') => headers.push((name.to_lowercase(), value.into())),
            _ => headers.last_mut().unwrap().1 += &format!("\n{line}"),
        }
    }
    Message {
        method: method.into(),
        path: path.into(),
        query: query.into(),
        headers,
        body: body.trim_end_matches('\n').into(),
    }
}

fn check(name: &str, text: &str, canonical: &str, normalize: bool) -> Result<(), String> {
    let message = message(text);
    let headers: Vec<(&str, &[u8])> = message.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
    let request = Request { method: &message.method, path: &message.path, query: &message.query, headers: &headers };
    let presented = parse(&request).map_err(|f| f.to_string())?.ok_or("nothing presented")?;
    let key = SigningKey::derive(&Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), &presented.scope);
    let hash = canonical.trim_end().rsplit('\n').next().unwrap();
    // Presigned vectors with a body sign the hash of an empty one.
    assert!([payload_hash(message.body.as_bytes()), payload_hash(b"")].iter().any(|h| h == hash), "{name}");
    let encoding = if normalize { Encoding::Twice } else { Encoding::Once };
    let expected = Expected { service: "service", region: &|region| region == "us-east-1", encoding, now: NOW };
    verify(&presented, &request, &key, Payload::Hash(hash), &expected).map_err(|f| f.to_string())
}

#[test]
fn what_aws_signed_is_believed() {
    let mut count = 0;
    for line in include_str!("vectors/v4.jsonl").lines() {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| vector[name].as_str().unwrap();
        let (name, normalize) = (text("name"), vector["normalize"].as_bool().unwrap());
        let refused = REFUSED.iter().any(|(n, _)| *n == name);
        for form in ["header", "query"] {
            let outcome = check(name, text(&format!("{form}_request")), text(&format!("{form}_canonical")), normalize);
            assert_eq!(outcome.is_err(), refused, "{name} {form}: {outcome:?}");
            count += 1;
        }
    }
    assert_eq!(count, 76);
}
