//! Random requests, signed by AWS's signer (AUTH-02, AUTH-03): believed as they are, refused once touched.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
        UriPathNormalizationMode, sign as aws_sign,
    },
    sign::v4,
};
use funaya_sigv4::{
    Credentials, Encoding, Expected, Fault, Payload, Request, Scope, SigningKey, parse, payload_hash, presign, sign,
    verify,
};
use funaya_types::{Secret, Timestamp};
use proptest::prelude::*;

const NOW_S: u64 = 1_795_480_200;
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

#[derive(Clone, Debug)]
struct Plain {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Plain {
    fn verify(&self, encoding: Encoding, secret: &str) -> Result<(), Fault> {
        let headers: Vec<(&str, &[u8])> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        let request = Request { method: &self.method, path: &self.path, query: &self.query, headers: &headers };
        let presented = parse(&request)?.ok_or(Fault::MissingToken)?;
        let key = SigningKey::derive(&Secret::new(secret), &presented.scope);
        let now = Timestamp::from_secs(NOW_S as i64);
        let expected = Expected { service: "ecr", region: &|region| region == "eu-west-1", encoding, now };
        verify(&presented, &request, &key, Payload::Hash(&payload_hash(&self.body)), &expected)
    }

    fn uri(&self) -> String {
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("https://api.ecr.eu-west-1.example.com{}{mark}{}", self.path, self.query)
    }
}

fn plain() -> impl Strategy<Value = Plain> {
    let segment = "([a-zA-Z0-9._~@:-]|%2[0-9A-F]|%E1%88%B4){0,6}";
    let path = prop::collection::vec(segment, 0..4).prop_map(|parts| format!("/{}", parts.join("/")));
    let pair = ("[a-zA-Z0-9_-]{1,5}", "([a-zA-Z0-9/_.~-]|%[2-7][0-9A-F]){0,8}").prop_map(|(n, v)| format!("{n}={v}"));
    let query = prop::collection::vec(pair, 0..4).prop_map(|pairs| pairs.join("&"));
    let header = ("(x-amz-meta|my)-[a-z]{1,5}", "[a-zA-Z0-9=,;  ]{1,12}[a-z]");
    let body = prop::collection::vec(any::<u8>(), 0..40);
    (prop::sample::select(vec!["GET", "POST", "PUT", "DELETE"]), path, query, prop::collection::vec(header, 0..4), body)
        .prop_map(|(method, path, query, headers, body)| Plain {
            method: method.into(),
            path,
            query,
            headers: std::iter::once(("host".to_owned(), b"api.ecr.eu-west-1.example.com".to_vec()))
                .chain(headers.into_iter().map(|(n, v)| (n, v.trim().as_bytes().to_vec())))
                .collect(),
            body,
        })
}

/// The request as AWS's signer sends it.
fn signed(plain: &Plain, location: SignatureLocation, encoding: Encoding, token: Option<&str>) -> Plain {
    let identity = AwsCredentials::new("AKIDEXAMPLE", SECRET, token.map(String::from), None, "test").into();
    let mut settings = SigningSettings::default();
    settings.signature_location = location;
    settings.expires_in = Some(Duration::from_secs(900));
    settings.excluded_headers = None;
    settings.payload_checksum_kind = match location {
        SignatureLocation::Headers => PayloadChecksumKind::XAmzSha256,
        _ => PayloadChecksumKind::NoHeader,
    };
    if encoding == Encoding::Once {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-west-1")
        .name("ecr")
        .time(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_S))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let headers = plain.headers.iter().map(|(n, v)| (n.as_str(), std::str::from_utf8(v).unwrap()));
    let uri = plain.uri();
    let request = SignableRequest::new(&plain.method, &uri, headers, SignableBody::Bytes(&plain.body)).unwrap();
    let (instructions, _) = aws_sign(request, &params).unwrap().into_parts();
    let mut http = http::Request::builder().method(plain.method.as_str()).uri(&uri).body(()).unwrap();
    for (name, value) in &plain.headers {
        http.headers_mut().append(http::HeaderName::try_from(name).unwrap(), value.as_slice().try_into().unwrap());
    }
    instructions.apply_to_request_http1x(&mut http);
    Plain {
        method: plain.method.clone(),
        path: http.uri().path().into(),
        query: http.uri().query().unwrap_or_default().into(),
        headers: http.headers().iter().map(|(n, v)| (n.to_string(), v.as_bytes().to_vec())).collect(),
        body: plain.body.clone(),
    }
}

/// Clients of S3 encode a path strictly before they sign it as it is; we bring any path to that form.
fn as_s3_clients_write(mut plain: Plain) -> Plain {
    for (loose, strict) in [("%2D", "-"), ("%2E", "."), ("@", "%40"), (":", "%3A")] {
        plain.path = plain.path.replace(loose, strict);
    }
    plain
}

/// Every way to touch one piece of a request. `None`: this request has no such piece.
fn tampered(signed: &Plain, which: usize) -> Option<Plain> {
    let mut touched = signed.clone();
    match which {
        0 => touched.method = "PATCH".into(),
        1 => touched.path += "x",
        2 => touched.body.push(1),
        3 => touched.query = format!("added=1&{}", touched.query),
        4 => touched.headers.push(("x-amz-added".into(), b"1".to_vec())),
        5 => touched.headers.push(("host".into(), b"b".to_vec())),
        6 => touched.headers.retain(|(n, _)| n != "host"),
        7 => touched.headers.iter_mut().find(|(n, _)| n == "host")?.1.push(b'x'),
        8 => touched.headers.iter_mut().find(|(n, _)| n == "x-amz-date")?.1[14] ^= 1,
        9 => touched.headers.iter_mut().find(|(n, _)| n == "x-amz-security-token")?.1.push(b'x'),
        10 => touched.headers.iter_mut().find(|(n, _)| n.starts_with("my-"))?.1.push(b'x'),
        11 => touched.headers.iter_mut().find(|(n, _)| n == "authorization")?.1.iter_mut().last().map(|c| *c ^= 1)?,
        12 => touched.query = replaced(&touched.query, "X-Amz-Expires=900", "X-Amz-Expires=901")?,
        13 => touched.query = replaced(&touched.query, "AKIDEXAMPLE", "AKIDOTHER")?,
        14 => touched.query = replaced(&touched.query, "X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders=date%3Bhost")?,
        _ => touched.query = replaced(&touched.query, "X-Amz-Security-Token=t", "X-Amz-Security-Token=u")?,
    }
    Some(touched)
}

fn replaced(text: &str, from: &str, to: &str) -> Option<String> {
    text.contains(from).then(|| text.replacen(from, to, 1))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_aws_signer(plain in plain(), in_query: bool, once: bool, token: bool, which in 0..16_usize) {
        let location = if in_query { SignatureLocation::QueryParams } else { SignatureLocation::Headers };
        let encoding = if once { Encoding::Once } else { Encoding::Twice };
        let plain = if once { as_s3_clients_write(plain) } else { plain };
        let signed = signed(&plain, location, encoding, token.then_some("token/+="));
        prop_assert_eq!(signed.verify(encoding, SECRET), Ok(()));
        prop_assert_eq!(signed.verify(encoding, "another"), Err(Fault::Mismatch));
        if let Some(touched) = tampered(&signed, which) {
            prop_assert!(touched.verify(encoding, SECRET).is_err(), "{}: {:?}", which, touched);
        }
    }

    #[test]
    fn agrees_with_our_own_signer(plain in plain(), in_query: bool, once: bool, token: bool) {
        let encoding = if once { Encoding::Once } else { Encoding::Twice };
        let (secret, token) = (Secret::new(SECRET), token.then(|| Secret::new("token/+=")));
        let credentials = Credentials { access_key_id: "AKIDEXAMPLE", secret: &secret, security_token: token.as_ref() };
        let mut signed = plain.clone();
        if in_query {
            signed.headers.truncate(1);
        }
        let at = Timestamp::from_secs(NOW_S as i64);
        let scope = Scope::new(at, "eu-west-1", "ecr");
        let hash = payload_hash(&plain.body);
        let kept = signed.headers.clone();
        let headers: Vec<(&str, &[u8])> = kept.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        let request = Request { method: &plain.method, path: &plain.path, query: &plain.query, headers: &headers };
        if in_query {
            signed.query = presign(&request, &credentials, &scope, Payload::Hash(&hash), encoding, at, 60);
        } else {
            let added = sign(&request, &credentials, &scope, Payload::Hash(&hash), encoding, at);
            signed.headers.extend(added.into_iter().map(|(n, v)| (n.to_owned(), v.into_bytes())));
        }
        prop_assert_eq!(signed.verify(encoding, SECRET), Ok(()));
    }

    #[test]
    fn nothing_panics(
        path: String,
        query in "(X-Amz-(Algorithm|Credential|Date|Expires|Signature|SignedHeaders)=[^&]{0,9}&?){0,7}",
        text in "AWS4-HMAC-SHA256 .{0,60}",
    ) {
        let headers: [(&str, &[u8]); 2] = [("authorization", text.as_bytes()), ("x-amz-date", b"20261124T003000Z")];
        let _ = parse(&Request { method: "GET", path: &path, query: "", headers: &headers });
        let _ = parse(&Request { method: "GET", path: &path, query: &query, headers: &[] });
    }
}
