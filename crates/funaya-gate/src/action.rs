//! The actions that can be permitted, as types: a permit for one is no permit for another.

use funaya_types::RepositoryName;

use crate::permit::{Scope, Target};

/// An ECR action as IAM knows it.
pub trait Action: Send + Sync + 'static {
    /// What the action is on.
    type Target: Target;
    /// The operation.
    const OPERATION: Operation;
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident: $target:ty, $read_only:literal;)*) => {
        /// The operations of ECR that have an action here. Later operations of the API
        /// that are not built yet share [`Operation::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Operation {
            $($(#[$doc])* $name,)*
            /// A known operation that is not built: authorised under its own name.
            Other(&'static str),
        }

        impl Operation {
            /// The operation's name, which is also the event name of its audit records.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                    Self::Other(name) => name,
                }
            }

            /// Whether it only reads: such records are batched (D8) and carry no answer (TRAIL-13).
            pub const fn is_read_only(self) -> bool {
                match self {
                    $(Self::$name => $read_only,)*
                    Self::Other(_) => true,
                }
            }
        }

        $($(#[$doc])* #[derive(Debug)] pub struct $name;
        impl Action for $name {
            type Target = $target;
            const OPERATION: Operation = Operation::$name;
        })*
    };
}

actions! {
    /// `ecr:BatchCheckLayerAvailability`
    BatchCheckLayerAvailability: RepositoryName, true;
    /// `ecr:BatchDeleteImage`
    BatchDeleteImage: RepositoryName, false;
    /// `ecr:BatchGetImage`
    BatchGetImage: RepositoryName, true;
    /// `ecr:CompleteLayerUpload`
    CompleteLayerUpload: RepositoryName, false;
    /// `ecr:CreateRepository`
    CreateRepository: RepositoryName, false;
    /// `ecr:DeleteRepository`
    DeleteRepository: RepositoryName, false;
    /// `ecr:DescribeImages`
    DescribeImages: RepositoryName, true;
    /// `ecr:DescribeRegistry`
    DescribeRegistry: (), true;
    /// `ecr:DescribeRepositories`
    DescribeRepositories: Scope, true;
    /// `ecr:GetAuthorizationToken`
    GetAuthorizationToken: (), true;
    /// `ecr:GetDownloadUrlForLayer`
    GetDownloadUrlForLayer: RepositoryName, true;
    /// `ecr:InitiateLayerUpload`
    InitiateLayerUpload: RepositoryName, false;
    /// `ecr:ListImages`
    ListImages: RepositoryName, true;
    /// `ecr:BatchGetImage`, which listing referrers needs (API-73)
    ListImageReferrers: RepositoryName, true;
    /// `ecr:ListTagsForResource`
    ListTagsForResource: RepositoryName, true;
    /// `ecr:PutImage`
    PutImage: RepositoryName, false;
    /// `ecr:PutImageTagMutability`
    PutImageTagMutability: RepositoryName, false;
    /// `ecr:TagResource`
    TagResource: RepositoryName, false;
    /// `ecr:UntagResource`
    UntagResource: RepositoryName, false;
    /// `ecr:UploadLayerPart`
    UploadLayerPart: RepositoryName, false;
}

impl Operation {
    /// The IAM action that allows it (API-73).
    pub const fn iam_action(self) -> &'static str {
        match self {
            Self::ListImageReferrers => "BatchGetImage",
            other => other.name(),
        }
    }
}
