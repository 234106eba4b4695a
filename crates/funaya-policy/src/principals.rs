//! The `Principal` and `NotPrincipal` elements of resource-based policies (POL-11, POL-15).

use funaya_types::AccountId;

use crate::{Malformed, Principal, json::Value};

/// How firmly a statement names a caller. The order is that of IAM-30, step 6: each one lets pass all that the ones
/// before it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grip {
    /// By the account: hands the decision to the account's own policies.
    Account,
    /// By `*`.
    Everyone,
    /// By the role of a session, or the user of a federated session.
    Issuer,
    /// By its own ARN, id or name.
    Own,
}

/// The element, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Principals {
    pub(crate) negated: bool,
    pub(crate) entries: Box<[Entry]>,
}

/// One principal that a policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Everyone,
    Account(AccountId),
    /// An IAM user or role.
    Identity {
        arn: Box<str>,
        bound: Bound,
    },
    /// A role session or federated-user session.
    Session(Box<str>),
    /// A unique id of a user or role.
    Id(Box<str>),
    Service(Box<str>),
    Federated(Box<str>),
    /// Names no principal of this product.
    CanonicalUser,
}

/// What an ARN stands for (POL-15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Whoever has the ARN now; the document was never bound.
    Free,
    /// Only the user or role with this id.
    To(Box<str>),
    /// Nobody: the user or role was not there when the document was bound.
    Nobody,
}

impl Principals {
    /// How firmly the caller is named, if at all. `everyone`: whether `*` counts for a caller of no account.
    pub(crate) fn grip(&self, caller: &Principal, everyone: bool) -> Option<Grip> {
        if self.negated {
            return (!self.lists_wholly(caller)).then_some(Grip::Everyone);
        }
        self.entries.iter().filter_map(|entry| entry.grip(caller, everyone)).max()
    }

    /// Whether `NotPrincipal` spares the caller. Every identity that the request has must be listed: the account,
    /// the user or role, and the session, as the IAM user guide asks for under "NotPrincipal".
    fn lists_wholly(&self, caller: &Principal) -> bool {
        let lists = |wanted: Grip| self.entries.iter().any(|entry| entry.grip(caller, true) == Some(wanted));
        if lists(Grip::Everyone) {
            return true;
        }
        let account = caller.account().is_none() || lists(Grip::Account);
        let issuer = caller.session_arn().is_none() || caller.identity().is_none() || lists(Grip::Issuer);
        let own = matches!(caller, Principal::Root { .. }) || lists(Grip::Own);
        account && issuer && own
    }
}

impl Entry {
    fn grip(&self, caller: &Principal, everyone: bool) -> Option<Grip> {
        match self {
            Self::Everyone => {
                let known = caller.account().is_some() || matches!(caller, Principal::Service { .. });
                (known || everyone).then_some(Grip::Everyone)
            }
            Self::Account(account) => (caller.account() == Some(*account)).then_some(Grip::Account),
            Self::Identity { arn, bound } => {
                let (own_arn, own_id) = caller.identity()?;
                let same = match bound {
                    Bound::Free => **arn == *own_arn,
                    Bound::To(id) => **id == *own_id,
                    Bound::Nobody => false,
                };
                same.then(|| by_identity(caller))
            }
            Self::Id(id) => caller.identity().filter(|(_, own)| **id == **own).map(|_| by_identity(caller)),
            Self::Session(arn) => (caller.session_arn() == Some(arn)).then_some(Grip::Own),
            Self::Service(name) => {
                matches!(caller, Principal::Service { name: own } if own == name).then_some(Grip::Own)
            }
            Self::Federated(provider) => match caller {
                Principal::WebIdentity { provider: own } | Principal::Saml { provider_arn: own } => {
                    (own == provider).then_some(Grip::Own)
                }
                _ => None,
            },
            Self::CanonicalUser => None,
        }
    }

    /// `{"<kind>": "<text>"}` of a policy.
    pub(crate) fn parse(kind: &str, text: &str) -> Result<Self, Malformed> {
        let entry = match kind {
            "AWS" => parse_aws(text),
            "Service" => is_service(text).then(|| Self::Service(text.into())),
            "Federated" => is_federated(text).then(|| Self::Federated(text.into())),
            "CanonicalUser" => {
                let hex = text.len() == 64 && text.bytes().all(|c| c.is_ascii_hexdigit());
                hex.then_some(Self::CanonicalUser)
            }
            _ => return Err(Malformed::syntax(format!("`{kind}` is no kind of principal"))),
        };
        entry.ok_or_else(|| invalid(kind, text))
    }
}

fn by_identity(caller: &Principal) -> Grip {
    if caller.session_arn().is_some() { Grip::Issuer } else { Grip::Own }
}

/// Reads the element's value.
pub(crate) fn parse(value: &Value, negated: bool) -> Result<Principals, Malformed> {
    let entries = match value {
        Value::Text(text) if text == "*" => vec![Entry::Everyone],
        Value::Text(text) => {
            return Err(Malformed::syntax(format!("the principal `{text}` needs a kind, such as AWS")));
        }
        Value::Object(members) => {
            let mut entries = Vec::new();
            for (kind, value) in members {
                let texts =
                    value.texts().ok_or_else(|| Malformed::syntax(format!("principals of `{kind}` are strings")))?;
                for text in texts {
                    entries.push(Entry::parse(kind, text)?);
                }
            }
            entries
        }
        _ => return Err(Malformed::syntax("a principal is `*` or an object")),
    };
    if entries.is_empty() {
        return Err(Malformed::syntax("no principal is named"));
    }
    Ok(Principals { negated, entries: entries.into() })
}

fn invalid(kind: &str, text: &str) -> Malformed {
    let kind = kind.to_ascii_uppercase();
    Malformed::new(
        format!("Invalid principal in policy: \"{kind}\":\"{text}\""),
        format!("`{text}` names no principal; wildcards other than a lone `*` are not allowed"),
    )
}

fn parse_aws(text: &str) -> Option<Entry> {
    if text == "*" {
        return Some(Entry::Everyone);
    }
    if let Ok(account) = text.parse() {
        return Some(Entry::Account(account));
    }
    if is_unique_id(text) {
        return Some(Entry::Id(text.into()));
    }
    let (service, account, resource) = split_arn(text)?;
    let account: AccountId = account.parse().ok()?;
    match (service, resource.split_once('/')) {
        ("iam", None) if resource == "root" => Some(Entry::Account(account)),
        ("iam", Some(("user" | "role", path))) if is_path(path) => {
            Some(Entry::Identity { arn: text.into(), bound: Bound::Free })
        }
        ("sts", Some(("assumed-role", path))) if is_path(path) && path.split('/').count() == 2 => {
            Some(Entry::Session(text.into()))
        }
        ("sts", Some(("federated-user", name))) if is_path(name) && !name.contains('/') => {
            Some(Entry::Session(text.into()))
        }
        _ => None,
    }
}

/// Service, account and resource of an ARN without Region.
fn split_arn(text: &str) -> Option<(&str, &str, &str)> {
    let mut fields = text.splitn(6, ':');
    let arn = fields.next()? == "arn";
    let partition = is_partition(fields.next()?);
    let service = fields.next()?;
    let no_region = fields.next()?.is_empty();
    let (account, resource) = (fields.next()?, fields.next()?);
    (arn && partition && no_region).then_some((service, account, resource))
}

/// `aws`, `aws-cn`, `aws-us-gov`, …
pub(crate) fn is_partition(text: &str) -> bool {
    matches!(text, "aws" | "aws-cn" | "aws-us-gov" | "aws-iso" | "aws-iso-b" | "aws-iso-e" | "aws-iso-f" | "aws-eusc")
}

/// Names joined by `/`, without wildcards: paths may hold any visible ASCII, names `A-Za-z0-9+=,.@_-`.
fn is_path(text: &str) -> bool {
    let (path, name) = text.rsplit_once('/').unwrap_or(("", text));
    let in_name = |c: u8| c.is_ascii_alphanumeric() || b"+=,.@_-".contains(&c);
    let in_path = |c: u8| c.is_ascii_graphic() && !b"*?".contains(&c);
    !name.is_empty() && name.bytes().all(in_name) && path.bytes().all(in_path)
}

fn is_unique_id(text: &str) -> bool {
    let known = text.starts_with("AIDA") || text.starts_with("AROA");
    known && (16..=128).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

fn is_service(text: &str) -> bool {
    is_host(text)
}

fn is_federated(text: &str) -> bool {
    match split_arn(text) {
        Some(("iam", account, resource)) => {
            let known = resource.strip_prefix("saml-provider/").or_else(|| resource.strip_prefix("oidc-provider/"));
            account.parse::<AccountId>().is_ok()
                && known.is_some_and(|name| !name.is_empty() && !name.contains(['*', '?']))
        }
        Some(_) => false,
        None => is_host(text),
    }
}

fn is_host(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    text.contains('.') && text.split('.').all(part)
}
