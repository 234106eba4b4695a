//! Assertions of SAML 2.0 providers (COMP-096).
//!
//! What is read is only what is signed: the document holds one assertion, every signature in it is right by the
//! certificates of the provider's metadata, and one of them covers the assertion or the response around it. So an
//! element that was moved or added (signature wrapping) is either noticed or not looked at.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bergshamra_dsig::{DsigContext, VerifyResult, verify::verify_all_document_with_source};
use bergshamra_keys::{KeysManager, loader::load_x509_cert_der};
use bergshamra_xml::{
    Document, NodeId,
    uppsala::{self, NodeKind},
};
use funaya_types::Timestamp;

use crate::{SessionError, SessionResult, Tag};

const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
const PROTOCOL: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
const METADATA: &str = "urn:oasis:names:tc:SAML:2.0:metadata";
const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
const SUCCESS: &str = "urn:oasis:names:tc:SAML:2.0:status:Success";
/// Who an assertion is for, as AWS calls itself.
const AUDIENCES: [&str; 2] = ["urn:amazon:webservices", "https://signin.aws.amazon.com/saml"];
const RECIPIENT: &str = "https://signin.aws.amazon.com/saml";
const ROLE: &str = "https://aws.amazon.com/SAML/Attributes/Role";
const SESSION_NAME: &str = "https://aws.amazon.com/SAML/Attributes/RoleSessionName";
const DURATION: &str = "https://aws.amazon.com/SAML/Attributes/SessionDuration";
const SOURCE_IDENTITY: &str = "https://aws.amazon.com/SAML/Attributes/SourceIdentity";
const PRINCIPAL_TAG: &str = "https://aws.amazon.com/SAML/Attributes/PrincipalTag:";
const TRANSITIVE: &str = "https://aws.amazon.com/SAML/Attributes/TransitiveTagKeys";
/// How a signature may prepare what it covers: nothing that computes or fetches.
const TRANSFORMS: [&str; 3] = [
    "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
    "http://www.w3.org/2001/10/xml-exc-c14n#",
    "http://www.w3.org/2001/10/xml-exc-c14n#WithComments",
];
/// Public keys only, and no SHA-1.
const METHODS: [&str; 6] = [
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384",
    "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384",
    "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
];
const DIGESTS: [&str; 3] = [
    "http://www.w3.org/2001/04/xmlenc#sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512",
];
/// How far clocks may be apart.
const LEEWAY: std::time::Duration = std::time::Duration::from_secs(60);
const DEPTH_MAX: usize = 64;
/// Signatures of one document: of the assertion, and of the response around it.
const SIGNATURES_MAX: usize = 2;
const TAGS_MAX: usize = 50;

/// What is known of a provider's metadata.
pub(crate) struct Metadata {
    pub(crate) entity_id: String,
    pub(crate) valid_until: Option<Timestamp>,
    certificates: Vec<Vec<u8>>,
}

/// What an assertion says, once it is believed.
#[derive(Clone, Debug)]
pub(crate) struct Assertion {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    /// `persistent`, `transient`, or the whole name of the format.
    pub(crate) subject_type: String,
    pub(crate) recipient: String,
    /// Pairs of ARNs.
    pub(crate) roles: Vec<String>,
    pub(crate) session_name: String,
    pub(crate) duration_s: Option<u32>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) transitive: Vec<String>,
    pub(crate) source_identity: Option<String>,
}

/// Reads a provider's metadata.
pub(crate) fn metadata(text: &str) -> Result<Metadata, &'static str> {
    const BAD: &str = "Could not parse metadata";
    let document = parse(text).ok_or(BAD)?;
    let root = document.document_element().ok_or(BAD)?;
    let entity =
        document.element(root).filter(|element| element.matches_name_ns(METADATA, "EntityDescriptor")).ok_or(BAD)?;
    let entity_id = entity.get_attribute("entityID").ok_or(BAD)?.to_owned();
    let valid_until =
        entity.get_attribute("validUntil").map(|text| Timestamp::parse_iso8601(text).ok_or(BAD)).transpose()?;
    let mut certificates = Vec::new();
    for provider in document.child_elements_by_name_ns(root, METADATA, "IDPSSODescriptor") {
        for key in document.child_elements_by_name_ns(provider, METADATA, "KeyDescriptor") {
            if document.get_attribute(key, "use") == Some("encryption") {
                continue;
            }
            for found in below(&document, key, DSIG, "X509Certificate") {
                let letters: String = document.text_content_deep(found).split_whitespace().collect();
                certificates.push(STANDARD.decode(letters).map_err(|_| BAD)?);
            }
        }
    }
    if certificates.is_empty() || certificates.iter().any(|certificate| load_x509_cert_der(certificate).is_err()) {
        return Err("Metadata holds no usable certificate for signing");
    }
    Ok(Metadata { entity_id, valid_until, certificates })
}

fn invalid(text: &str) -> SessionError {
    SessionError::InvalidToken(text.to_owned())
}

fn rejected(text: &str) -> SessionError {
    SessionError::Rejected(text.to_owned())
}

/// Reads an assertion in base64, or a response around one.
pub(crate) fn assertion(sent: &str, metadata: &Metadata, now: Timestamp) -> SessionResult<Assertion> {
    let bad = || invalid("The SAML assertion is not valid XML");
    let letters: String = sent.split_whitespace().collect();
    let text = STANDARD.decode(letters).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad)?;
    let document = parse(&text).ok_or_else(bad)?;
    let node = signed(&document, &text, metadata)?;
    Reader { document: &document, node }.read(metadata, now)
}

/// Documents with types of their own are not taken: they can name files and grow.
fn parse(text: &str) -> Option<Document<'_>> {
    let plain = !text.contains("<!DOCTYPE") && !text.contains("<!ENTITY");
    let document = plain.then(|| uppsala::parse(text).ok()).flatten()?;
    let deep = document.descendants(document.root()).into_iter().any(|node| document.ancestors(node).len() > DEPTH_MAX);
    (!deep).then_some(document)
}

fn below(document: &Document<'_>, node: NodeId, namespace: &str, name: &str) -> Vec<NodeId> {
    let matches =
        |node: &NodeId| document.element(*node).is_some_and(|element| element.matches_name_ns(namespace, name));
    document.descendants(node).into_iter().filter(matches).collect()
}

/// The one assertion, if a right signature covers it.
fn signed(document: &Document<'_>, text: &str, metadata: &Metadata) -> SessionResult<NodeId> {
    let unusable = || invalid("The SAML response must hold one assertion that is not encrypted");
    let root = document.document_element().ok_or_else(unusable)?;
    let all = below(document, document.root(), ASSERTION, "Assertion");
    let [node] = all[..] else { return Err(unusable()) };
    let is_response = document.element(root).is_some_and(|element| element.matches_name_ns(PROTOCOL, "Response"));
    let placed = node == root || (is_response && document.parent(node) == Some(root));
    if !placed {
        return Err(unusable());
    }
    check_shape(document)?;
    let mut keys = KeysManager::new();
    for certificate in &metadata.certificates {
        // They were readable when the metadata was set.
        keys.add_key(load_x509_cert_der(certificate).map_err(|_| invalid("The provider's certificate can't be used"))?);
    }
    // Keys that a signature brings along are of no account.
    let context = DsigContext::new(keys).with_trusted_keys_only(true).with_strict_verification(true);
    let wrong = || invalid("The signature of the SAML assertion is not valid");
    let results = verify_all_document_with_source(&context, document, Some(text));
    let results = results.map_err(|error| unread(&error, wrong()))?;
    let mut covered = false;
    for result in results {
        let (signature_node, references) = match result {
            VerifyResult::Valid { signature_node, references, .. } => (signature_node, references),
            VerifyResult::Invalid { reason } => return Err(unread(&reason, wrong())),
        };
        let [reference] = &references[..] else { return Err(wrong()) };
        let target = reference.resolved_node.filter(|_| reference.digest_verified).ok_or_else(wrong)?;
        // A signature stands in what it covers, and that is the assertion or the response.
        if document.parent(signature_node) != Some(target) || (target != node && target != root) {
            return Err(wrong());
        }
        covered = true;
    }
    if covered { Ok(node) } else { Err(wrong()) }
}

/// Why is for operators who ask for it; the caller learns that it is wrong.
fn unread(reason: &dyn std::fmt::Display, error: SessionError) -> SessionError {
    tracing::debug!(%reason, "a SAML signature was refused");
    error
}

/// Signatures that are of the plain kind: of one element of this document, by public key, without further steps.
fn check_shape(document: &Document<'_>) -> SessionResult<()> {
    let odd = || invalid("The signature of the SAML assertion is of a kind that is not supported");
    let uses = |name: &str, attribute: &str, allowed: &dyn Fn(&str) -> bool| {
        let nodes = below(document, document.root(), DSIG, name);
        nodes.iter().all(|node| document.get_attribute(*node, attribute).is_some_and(allowed))
    };
    let listed = |list: &'static [&'static str]| move |value: &str| list.contains(&value);
    let plain = uses("Reference", "URI", &|uri| uri.len() > 1 && uri.starts_with('#') && !uri.contains('('))
        && uses("Transform", "Algorithm", &listed(&TRANSFORMS))
        && uses("CanonicalizationMethod", "Algorithm", &listed(&TRANSFORMS[1..]))
        && uses("SignatureMethod", "Algorithm", &listed(&METHODS))
        && uses("DigestMethod", "Algorithm", &listed(&DIGESTS));
    let count = |name: &str| below(document, document.root(), DSIG, name).len();
    let bare = ["Object", "Manifest", "RetrievalMethod", "XPath"].into_iter().all(|name| count(name) == 0);
    // Each of them costs a walk through the document, before anything is known of the sender.
    let few = count("Signature") <= SIGNATURES_MAX
        && count("Reference") <= SIGNATURES_MAX
        && count("Transform") <= 2 * SIGNATURES_MAX;
    if plain && bare && few { Ok(()) } else { Err(odd()) }
}

/// Reads the signed element, and nothing beside it.
struct Reader<'d> {
    document: &'d Document<'d>,
    node: NodeId,
}

impl Reader<'_> {
    fn child(&self, node: NodeId, name: &str) -> Option<NodeId> {
        self.document.first_child_element_by_name_ns(node, ASSERTION, name)
    }

    fn children(&self, node: NodeId, name: &str) -> Vec<NodeId> {
        self.document.child_elements_by_name_ns(node, ASSERTION, name)
    }

    /// With the text on both sides of a comment, as canonical XML has it.
    fn text(&self, node: NodeId) -> String {
        let is_element = |child: &NodeId| matches!(self.document.node_kind(*child), Some(NodeKind::Element(_)));
        match self.document.children(node).iter().any(is_element) {
            true => String::new(),
            false => self.document.text_content_deep(node).trim().to_owned(),
        }
    }

    fn time(&self, node: NodeId, name: &str) -> SessionResult<Option<Timestamp>> {
        let read = |text: &str| {
            Timestamp::parse_iso8601(text).ok_or_else(|| invalid("A time of the SAML assertion can't be read"))
        };
        self.document.get_attribute(node, name).map(read).transpose()
    }

    fn check_times(&self, node: NodeId, now: Timestamp) -> SessionResult<()> {
        if self.time(node, "NotOnOrAfter")?.is_some_and(|end| end.plus(LEEWAY) <= now) {
            return Err(SessionError::Expired("Token must be redeemed within 5 minutes of issuance".into()));
        }
        match self.time(node, "NotBefore")?.is_some_and(|start| start > now.plus(LEEWAY)) {
            true => Err(invalid("The SAML assertion is not valid yet")),
            false => Ok(()),
        }
    }

    fn read(&self, metadata: &Metadata, now: Timestamp) -> SessionResult<Assertion> {
        self.check_status()?;
        if metadata.valid_until.is_some_and(|end| end <= now) {
            return Err(invalid("The metadata of the SAML provider has expired"));
        }
        let issuer = self.child(self.node, "Issuer").map(|node| self.text(node)).unwrap_or_default();
        if issuer != metadata.entity_id {
            return Err(invalid("Issuer not present in specified provider"));
        }
        self.check_conditions(now)?;
        let (subject, subject_type, recipient) = self.subject(now)?;
        let session_name =
            self.one(SESSION_NAME).ok_or_else(|| rejected("RoleSessionName is required in AuthnResponse"))?;
        let fits = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if !(2..=64).contains(&session_name.len()) || !session_name.chars().all(fits) {
            return Err(rejected("RoleSessionName in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64}"));
        }
        let duration = self.one(DURATION).map(|text| text.parse().ok().filter(|s| (900..=43_200).contains(s)));
        let duration_s = match duration {
            Some(None) => return Err(rejected("SessionDuration in AuthnResponse must be from 900 to 43200")),
            Some(duration) => duration,
            None => None,
        };
        let roles = self.attribute(ROLE);
        let (transitive, source_identity) = (self.attribute(TRANSITIVE), self.one(SOURCE_IDENTITY));
        let tags = self.tags()?;
        Ok(Assertion {
            issuer,
            subject,
            subject_type,
            recipient,
            roles,
            session_name,
            duration_s,
            tags,
            transitive,
            source_identity,
        })
    }

    /// A response says whether the sign-in went well.
    fn check_status(&self) -> SessionResult<()> {
        let codes = below(self.document, self.document.root(), PROTOCOL, "StatusCode");
        match codes.first().and_then(|code| self.document.get_attribute(*code, "Value")) {
            None | Some(SUCCESS) => Ok(()),
            Some(_) => Err(rejected("The SAML response tells of a sign-in that failed")),
        }
    }

    fn check_conditions(&self, now: Timestamp) -> SessionResult<()> {
        let conditions =
            self.child(self.node, "Conditions").ok_or_else(|| invalid("The SAML assertion has no conditions"))?;
        self.check_times(conditions, now)?;
        let restrictions = self.children(conditions, "AudienceRestriction");
        let ours = |restriction: &NodeId| {
            self.children(*restriction, "Audience").iter().any(|node| AUDIENCES.contains(&self.text(*node).as_str()))
        };
        match !restrictions.is_empty() && restrictions.iter().all(ours) {
            true => Ok(()),
            false => Err(rejected("The SAML assertion is for another audience")),
        }
    }

    fn subject(&self, now: Timestamp) -> SessionResult<(String, String, String)> {
        let missing = || invalid("The SAML assertion has no subject that is confirmed for this recipient");
        let subject = self.child(self.node, "Subject").ok_or_else(missing)?;
        let name = self.child(subject, "NameID").ok_or_else(missing)?;
        let format = self.document.get_attribute(name, "Format").unwrap_or_default();
        let short = format.strip_prefix("urn:oasis:names:tc:SAML:2.0:nameid-format:").unwrap_or(format);
        let mut failed = missing();
        for confirmation in self.children(subject, "SubjectConfirmation") {
            let data = self.child(confirmation, "SubjectConfirmationData");
            let bearer = self.document.get_attribute(confirmation, "Method") == Some(BEARER);
            let Some(data) = data.filter(|_| bearer) else { continue };
            if self.document.get_attribute(data, "Recipient") != Some(RECIPIENT)
                || self.time(data, "NotOnOrAfter")?.is_none()
            {
                continue;
            }
            match self.check_times(data, now) {
                Ok(()) => return Ok((self.text(name), short.to_owned(), RECIPIENT.to_owned())),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The values of an attribute.
    fn attribute(&self, name: &str) -> Vec<String> {
        self.attributes().filter(|(known, _)| known == name).flat_map(|(_, values)| values).collect()
    }

    fn one(&self, name: &str) -> Option<String> {
        let mut values = self.attribute(name).into_iter();
        values.next().filter(|value| !value.is_empty() && values.next().is_none())
    }

    fn attributes(&self) -> impl Iterator<Item = (String, Vec<String>)> {
        let statements = self.children(self.node, "AttributeStatement");
        let all = statements.into_iter().flat_map(|statement| self.children(statement, "Attribute"));
        all.map(|attribute| {
            let name = self.document.get_attribute(attribute, "Name").unwrap_or_default().to_owned();
            let values = self.children(attribute, "AttributeValue");
            (name, values.into_iter().map(|value| self.text(value)).collect())
        })
    }

    fn tags(&self) -> SessionResult<Vec<Tag>> {
        let bad = || rejected("The session tags of the SAML assertion are not valid");
        let mut tags: Vec<Tag> = Vec::new();
        for (name, values) in self.attributes() {
            let Some(key) = name.strip_prefix(PRINCIPAL_TAG) else { continue };
            let [value] = values.try_into().map_err(|_| bad())?;
            let again = tags.iter().any(|(known, _)| known.eq_ignore_ascii_case(key));
            if key.is_empty() || key.len() > 128 || value.len() > 256 || again || tags.len() >= TAGS_MAX {
                return Err(bad());
            }
            tags.push((key.to_owned(), value));
        }
        Ok(tags)
    }
}
