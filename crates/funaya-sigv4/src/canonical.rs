//! The canonical request: one spelling for all requests that mean the same.

use crate::{Payload, Request};

/// How the path enters the canonical request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// All services but S3: dot segments and doubled slashes removed, the wire's encoding encoded once more.
    Twice,
    /// S3 and our own download links: every segment kept, encoded once.
    Once,
}

/// The query parameter that is no part of what is signed.
pub(crate) const SIGNATURE_PARAMETER: &str = "X-Amz-Signature";

/// Method, path, query, headers, the signed names and the payload, each on its line. `None`: a signed header is
/// absent, so nobody can have signed this.
pub(crate) fn request(
    request: &Request<'_>,
    signed_headers: &[String],
    payload: Payload<'_>,
    encoding: Encoding,
) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(512);
    for line in [request.method, &path(request.path, encoding), &query(request.query)] {
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    for name in signed_headers {
        header(request, name, &mut out)?;
    }
    out.push(b'\n');
    out.extend_from_slice(signed_headers.join(";").as_bytes());
    out.push(b'\n');
    out.extend_from_slice(payload.text().as_bytes());
    Some(out)
}

/// `name:value,value`, blanks trimmed and folded.
fn header(request: &Request<'_>, name: &str, out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(name.as_bytes());
    let mut separator = b':';
    for value in request.values(name) {
        out.push(separator);
        let words = value.split(|c| matches!(c, b' ' | b'\t' | b'\r' | b'\n')).filter(|word| !word.is_empty());
        for (index, word) in words.enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(word);
        }
        separator = b',';
    }
    out.push(b'\n');
    (separator == b',').then_some(())
}

fn path(raw: &str, encoding: Encoding) -> String {
    match encoding {
        Encoding::Twice => encode(normal(raw).as_bytes(), true),
        Encoding::Once if raw.is_empty() => "/".into(),
        Encoding::Once => raw.split('/').map(|part| encode(&decode(part, false), false)).collect::<Vec<_>>().join("/"),
    }
}

/// RFC 3986 section 5.2.4, and empty segments go too.
fn normal(raw: &str) -> String {
    let mut kept = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let folder = kept.is_empty() || matches!(raw.rsplit('/').next(), Some("" | "." | ".."));
    let tail = if folder && !kept.is_empty() { "/" } else { "" };
    format!("/{}{tail}", kept.join("/"))
}

/// The parameters but the signature, re-encoded strictly, in order of their encoded forms.
fn query(raw: &str) -> String {
    let mut pairs: Vec<(String, String)> = parameters(raw)
        .filter(|(name, _)| name != SIGNATURE_PARAMETER.as_bytes())
        .map(|(name, value)| (encode(&name, false), encode(&value, false)))
        .collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// Decoded names and values; `+` is a blank, as in the forms that doors read.
pub(crate) fn parameters(raw: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name, true), decode(value, true))
    })
}

fn decode(text: &str, plus_is_blank: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(nibble(*high) << 4 | nibble(*low));
                rest = after;
            }
            (b'+', _) if plus_is_blank => out.push(b' '),
            _ => out.push(first),
        }
    }
    out
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Everything but the unreserved characters of RFC 3986 becomes `%XX`.
pub(crate) fn encode(bytes: &[u8], keep_slash: bool) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            b'/' if keep_slash => out.push('/'),
            _ => {
                out.push('%');
                out.push(DIGITS[usize::from(byte >> 4)].into());
                out.push(DIGITS[usize::from(byte & 15)].into());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last two are AWS's vectors `double-encode-path` and `double-url-encode`.
    #[test]
    fn paths() {
        let cases = [
            ("", "/", "/"),
            ("//a/./b//../c/", "/a/c/", "//a/./b//../c/"),
            ("/..", "/", "/.."),
            ("/a%2fb%zz", "/a%252fb%25zz", "/a%2Fb%25zz"),
            (
                "/test/@connections/JBDvjfGEIAMCERw%3D",
                "/test/%40connections/JBDvjfGEIAMCERw%253D",
                "/test/%40connections/JBDvjfGEIAMCERw%3D",
            ),
            (
                "/2015-03-31/functions/arn%3Aaws%3Alambda/invocations",
                "/2015-03-31/functions/arn%253Aaws%253Alambda/invocations",
                "/2015-03-31/functions/arn%3Aaws%3Alambda/invocations",
            ),
        ];
        for (raw, twice, once) in cases {
            assert_eq!(path(raw, Encoding::Twice), twice, "{raw}");
            assert_eq!(path(raw, Encoding::Once), once, "{raw}");
        }
    }

    #[test]
    fn queries() {
        assert_eq!(query("b=2&a&c=x+y%7e&a=%2b&&B=é"), "B=%C3%A9&a=&a=%2B&b=2&c=x%20y~");
        assert_eq!(query("X-Amz-Signature=1&x=1"), "x=1");
    }
}
