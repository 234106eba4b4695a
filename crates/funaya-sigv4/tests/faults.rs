//! Each way of being wrong has AWS's own words (AUTH-02, AUTH-03).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use funaya_sigv4::{
    Credentials, Encoding, Expected, Fault, Kind, Payload, Request, Scope, SigningKey, parse, payload_hash, presign,
    sign, verify,
};
use funaya_types::{Secret, Timestamp};

/// 2026-11-24T00:30:00Z
const NOW_S: i64 = 1_795_480_200;

struct Call {
    query: String,
    headers: BTreeMap<String, String>,
    payload: Payload<'static>,
    secret: &'static str,
}

fn secret() -> Secret {
    Secret::new("our secret")
}

/// A good call, signed so long after (or before) now.
fn header_call(after_s: i64, region: &str, service: &str) -> Call {
    let at = Timestamp::from_secs(NOW_S + after_s);
    let secret = secret();
    let credentials = Credentials { access_key_id: "AKID", secret: &secret, security_token: None };
    let headers: [(&str, &[u8]); 1] = [("host", b"h")];
    let request = Request { method: "GET", path: "/", query: "", headers: &headers };
    let scope = Scope::new(at, region, service);
    let added = sign(&request, &credentials, &scope, Payload::Unsigned, Encoding::Twice, at);
    let mut headers: BTreeMap<String, String> = added.into_iter().map(|(n, v)| (n.into(), v)).collect();
    headers.insert("host".into(), "h".into());
    Call { query: String::new(), headers, payload: Payload::Unsigned, secret: "our secret" }
}

fn query_call(after_s: i64, expires_s: u32) -> Call {
    let at = Timestamp::from_secs(NOW_S + after_s);
    let secret = secret();
    let credentials = Credentials { access_key_id: "AKID", secret: &secret, security_token: None };
    let headers: [(&str, &[u8]); 1] = [("host", b"h")];
    let request = Request { method: "GET", path: "/", query: "", headers: &headers };
    let scope = Scope::new(at, "eu-west-1", "ecr");
    let query = presign(&request, &credentials, &scope, Payload::Unsigned, Encoding::Twice, at, expires_s);
    Call { query, headers: [("host".into(), "h".into())].into(), payload: Payload::Unsigned, secret: "our secret" }
}

fn good() -> Call {
    header_call(0, "eu-west-1", "ecr")
}

impl Call {
    fn header(mut self, name: &str, change: impl FnOnce(String) -> String) -> Self {
        let old = self.headers.remove(name).unwrap_or_default();
        let new = change(old);
        if !new.is_empty() {
            self.headers.insert(name.into(), new);
        }
        self
    }

    fn authorization(self, from: &str, to: &str) -> Self {
        self.header("authorization", |text| {
            assert!(text.contains(from), "{text}");
            text.replacen(from, to, 1)
        })
    }

    fn query(mut self, from: &str, to: &str) -> Self {
        assert!(self.query.contains(from), "{}", self.query);
        self.query = self.query.replacen(from, to, 1);
        self
    }

    fn outcome(&self) -> Result<(), Fault> {
        let headers: Vec<(&str, &[u8])> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
        let request = Request { method: "GET", path: "/", query: &self.query, headers: &headers };
        let presented = parse(&request)?.ok_or(Fault::MissingToken)?;
        let key = SigningKey::derive(&Secret::new(self.secret), &presented.scope);
        let expected = Expected {
            service: "ecr",
            region: &|region| region == "eu-west-1",
            encoding: Encoding::Twice,
            now: Timestamp::from_secs(NOW_S),
        };
        verify(&presented, &request, &key, self.payload, &expected)
    }
}

#[test]
fn good_calls_pass() {
    for after_s in [0, -900, 900] {
        assert_eq!(header_call(after_s, "eu-west-1", "ecr").outcome(), Ok(()), "{after_s}");
    }
    for (after_s, expires_s) in [(0, 0), (-3600, 3600), (-604_800, 604_800), (900, 60)] {
        assert_eq!(query_call(after_s, expires_s).outcome(), Ok(()), "{after_s} {expires_s}");
    }
    // A `Date` header serves where no `X-Amz-Date` is sent; here it is the wrong second.
    let dated =
        good().header("date", |_| "Tue, 24 Nov 2026 00:30:01 GMT".into()).header("x-amz-date", |_| String::new());
    assert_eq!(dated.outcome(), Err(Fault::Mismatch));
}

#[test]
fn each_fault_has_its_text() {
    const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your \
                            AWS Secret Access Key and signing method. Consult the service documentation for details.";
    let unsigned_date = |call: Call| call.authorization("SignedHeaders=host;x-amz-date", "SignedHeaders=host");
    let presigned = || query_call(0, 60);
    let (incomplete, invalid, missing) = (Kind::Incomplete, Kind::Invalid, "Missing Authentication Token");
    let none = |_| String::new();
    let cases: Vec<(Call, Kind, String)> =
        vec![
        (good().header("authorization", |_| String::new()), Kind::MissingToken, missing.into()),
        (good().header("authorization", |_| "Basic QVdTOg==".into()), Kind::MissingToken, missing.into()),
        (
            good().header("authorization", |_| "AWS4-HMAC-SHA256 Signature=abc".into()).header("x-amz-date", none),
            incomplete,
            format!(
                "Authorization header requires 'Credential' parameter. Authorization header requires 'SignedHeaders' \
                 parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. \
                 (Hashed with SHA-256 and encoded with Base64) Authorization={}",
                "BOVWHkwmmZ+ctSvZOKBPu1mzDczRukcMLaNslyMqIgk="
            ),
        ),
        (
            good().header("authorization", |_| "AWS4-HMAC-SHA256".into()),
            incomplete,
            format!(
                "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' \
                 parameter. Authorization header requires 'SignedHeaders' parameter. \
                 (Hashed with SHA-256 and encoded with Base64) Authorization={}",
                "YI2YWea8FSxnksZL2ETHbs5elHm9HQufxTLK0W0ffV0="
            ),
        ),
        (
            good().authorization("AWS4-HMAC-SHA256", "AWS4-HMAC-MD5"),
            incomplete,
            "Unsupported AWS 'algorithm': 'AWS4-HMAC-MD5'. ".into(),
        ),
        (
            good().authorization("/ecr/", "/"),
            incomplete,
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term".into(),
        ),
        (
            good().authorization("Signature=", "Signature=zz"),
            incomplete,
            "Signature must be 64 lower-case hexadecimal digits.".into(),
        ),
        (
            good().header("x-amz-date", |_| "yesterday".into()),
            incomplete,
            "Date must be in ISO-8601 'basic format'. Got 'yesterday'. \
             See http://en.wikipedia.org/wiki/ISO_8601".into(),
        ),
        (
            Call { query: query_call(0, 60).query, ..good() },
            incomplete,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
             parameter or the Authorization header should be specified"
                .into(),
        ),
        (
            presigned().query("&X-Amz-Signature=", "&Other=").query("X-Amz-Date", "Date"),
            incomplete,
            "AWS query-string parameters must include 'X-Amz-Signature'. AWS query-string parameters must include \
             'X-Amz-Date'. Re-examine the query-string parameters."
                .into(),
        ),
        (
            presigned().query("X-Amz-Date", "X-Amz-Date=&X-Amz-Date"),
            incomplete,
            "AWS query-string parameters must not be given twice.".into(),
        ),
        (presigned().query("Expires=60", "Expires=x"), incomplete, "X-Amz-Expires should be a number".into()),
        (presigned().query("Expires=60", "Expires=-1"), incomplete, "X-Amz-Expires must be non-negative".into()),
        (
            presigned().query("Expires=60", "Expires=604801"),
            incomplete,
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
             604800 seconds"
                .into(),
        ),
        (Call { secret: "another", ..good() }, invalid, MISMATCH.into()),
        (Call { payload: Payload::Hash(""), ..good() }, invalid, MISMATCH.into()),
        (good().header("host", |_| "other".into()), invalid, MISMATCH.into()),
        (good().header("host", |_| String::new()), invalid, MISMATCH.into()),
        (
            header_call(-1800, "eu-west-1", "ecr"),
            invalid,
            "Signature expired: 20261124T000000Z is now earlier than \
             20261124T001500Z (20261124T003000Z - 15 min.)".into(),
        ),
        (
            header_call(1800, "eu-west-1", "ecr"),
            invalid,
            "Signature not yet current: 20261124T010000Z is still later than \
             20261124T004500Z (20261124T003000Z + 15 min.)"
                .into(),
        ),
        (
            query_call(-91, 90),
            invalid,
            "Signature expired: 20261124T002829Z is now earlier than \
             20261124T002830Z (20261124T003000Z - 90 sec.)".into(),
        ),
        (header_call(0, "mars-north-1", "ecr"), invalid, "Credential should be scoped to a valid region. ".into()),
        (header_call(0, "eu-west-1", "s3"), invalid, "Credential should be scoped to correct service: 'ecr'. ".into()),
        (
            good().authorization("aws4_request", "aws5_request"),
            invalid,
            "Credential should be scoped with a valid terminator: 'aws4_request'. ".into(),
        ),
        (
            good().authorization("/20261124/", "/20261123/"),
            invalid,
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
             '20261123' != '20261124', from '20261124T003000Z'."
                .into(),
        ),
        (
            good().authorization("SignedHeaders=host;", "SignedHeaders="),
            invalid,
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".into(),
        ),
        (
            unsigned_date(good()),
            invalid,
            "There were headers present in the request which were not signed: 'x-amz-date'.".into(),
        ),
        (
            presigned().header("x-amz-target", |_| "T.DeleteRepository".into()),
            invalid,
            "There were headers present in the request which were not signed: 'x-amz-target'.".into(),
        ),
    ];
    for (call, kind, text) in cases {
        let fault = call.outcome().expect_err(&text);
        assert_eq!(fault.to_string(), text);
        assert_eq!(fault.kind(), kind, "{text}");
    }
}

/// A body that is not the one which `x-amz-content-sha256` names (AUTH-02).
#[test]
fn the_sent_hash_binds() {
    let (at, secret) = (Timestamp::from_secs(NOW_S), secret());
    let credentials = Credentials { access_key_id: "AKID", secret: &secret, security_token: None };
    let headers: [(&str, &[u8]); 2] = [("host", b"h"), ("x-amz-content-sha256", b"UNSIGNED-PAYLOAD")];
    let request = Request { method: "GET", path: "/", query: "", headers: &headers };
    let scope = Scope::new(at, "eu-west-1", "ecr");
    let added = sign(&request, &credentials, &scope, Payload::Unsigned, Encoding::Twice, at);
    let mut all: BTreeMap<String, String> = added.into_iter().map(|(n, v)| (n.into(), v)).collect();
    all.insert("host".into(), "h".into());
    all.insert("x-amz-content-sha256".into(), "UNSIGNED-PAYLOAD".into());
    let call = Call { query: String::new(), headers: all, payload: Payload::Unsigned, secret: "our secret" };
    assert_eq!(call.outcome(), Ok(()));
    let empty: &'static str = payload_hash(b"").leak();
    assert_eq!(Call { payload: Payload::Hash(empty), ..call }.outcome(), Err(Fault::Mismatch));
}

#[test]
fn nothing_secret_is_printed() {
    let call = good();
    let headers: Vec<(&str, &[u8])> = call.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
    let presented = parse(&Request { method: "GET", path: "/", query: "", headers: &headers }).unwrap().unwrap();
    let signature = call.headers["authorization"].rsplit('=').next().unwrap();
    assert!(!format!("{presented:?}").contains(signature));
    let key = SigningKey::derive(&Secret::new("s"), &presented.scope);
    assert_eq!(format!("{key:?}"), "SigningKey(…)");
}
