//! Signatures of schema 1: JSON Web Signatures in libtrust's "pretty" form.
//!
//! The document is the signed payload with a member `signatures` put in before
//! its end. Each signature's protected header says where the payload was cut
//! (`formatLength`) and what was cut off (`formatTail`).
//!
//! Source: RFC 7515; Docker Image Manifest V2 schema 1, "Signed Manifests".

use aws_lc_rs::{
    agreement,
    encoding::AsDer as _,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use funaya_types::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Signatures that one manifest may have; Docker makes one.
const SIGNATURES_MAX: usize = 8;

/// Why a signed manifest is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// Not of libtrust's form, or the signatures cover something else than the document.
    #[error("the signatures do not belong to the document")]
    Form,
    /// None, or more than anybody needs.
    #[error("the manifest must have between 1 and {SIGNATURES_MAX} signatures")]
    Count,
    /// Neither ES256 nor RS256 with the key in `jwk`.
    #[error("the signature's algorithm or key is not supported")]
    Key,
    /// A signature is wrong.
    #[error("a signature does not verify")]
    Wrong,
}

/// The member that a signed document has beside its payload.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signed {
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    #[serde(default)]
    header: Header,
    #[serde(default)]
    signature: String,
    protected: String,
}

#[derive(Default, Deserialize)]
struct Header {
    alg: Option<String>,
    jwk: Option<Jwk>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    y: String,
    n: String,
    e: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Protected {
    format_length: usize,
    format_tail: String,
}

/// What the first signature covers: the document without its signatures (MAN-05).
pub(crate) fn payload(bytes: &[u8]) -> Option<Vec<u8>> {
    let signed: Signed = serde_json::from_slice(bytes).ok()?;
    signed.signatures.first()?.payload(bytes)
}

/// Whether each signature verifies, and nothing of the document is outside of what they cover.
///
/// # Errors
/// See [`BadSignature`].
pub fn verify(bytes: &[u8]) -> Result<(), BadSignature> {
    let signed: Signed = serde_json::from_slice(bytes).map_err(|_| BadSignature::Form)?;
    if signed.signatures.is_empty() || signed.signatures.len() > SIGNATURES_MAX {
        return Err(BadSignature::Count);
    }
    for signature in &signed.signatures {
        let payload = signature.payload(bytes).ok_or(BadSignature::Form)?;
        let rest = signature.cut(bytes).ok_or(BadSignature::Form)?;
        if !is_object(&payload) || !adds_signatures_only(rest) {
            return Err(BadSignature::Form);
        }
        signature.check(&payload)?;
    }
    Ok(())
}

fn is_object(payload: &[u8]) -> bool {
    // Another `signatures` inside the payload would be the one that readers see.
    #[derive(Deserialize)]
    struct Document {
        signatures: Option<serde::de::IgnoredAny>,
    }
    serde_json::from_slice::<Document>(payload).is_ok_and(|document| document.signatures.is_none())
}

/// What follows the cut is `,"signatures":[…]}` and no more: a member hidden there is not signed.
fn adds_signatures_only(rest: &[u8]) -> bool {
    let Some((b',', added)) = rest.trim_ascii_start().split_first().map(|(first, rest)| (*first, rest)) else {
        return false;
    };
    let mut object = b"{".to_vec();
    object.extend_from_slice(added);
    serde_json::from_slice::<Added>(&object).is_ok_and(|added| !added.signatures.is_empty())
}

impl Signature {
    fn protected(&self) -> Option<Protected> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&self.protected).ok()?).ok()
    }

    fn payload(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let protected = self.protected()?;
        let mut payload = bytes.get(..protected.format_length)?.to_vec();
        payload.extend(URL_SAFE_NO_PAD.decode(protected.format_tail).ok()?);
        Some(payload)
    }

    /// What of the document follows the cut.
    fn cut<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        bytes.get(self.protected()?.format_length..)
    }

    fn check(&self, payload: &[u8]) -> Result<(), BadSignature> {
        let jwk = self.header.jwk.as_ref().ok_or(BadSignature::Key)?;
        let signature = URL_SAFE_NO_PAD.decode(&self.signature).map_err(|_| BadSignature::Wrong)?;
        let message = covered(&self.protected, payload);
        let verified = match (self.header.alg.as_deref(), jwk.kty.as_str()) {
            (Some("ES256"), "EC") if jwk.crv == "P-256" => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, jwk.point()?).verify(message.as_bytes(), &signature)
            }
            (Some("RS256"), "RSA") => RsaPublicKeyComponents { n: number(&jwk.n)?, e: number(&jwk.e)? }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message.as_bytes(),
                &signature,
            ),
            _ => return Err(BadSignature::Key),
        };
        verified.map_err(|_| BadSignature::Wrong)
    }
}

impl Jwk {
    /// The curve's point, uncompressed.
    fn point(&self) -> Result<Vec<u8>, BadSignature> {
        let mut point = vec![4];
        for coordinate in [&self.x, &self.y] {
            let coordinate = number(coordinate)?;
            let padding = 32_usize.checked_sub(coordinate.len()).ok_or(BadSignature::Key)?;
            point.resize(point.len() + padding, 0);
            point.extend(coordinate);
        }
        Ok(point)
    }
}

/// A number without leading zeros. Beyond 8192 bits it is no key.
fn number(text: &str) -> Result<Vec<u8>, BadSignature> {
    let raw = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadSignature::Key)?;
    let start = raw.iter().position(|byte| *byte != 0).ok_or(BadSignature::Key)?;
    let number = raw.get(start..).unwrap_or_default();
    if number.len() > 1024 { Err(BadSignature::Key) } else { Ok(number.to_vec()) }
}

fn covered(protected: &str, payload: &[u8]) -> String {
    format!("{protected}.{}", URL_SAFE_NO_PAD.encode(payload))
}

/// Signs converted manifests. The key is made of a seed, so replicas with the same seed are one signer.
pub struct Signer {
    key: EcdsaKeyPair,
    jwk: Value,
}

impl Signer {
    /// A signer of a P-256 key; `None` only if the cryptography is broken.
    pub fn from_seed(seed: &[u8; 32]) -> Option<Self> {
        // One in 2^32 numbers is none of the curve's; the next one then is.
        let mut scalar = *seed;
        for _ in 0..8 {
            if let Some(signer) = Self::from_scalar(&scalar) {
                return Some(signer);
            }
            scalar = Sha256::digest(scalar).into();
        }
        None
    }

    fn from_scalar(scalar: &[u8; 32]) -> Option<Self> {
        let private = agreement::PrivateKey::from_private_key(&agreement::ECDH_P256, scalar).ok()?;
        let public = private.compute_public_key().ok()?;
        let key =
            EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P256_SHA256_FIXED_SIGNING, scalar, public.as_ref());
        let key = key.ok()?;
        let (x, y) = key.public_key().as_ref().get(1..)?.split_at_checked(32)?;
        let jwk = json!({
            "kty": "EC", "crv": "P-256", "kid": key_id(key.public_key().as_der().ok()?.as_ref()),
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        Some(Self { key, jwk })
    }

    /// Signs a document that ends with a line break and `}`; `None` if it does not.
    pub fn sign(&self, payload: &[u8], at: Timestamp) -> Option<Vec<u8>> {
        const TAIL: &[u8] = b"\n}";
        let head = payload.strip_suffix(TAIL)?;
        let protected = json!({
            "formatLength": head.len(), "formatTail": URL_SAFE_NO_PAD.encode(TAIL), "time": at.iso8601(),
        });
        let protected = URL_SAFE_NO_PAD.encode(protected.to_string());
        let signature = self.key.sign(&SystemRandom::new(), covered(&protected, payload).as_bytes()).ok()?;
        let signatures = json!([{
            "header": {"jwk": self.jwk, "alg": "ES256"},
            "signature": URL_SAFE_NO_PAD.encode(signature),
            "protected": protected,
        }]);
        let mut signed = head.to_vec();
        signed.extend(format!(",\n   \"signatures\": {signatures}\n}}").into_bytes());
        Some(signed)
    }
}

/// libtrust's name of a key: 240 bits of the hash of its DER form, in base 32, in groups of four.
fn key_id(der: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut id = String::new();
    for (number, five) in Sha256::digest(der)[..30].chunks(5).enumerate() {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let letters: String = (0..8).rev().map(|at| char::from(ALPHABET[(bits >> (5 * at)) as usize & 31])).collect();
        let (first, second) = letters.split_at(4);
        let colon = if number == 0 { "" } else { ":" };
        id.push_str(&format!("{colon}{first}:{second}"));
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: &str = "{\n   \"schemaVersion\": 1,\n   \"name\": \"a\"\n}";

    fn signed() -> String {
        let at = Timestamp::from_secs(1_600_000_000);
        String::from_utf8(Signer::from_seed(&[7; 32]).unwrap().sign(PAYLOAD.as_bytes(), at).unwrap()).unwrap()
    }

    /// MAN-19: what we sign verifies, and is the payload with its signature.
    #[test]
    fn a_signed_document_verifies() {
        let signed = signed();
        assert_eq!(verify(signed.as_bytes()), Ok(()));
        assert_eq!(payload(signed.as_bytes()).unwrap(), PAYLOAD.as_bytes());
        let value: Value = serde_json::from_str(&signed).unwrap();
        assert_eq!(value["signatures"][0]["header"]["jwk"], Signer::from_seed(&[7; 32]).unwrap().jwk);
        let kid = value["signatures"][0]["header"]["jwk"]["kid"].as_str().unwrap();
        assert_eq!((kid.len(), kid.matches(':').count()), (59, 11), "{kid}");
        // The number 0 is no key; the next one is.
        assert!(Signer::from_seed(&[0; 32]).is_some());
        assert!(Signer::from_seed(&[255; 32]).is_some());
        assert_eq!(Signer::from_seed(&[7; 32]).unwrap().sign(b"{}", Timestamp::from_secs(0)), None);
    }

    /// libtrust's keys may be RSA, too.
    #[test]
    fn rsa_keys_verify() {
        let key = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        // PKCS #1: two heads and a zero come before the 256 bytes of the modulus.
        let modulus = &key.public_key().as_ref()[9..265];
        let head = PAYLOAD.strip_suffix("\n}").unwrap();
        let protected = URL_SAFE_NO_PAD.encode(format!(r#"{{"formatLength":{},"formatTail":"Cn0"}}"#, head.len()));
        let mut signature = vec![0; key.public_modulus_len()];
        let message = covered(&protected, PAYLOAD.as_bytes());
        let padding = &aws_lc_rs::signature::RSA_PKCS1_SHA256;
        key.sign(padding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        let encode = |raw: &[u8]| URL_SAFE_NO_PAD.encode(raw);
        let signatures = json!([{"protected": protected, "signature": encode(&signature), "header":
            {"alg": "RS256", "jwk": {"kty": "RSA", "n": encode(modulus), "e": "AQAB"}}}]);
        let document = format!("{head},\"signatures\":{signatures}}}");
        assert_eq!(verify(document.as_bytes()), Ok(()));
        assert_eq!(verify(document.replace("RS256", "ES256").as_bytes()), Err(BadSignature::Key));
    }

    /// A forged or tampered document is none.
    #[test]
    fn forgeries_are_found() {
        let signed = signed();
        let other = String::from_utf8(
            Signer::from_seed(&[8; 32]).unwrap().sign(PAYLOAD.as_bytes(), Timestamp::from_secs(0)).unwrap(),
        )
        .unwrap();
        let part = |text: &str, member: &str| {
            serde_json::from_str::<Value>(text).unwrap()["signatures"][0][member].as_str().unwrap().to_owned()
        };
        let many = {
            let value: Value = serde_json::from_str(&signed).unwrap();
            let one = value["signatures"][0].clone();
            let head = PAYLOAD.strip_suffix("\n}").unwrap();
            format!("{head},\"signatures\":{}}}", json!(vec![one; SIGNATURES_MAX + 1]))
        };
        let cases = [
            ("changed", signed.replace("\"name\": \"a\"", "\"name\": \"b\""), BadSignature::Wrong),
            ("another's", signed.replace(&part(&signed, "signature"), &part(&other, "signature")), BadSignature::Wrong),
            ("empty", signed.replace(&part(&signed, "signature"), ""), BadSignature::Wrong),
            ("hidden", signed.replace(",\n   \"signatures\"", ",\"name\":\"b\",\"signatures\""), BadSignature::Form),
            ("longer", signed.replace(",\n   \"signatures\"", "  ,\"x\":1\n   ,\"signatures\""), BadSignature::Form),
            ("no key", signed.replace("\"jwk\"", "\"jwt\""), BadSignature::Key),
            ("no algorithm", signed.replace("ES256", "none"), BadSignature::Key),
            ("other curve", signed.replace("P-256", "P-384"), BadSignature::Key),
            ("none", format!("{},\"signatures\":[]}}", PAYLOAD.strip_suffix("\n}").unwrap()), BadSignature::Count),
            ("many", many, BadSignature::Count),
            ("no JSON", "{".into(), BadSignature::Form),
            ("no signatures", PAYLOAD.into(), BadSignature::Form),
        ];
        for (name, text, fault) in cases {
            assert_eq!(verify(text.as_bytes()), Err(fault), "{name}: {text}");
        }
    }
}
