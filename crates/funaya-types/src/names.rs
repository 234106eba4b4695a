//! Names that users choose: repositories, image tags, media types, resource tags.

use std::{fmt, str::FromStr};

use crate::{AccountId, Digest};

/// Why a text is no name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Too short or too long.
    #[error("the name has {0} characters")]
    Length(usize),
    /// A character or sequence that the grammar does not allow.
    #[error("the name does not follow the grammar")]
    Grammar,
}

macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

/// A repository name that passed ECR's grammar.
///
/// 2 to 256 bytes. Parts joined by `/`; in a part, runs of `a-z0-9` joined by a
/// single `.` or `_`, by `__`, or by any number of `-`.
///
/// Source: ECR API reference, `CreateRepository`, `repositoryName` (REPO-02).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Box<str>);
text_type!(RepositoryName);

impl FromStr for RepositoryName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if !(2..=256).contains(&text.len()) {
            return Err(BadName::Length(text.len()));
        }
        if text.split('/').all(is_repository_part) { Ok(Self(text.into())) } else { Err(BadName::Grammar) }
    }
}

fn is_repository_part(part: &str) -> bool {
    let word = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = part.as_bytes();
    if !bytes.first().is_some_and(word) || !bytes.last().is_some_and(word) {
        return false;
    }
    part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|c| c == b'-'))
}

/// An image tag that a push may set.
///
/// 1 to 128 bytes: a letter, digit or `_`, then also `.` and `-`.
/// Source: OCI distribution specification, "Pulling manifests" (IMG-12).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageTag(Box<str>);
text_type!(ImageTag);

impl FromStr for ImageTag {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if !(1..=128).contains(&text.len()) {
            return Err(BadName::Length(text.len()));
        }
        let word = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        let mut bytes = text.bytes();
        if bytes.next().is_some_and(word) && bytes.all(|c| word(c) || c == b'.' || c == b'-') {
            Ok(Self(text.into()))
        } else {
            Err(BadName::Grammar)
        }
    }
}

/// The ARN of an IAM user or role.
///
/// `arn:aws:iam::111122223333:role/path/name`, at most 200 bytes. Source: ECR API reference, `principalArn` of
/// `RegisterPullTimeUpdateExclusion` (API-54).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrincipalArn(Box<str>);
text_type!(PrincipalArn);

impl FromStr for PrincipalArn {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if !(1..=200).contains(&text.len()) {
            return Err(BadName::Length(text.len()));
        }
        let is_partition = |name: &str| {
            let mut words = name.split('-');
            words.next() == Some("aws")
                && words.all(|word| !word.is_empty() && word.bytes().all(|c| c.is_ascii_lowercase()))
        };
        let is_name =
            |name: &str| !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"_+=,.@-".contains(&c));
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let valid = match parts.as_slice() {
            ["arn", partition, "iam", "", account, rest] => {
                let mut names = rest.split('/');
                is_partition(partition)
                    && account.parse::<AccountId>().is_ok()
                    && matches!(names.next(), Some("role" | "user"))
                    && rest.contains('/')
                    && names.all(is_name)
            }
            _ => false,
        };
        if valid { Ok(Self(text.into())) } else { Err(BadName::Grammar) }
    }
}

/// How a manifest is named in a request: by digest or by tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// `sha256:…`
    Digest(Digest),
    /// `latest`
    Tag(ImageTag),
}

/// A media type as sent by clients: 1 to 255 visible ASCII characters, no parameters.
///
/// Source: RFC 6838, section 4.2.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaType(Box<str>);
text_type!(MediaType);

impl FromStr for MediaType {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        if !(1..=255).contains(&text.len()) {
            return Err(BadName::Length(text.len()));
        }
        let valid = text.bytes().all(|c| c.is_ascii_graphic() && !b"\",;()<>@:\\[]?=".contains(&c));
        if valid { Ok(Self(text.into())) } else { Err(BadName::Grammar) }
    }
}

/// A key-value label on a repository (04-repository-tags). Not an image tag.
///
/// Key 1 to 128, value 0 to 256 characters: letters, numbers, spaces and
/// `+ - = . _ : / @`; neither begins with `aws:` (TAG-22, 23, 25).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceTag {
    key: Box<str>,
    value: Box<str>,
}

impl ResourceTag {
    /// Checks both halves.
    pub fn new(key: &str, value: &str) -> Result<Self, BadName> {
        check_tag_half(key, 1, 128)?;
        check_tag_half(value, 0, 256)?;
        Ok(Self { key: key.into(), value: value.into() })
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value; may be empty.
    pub fn value(&self) -> &str {
        &self.value
    }
}

fn check_tag_half(text: &str, min: usize, max: usize) -> Result<(), BadName> {
    let length = text.chars().count();
    if !(min..=max).contains(&length) {
        return Err(BadName::Length(length));
    }
    let valid = |c: char| c.is_alphanumeric() || c == ' ' || "+-=._:/@".contains(c);
    if text.chars().all(valid) && !text.starts_with("aws:") { Ok(()) } else { Err(BadName::Grammar) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// REPO-01, REPO-02, API-82.
    #[test]
    fn repository_names() {
        for good in ["ab", "a1", "team-a/web-app", "a.b_c", "a__b", "a---b", "0/1", &"a".repeat(256)] {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
        }
        let long = "a".repeat(257);
        for bad in
            ["", "a", "A1", "a/", "/a", "a//b", "-a", "a-", "a..b", "a___b", "a._b", "ä1", "a b", "../x", "a/.", &long]
        {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
        }
    }

    /// IMG-12.
    #[test]
    fn image_tags() {
        for good in ["latest", "_x", "1.0-rc_2", &"t".repeat(128)] {
            assert!(good.parse::<ImageTag>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "git hash", "a/b", "a:b", &"t".repeat(129)] {
            assert!(bad.parse::<ImageTag>().is_err(), "{bad}");
        }
    }

    /// TAG-04, TAG-22, TAG-23, TAG-25.
    #[test]
    fn resource_tags() {
        assert!(ResourceTag::new("team", "").is_ok());
        assert!(ResourceTag::new("Größe + -=._:/@", "9 m²").is_ok());
        let (key, value) = ("k".repeat(129), "v".repeat(257));
        for (k, v) in
            [("", "v"), ("aws:x", "v"), ("k", "aws:x"), ("a*b", "v"), (key.as_str(), "v"), ("k", value.as_str())]
        {
            assert!(ResourceTag::new(k, v).is_err(), "{k}={v}");
        }
    }
}
