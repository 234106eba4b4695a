//! Host names: what a request's host means, and what we call ourselves.

use crate::{AccountId, Region, Registry, RepositoryName};

/// How clients reach this installation (D10).
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// Host suffix such as `amazonaws.com`; without one everything is at `public_url`.
    pub suffix: Option<String>,
    /// Scheme, host and port that clients use, without a final slash.
    pub public_url: String,
}

/// What a host name says about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// `<account>.dkr.ecr.<region>.<suffix>`
    Registry(Registry),
    /// `api.ecr.<region>.<suffix>`, `ecr.<region>.<suffix>`, `sts.<region>.<suffix>` and the like.
    Service(Region),
    /// Any other: the default account and Region.
    Plain,
}

impl Endpoints {
    /// The registry's URL (REG-02, AUTH-10).
    pub fn registry_url(&self, registry: &Registry) -> String {
        match &self.suffix {
            Some(suffix) => format!("https://{}.dkr.ecr.{}.{suffix}", registry.account, registry.region),
            None => self.public_url.clone(),
        }
    }

    /// The repository's URI: host and name (REPO-04).
    pub fn repository_uri(&self, registry: &Registry, name: &RepositoryName) -> String {
        let url = self.registry_url(registry);
        let host = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
        format!("{host}/{name}")
    }
}

impl Host {
    /// The Region that the host names.
    pub fn region(self) -> Option<Region> {
        match self {
            Self::Registry(registry) => Some(registry.region),
            Self::Service(region) => Some(region),
            Self::Plain => None,
        }
    }

    /// Reads a `Host` header or `:authority`, port and letter case ignored.
    /// Any suffix is taken: DNS decided to point it here (OVW-06).
    pub fn parse(text: &str) -> Self {
        let name = text
            .rsplit_once(':')
            .map_or(text, |(name, port)| if port.bytes().all(|c| c.is_ascii_digit()) { name } else { text });
        let name = name.to_ascii_lowercase();
        let labels: Vec<&str> = name.split('.').collect();
        match labels[..] {
            [account, "dkr", "ecr", region, _, ..] => match (account.parse::<AccountId>(), region.parse()) {
                (Ok(account), Ok(region)) => Self::Registry(Registry { account, region }),
                _ => Self::Plain,
            },
            ["api", "ecr", region, _, ..] | ["ecr", region, _, ..] => region.parse().map_or(Self::Plain, Self::Service),
            // Without a Region, as in `sts.amazonaws.com` and `iam.amazonaws.com`, they are for all of them.
            ["sts" | "organizations", region, _, ..] if region.contains('-') => {
                region.parse().map_or(Self::Plain, Self::Service)
            }
            _ => Self::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OVW-06, D10.
    #[test]
    fn hosts() {
        let registry =
            Registry { account: AccountId::from_number(123_456_789_012), region: "us-east-1".parse().unwrap() };
        let cases = [
            ("123456789012.dkr.ecr.us-east-1.amazonaws.com", Host::Registry(registry.clone())),
            ("123456789012.dkr.ecr.us-east-1.example.internal:8443", Host::Registry(registry.clone())),
            ("123456789012.DKR.ecr.us-east-1.amazonaws.com", Host::Registry(registry.clone())),
            ("api.ecr.us-east-1.amazonaws.com", Host::Service(registry.region.clone())),
            ("ecr.us-east-1.amazonaws.com:443", Host::Service(registry.region.clone())),
            ("sts.us-east-1.amazonaws.com", Host::Service(registry.region.clone())),
            ("organizations.us-east-1.amazonaws.com", Host::Service(registry.region.clone())),
            ("sts.amazonaws.com", Host::Plain),
            ("iam.amazonaws.com", Host::Plain),
            ("12345678901.dkr.ecr.us-east-1.amazonaws.com", Host::Plain),
            ("localhost:5000", Host::Plain),
            ("[::1]:5000", Host::Plain),
            ("", Host::Plain),
        ];
        for (text, want) in cases {
            assert_eq!(Host::parse(text), want, "{text}");
        }
    }
}
