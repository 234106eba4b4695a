//! Accounts, Regions, and the registry that each pair of them has.

use std::{fmt, str::FromStr};

use crate::RepositoryName;

/// Twelve digits; the registry id is the account id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId([u8; 12]);

/// Not twelve digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an account id is 12 digits")]
pub struct BadAccountId;

impl AccountId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The account with this number, modulo 10^12.
    pub fn from_number(number: u64) -> Self {
        let mut digits = [b'0'; 12];
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        Self(digits)
    }
}

impl FromStr for AccountId {
    type Err = BadAccountId;

    fn from_str(text: &str) -> Result<Self, BadAccountId> {
        let digits: [u8; 12] = text.as_bytes().try_into().map_err(|_| BadAccountId)?;
        if digits.iter().all(u8::is_ascii_digit) { Ok(Self(digits)) } else { Err(BadAccountId) }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A Region name such as `us-east-1`: 2 to 32 of `a-z0-9-`, beginning with a letter.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Region(Box<str>);

/// Not a Region name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a Region name is 2 to 32 of a-z, 0-9 and hyphen, beginning with a letter")]
pub struct BadRegion;

impl Region {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = BadRegion;

    fn from_str(text: &str) -> Result<Self, BadRegion> {
        let valid = (2..=32).contains(&text.len())
            && text.as_bytes()[0].is_ascii_lowercase()
            && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        if valid { Ok(Self(text.into())) } else { Err(BadRegion) }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One account's registry in one Region (REG-01, REG-03).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Registry {
    /// Whose it is.
    pub account: AccountId,
    /// Where it is.
    pub region: Region,
}

impl Registry {
    /// The ARN of a repository here (REPO-04).
    pub fn repository_arn(&self, name: &RepositoryName) -> RepositoryArn {
        RepositoryArn { registry: self.clone(), name: name.clone() }
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.region)
    }
}

/// `arn:aws:ecr:<region>:<account>:repository/<name>` (REPO-04).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RepositoryArn {
    /// The registry that holds the repository.
    pub registry: Registry,
    /// The repository's name.
    pub name: RepositoryName,
}

impl FromStr for RepositoryArn {
    type Err = crate::BadName;

    fn from_str(text: &str) -> Result<Self, crate::BadName> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", "aws", "ecr", region, account, resource] = parts[..] else {
            return Err(crate::BadName::Grammar);
        };
        let name = resource.strip_prefix("repository/").ok_or(crate::BadName::Grammar)?;
        let registry = Registry {
            account: account.parse().map_err(|_| crate::BadName::Grammar)?,
            region: region.parse().map_err(|_| crate::BadName::Grammar)?,
        };
        Ok(Self { registry, name: name.parse()? })
    }
}

impl fmt::Display for RepositoryArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arn:aws:ecr:{}:{}:repository/{}", self.registry.region, self.registry.account, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_round_trip_and_bad_ones_are_refused() {
        let text = "arn:aws:ecr:us-east-1:123456789012:repository/team-a/web";
        assert_eq!(text.parse::<RepositoryArn>().unwrap().to_string(), text);
        for bad in [
            "",
            "arn:aws:ecr:us-east-1:123456789012:web",
            "arn:aws:s3:us-east-1:123456789012:repository/web",
            "arn:aws:ecr:us-east-1:12345678901:repository/web",
            "arn:aws:ecr::123456789012:repository/web",
        ] {
            assert!(bad.parse::<RepositoryArn>().is_err(), "{bad}");
        }
    }

    #[test]
    fn account_ids() {
        assert_eq!(AccountId::from_number(42).as_str(), "000000000042");
        assert!("12345678901x".parse::<AccountId>().is_err());
    }
}
