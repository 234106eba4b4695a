//! Which services and operations are generated.

pub struct Service {
    /// Module of `funaya-wire`.
    pub module: &'static str,
    /// Folder under botocore's `data`.
    pub model: &'static str,
    /// Operations with full shapes. All others are in the list of names only.
    pub operations: &'static [&'static str],
    /// Shapes that must not show in `Debug`, beside those the model marks.
    pub hidden: &'static [&'static str],
}

pub const ALL: &[Service] = &[Service {
    module: "ecr",
    model: "ecr/2015-09-21",
    operations: &[
        "BatchCheckLayerAvailability",
        "BatchDeleteImage",
        "BatchGetImage",
        "CompleteLayerUpload",
        "CreateRepository",
        "DeleteRepository",
        "DescribeImages",
        "DescribeRegistry",
        "DescribeRepositories",
        "GetAuthorizationToken",
        "GetDownloadUrlForLayer",
        "InitiateLayerUpload",
        "ListImageReferrers",
        "ListImages",
        "ListTagsForResource",
        "PutImage",
        "PutImageTagMutability",
        "TagResource",
        "UntagResource",
        "UploadLayerPart",
    ],
    // The authorization token.
    hidden: &["Base64"],
}];
