//! Whether the tags of a repository may move (IMG-80 to IMG-85).

use crate::{ImageTag, Wildcard};

/// Whether the tags of a repository may move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutability {
    /// Tags move.
    Mutable,
    /// Tags stay.
    Immutable,
    /// Tags stay, but those that one of the filters fits move.
    ImmutableExcept(Vec<Wildcard>),
    /// Tags move, but those that one of the filters fits stay.
    MutableExcept(Vec<Wildcard>),
}

impl Mutability {
    /// Whether this tag may move once it is set.
    pub fn lets_move(&self, tag: &ImageTag) -> bool {
        let fits = |filters: &[Wildcard]| filters.iter().any(|filter| filter.matches(tag.as_str()));
        match self {
            Self::Mutable => true,
            Self::Immutable => false,
            Self::ImmutableExcept(filters) => fits(filters),
            Self::MutableExcept(filters) => !fits(filters),
        }
    }

    /// ECR's word for it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Mutable => "MUTABLE",
            Self::Immutable => "IMMUTABLE",
            Self::ImmutableExcept(_) => "IMMUTABLE_WITH_EXCLUSION",
            Self::MutableExcept(_) => "MUTABLE_WITH_EXCLUSION",
        }
    }

    /// The filters; empty where there are none.
    pub fn filters(&self) -> &[Wildcard] {
        match self {
            Self::Mutable | Self::Immutable => &[],
            Self::ImmutableExcept(filters) | Self::MutableExcept(filters) => filters,
        }
    }

    /// Of ECR's word and filters; `None` if they don't go together.
    pub fn new(word: &str, filters: Vec<Wildcard>) -> Option<Self> {
        match (word, filters.is_empty()) {
            ("MUTABLE", true) => Some(Self::Mutable),
            ("IMMUTABLE", true) => Some(Self::Immutable),
            ("IMMUTABLE_WITH_EXCLUSION", false) => Some(Self::ImmutableExcept(filters)),
            ("MUTABLE_WITH_EXCLUSION", false) => Some(Self::MutableExcept(filters)),
            _ => None,
        }
    }
}
