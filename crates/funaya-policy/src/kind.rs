//! What a document is for, and what that asks of it.

use serde::{Deserialize, Serialize};

use crate::decide::PolicyType;

/// What a document is for. It decides which elements are required or forbidden, and how large it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Managed or inline, of a user, group or role (IAM-20). `Resource` required, no `Principal`.
    Identity,
    /// A permissions boundary (IAM-22). As `Identity`.
    Boundary,
    /// A session policy (IAM-24). As `Identity`.
    Session,
    /// A service control policy (IAM-23). As `Identity`.
    ServiceControl,
    /// On a repository: `Principal` required; without `Resource` the repository is meant (POL-08).
    Repository,
    /// On a registry: `Principal` and `Resource` required.
    Registry,
    /// A role's trust policy: `Principal` required, `Resource` forbidden, only `sts:` actions.
    Trust,
    /// On a KMS key: `Principal` and `Resource` required (KMS-33).
    Key,
    /// Of a VPC endpoint: `Principal` and `Resource` required (NET-50).
    Endpoint,
}

/// Whether an element must or must not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Required,
    Optional,
    Forbidden,
}

impl Kind {
    /// Where in a decision a document of this kind has a say.
    pub fn policy_type(self) -> PolicyType {
        match self {
            Self::Identity => PolicyType::Identity,
            Self::Boundary => PolicyType::Boundary,
            Self::Session => PolicyType::Session,
            Self::ServiceControl => PolicyType::ServiceControl,
            Self::Repository | Self::Registry => PolicyType::Resource,
            Self::Trust => PolicyType::Trust,
            Self::Key => PolicyType::Key,
            Self::Endpoint => PolicyType::Endpoint,
        }
    }

    /// The most characters a document of this kind may have: those of a managed policy for `Identity` and `Boundary`
    /// (COMP-905). An inline policy has the limit of its user, group or role, given to `Document::parse_within`.
    pub fn size_max(self) -> usize {
        match self {
            Self::Identity | Self::Boundary => 6_144,
            Self::Session | Self::Trust => 2_048,
            Self::ServiceControl => 5_120,
            Self::Repository | Self::Registry => 10_240,
            Self::Key => 32_768,
            Self::Endpoint => 20_480,
        }
    }

    /// The characters of a document that count against its limit: IAM and Organizations leave out white space.
    pub fn size_of(self, text: &str) -> usize {
        match self {
            Self::Repository | Self::Registry | Self::Key | Self::Endpoint => text.chars().count(),
            Self::Identity | Self::Boundary | Self::Session | Self::ServiceControl | Self::Trust => {
                text.chars().filter(|c| !c.is_whitespace()).count()
            }
        }
    }

    pub(crate) fn principal(self) -> Need {
        match self {
            Self::Identity | Self::Boundary | Self::Session | Self::ServiceControl => Need::Forbidden,
            Self::Repository | Self::Registry | Self::Trust | Self::Key | Self::Endpoint => Need::Required,
        }
    }

    pub(crate) fn resource(self) -> Need {
        match self {
            Self::Trust => Need::Forbidden,
            Self::Repository => Need::Optional,
            Self::Identity
            | Self::Boundary
            | Self::Session
            | Self::ServiceControl
            | Self::Registry
            | Self::Key
            | Self::Endpoint => Need::Required,
        }
    }

    /// Whether IAM checks the document, which looks closer at ARNs than the services do.
    pub(crate) fn is_strict(self) -> bool {
        self.principal() == Need::Forbidden
    }

    /// Whether two statements may share a `Sid`.
    pub(crate) fn repeats_sids(self) -> bool {
        !(self.is_strict() || self == Self::Trust)
    }
}
