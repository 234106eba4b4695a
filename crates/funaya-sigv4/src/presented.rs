//! What a request presents, taken apart but not yet believed.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use funaya_types::{Secret, Timestamp};

use crate::{
    ALGORITHM, Fault, Request, Scope, Signature,
    canonical::{SIGNATURE_PARAMETER, parameters},
    key::sha256,
};

/// Longest life of a presigned URL, in seconds: a week.
const EXPIRES_S_MAX: u64 = 604_800;
/// Life of a presigned URL that does not say, in seconds.
const EXPIRES_S_DEFAULT: u64 = 900;

/// A claim: this access key signed this request. Nothing of it is checked before [`crate::verify`].
#[derive(Clone, Debug)]
pub struct Presented {
    /// The key to look up.
    pub access_key_id: String,
    /// Day, Region and service of the signing key.
    pub scope: Scope,
    /// The last part of the credential; `aws4_request` if all is well.
    pub(crate) terminator: String,
    /// Lower-case names in the order that was signed.
    pub signed_headers: Vec<String>,
    /// The signature to compare.
    pub signature: Signature,
    /// When it was signed.
    pub signed_at: Timestamp,
    /// Where it came from.
    pub form: Form,
    /// The session token of temporary credentials.
    pub security_token: Option<Secret>,
}

/// Where a signature stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In the `Authorization` header.
    Header,
    /// In the query: a presigned URL.
    Query {
        /// Its life in seconds, 0 to 604,800.
        expires_s: u64,
    },
}

/// Reads the signature of a request; `None` if it has none of this kind.
///
/// # Errors
/// [`Fault::Incomplete`] when parts are missing, garbled or given twice.
pub fn parse(request: &Request<'_>) -> Result<Option<Presented>, Fault> {
    let mut headers = request.values("authorization").filter(|value| value.starts_with(b"AWS4-"));
    let header = headers.next();
    let query = Query::read(request.query)?;
    match (header, query) {
        (None, None) => Ok(None),
        (None, Some(query)) => query.presented().map(Some),
        (Some(value), None) if headers.next().is_none() => from_header(request, value).map(Some),
        (Some(_), _) => Err(incomplete(
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
             parameter or the Authorization header should be specified",
        )),
    }
}

fn from_header(request: &Request<'_>, value: &[u8]) -> Result<Presented, Fault> {
    let text = std::str::from_utf8(value).map_err(|_| incomplete("Authorization header is not valid text."))?;
    let (algorithm, rest) = text.split_once(' ').unwrap_or((text, ""));
    check_algorithm(algorithm)?;
    let part = |name| rest.split(',').filter_map(|part| part.trim().split_once('=')).find(|(n, _)| *n == name);
    let parts = [part("Credential"), part("Signature"), part("SignedHeaders")].map(|found| found.map(|(_, v)| v));
    let date = header_text(request, "x-amz-date").or_else(|| header_text(request, "date"));
    let ([Some(credential), Some(signature), Some(signed_headers)], Some(date)) = (parts, date) else {
        return Err(missing_in_header(parts, date.is_none(), value));
    };
    Claim {
        credential,
        signature,
        signed_headers,
        date,
        form: Form::Header,
        security_token: header_text(request, "x-amz-security-token"),
    }
    .presented()
}

/// The first value of a header, if it is text.
fn header_text<'a>(request: &Request<'a>, name: &str) -> Option<&'a str> {
    request.values(name).next().and_then(|value| std::str::from_utf8(value).ok()).map(str::trim)
}

/// One sentence for each missing part. The header itself is hashed: it may hold what must not be logged.
fn missing_in_header(parts: [Option<&str>; 3], no_date: bool, value: &[u8]) -> Fault {
    let mut text = String::new();
    for (name, part) in ["Credential", "Signature", "SignedHeaders"].iter().zip(parts) {
        if part.is_none() {
            text += &format!("Authorization header requires '{name}' parameter. ");
        }
    }
    if no_date {
        text += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ";
    }
    Fault::Incomplete(format!(
        "{text}(Hashed with SHA-256 and encoded with Base64) Authorization={}",
        STANDARD.encode(sha256(value))
    ))
}

/// The `X-Amz-*` parameters of a query.
struct Query(HashMap<String, String>);

impl Query {
    /// `None` if the query is not of a presigned URL.
    fn read(raw: &str) -> Result<Option<Self>, Fault> {
        let mut found = HashMap::new();
        for (name, value) in parameters(raw) {
            let (Ok(name), Ok(value)) = (String::from_utf8(name), String::from_utf8(value)) else { continue };
            if name.starts_with("X-Amz-") && found.insert(name, value).is_some() {
                return Err(incomplete("AWS query-string parameters must not be given twice."));
            }
        }
        let query = Self(found);
        let presigned = [SIGNATURE_PARAMETER, "X-Amz-Algorithm", "X-Amz-Credential"];
        Ok(presigned.iter().any(|name| query.0.contains_key(*name)).then_some(query))
    }

    fn part(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn presented(&self) -> Result<Presented, Fault> {
        const NEEDED: [&str; 5] =
            ["X-Amz-Algorithm", "X-Amz-Credential", SIGNATURE_PARAMETER, "X-Amz-SignedHeaders", "X-Amz-Date"];
        let [Some(algorithm), Some(credential), Some(signature), Some(signed_headers), Some(date)] =
            NEEDED.map(|name| self.part(name))
        else {
            let missing = NEEDED.iter().filter(|name| self.part(name).is_none());
            let sentences = missing.map(|name| format!("AWS query-string parameters must include '{name}'. "));
            let text: String = sentences.collect();
            return Err(Fault::Incomplete(text + "Re-examine the query-string parameters."));
        };
        check_algorithm(algorithm)?;
        let form = Form::Query { expires_s: expires(self.part("X-Amz-Expires"))? };
        let security_token = self.part("X-Amz-Security-Token");
        Claim { credential, signature, signed_headers, date, form, security_token }.presented()
    }
}

fn expires(text: Option<&str>) -> Result<u64, Fault> {
    let Some(text) = text else { return Ok(EXPIRES_S_DEFAULT) };
    match text.parse::<i64>().map(u64::try_from) {
        Err(_) => Err(incomplete("X-Amz-Expires should be a number")),
        Ok(Err(_)) => Err(incomplete("X-Amz-Expires must be non-negative")),
        Ok(Ok(secs)) if secs > EXPIRES_S_MAX => Err(incomplete(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than \
             604800 seconds",
        )),
        Ok(Ok(secs)) => Ok(secs),
    }
}

fn check_algorithm(algorithm: &str) -> Result<(), Fault> {
    match algorithm {
        ALGORITHM => Ok(()),
        other => Err(Fault::Incomplete(format!("Unsupported AWS 'algorithm': '{}'. ", short(other)))),
    }
}

/// The texts of both forms.
struct Claim<'a> {
    credential: &'a str,
    signature: &'a str,
    signed_headers: &'a str,
    date: &'a str,
    form: Form,
    security_token: Option<&'a str>,
}

impl Claim<'_> {
    fn presented(self) -> Result<Presented, Fault> {
        let parts: Vec<&str> = self.credential.split('/').collect();
        let [access_key_id, date, region, service, terminator] = parts[..] else {
            return Err(incomplete(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term",
            ));
        };
        let signature = Signature::new(self.signature)
            .ok_or_else(|| incomplete("Signature must be 64 lower-case hexadecimal digits."))?;
        Ok(Presented {
            access_key_id: access_key_id.into(),
            scope: Scope { date: date.into(), region: region.into(), service: service.into() },
            terminator: terminator.into(),
            signed_headers: self.signed_headers.split(';').map(String::from).collect(),
            signature,
            signed_at: time(self.date).ok_or_else(|| bad_date(self.date))?,
            form: self.form,
            security_token: self.security_token.map(Secret::new),
        })
    }
}

/// `20261124T003000Z`, or the form of a `Date` header.
fn time(text: &str) -> Option<Timestamp> {
    let stamp = |at: jiff::Timestamp| Timestamp::from_secs(at.as_second());
    let basic = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok();
    match basic.and_then(|at| jiff::tz::Offset::UTC.to_timestamp(at).ok()) {
        // The round trip refuses what the parser takes too kindly.
        Some(at) => Some(stamp(at)).filter(|at| at.basic() == text),
        None => jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(stamp),
    }
}

fn bad_date(text: &str) -> Fault {
    let got = short(text);
    Fault::Incomplete(format!(
        "Date must be in ISO-8601 'basic format'. Got '{got}'. See http://en.wikipedia.org/wiki/ISO_8601"
    ))
}

fn incomplete(text: &str) -> Fault {
    Fault::Incomplete(text.into())
}

/// No more of the caller's text than an error needs.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}
