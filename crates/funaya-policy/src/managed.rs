//! The AWS managed policies: in every account, read-only, attachable to users, groups and roles (IAM-60 to IAM-65).
//!
//! The texts grant what a registry with its companions has; services that do not exist here are left out. The
//! documents stand in `policies/` beside the source, one file each.

/// A managed policy as `GetPolicy` and `GetPolicyVersion` show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManagedPolicy {
    /// `AdministratorAccess`
    pub name: &'static str,
    /// `/`, `/service-role/` or `/job-function/`.
    pub path: &'static str,
    /// `arn:aws:iam::aws:policy/…`
    pub arn: &'static str,
    /// The unique id, `ANPA…`; for a service control policy `p-…`.
    pub id: &'static str,
    /// What it is for, in one sentence.
    pub description: &'static str,
    /// The version that counts: `v1`, `v2`, …
    pub default_version: &'static str,
    /// When it was made, ISO 8601 in UTC.
    pub created: &'static str,
    /// The document.
    pub document: &'static str,
}

macro_rules! policy {
    ($path:literal, $name:literal, $id:literal, $version:literal, $created:literal, $description:literal) => {
        ManagedPolicy {
            name: $name,
            path: $path,
            arn: concat!("arn:aws:iam::aws:policy", $path, $name),
            id: $id,
            description: $description,
            default_version: $version,
            created: $created,
            document: include_str!(concat!("../policies/", $name, ".json")),
        }
    };
}

/// All of them, sorted by name.
pub static POLICIES: &[ManagedPolicy] = &[
    policy!(
        "/",
        "AWSCloudTrail_FullAccess",
        "ANPAVT36APCM5R27HHPTV",
        "v1",
        "2021-02-08T19:09:02Z",
        "All of CloudTrail, with the keys and roles that trails need."
    ),
    policy!(
        "/",
        "AWSCloudTrail_ReadOnlyAccess",
        "ANPA4EVT3LKYYM4JD2AJZ",
        "v1",
        "2022-06-14T17:19:29Z",
        "Reading trails and events."
    ),
    policy!(
        "/",
        "AWSDenyAll",
        "ANPASOWV7IX53SXXXLDAL",
        "v1",
        "2019-05-01T22:36:14Z",
        "Nothing at all, whatever else allows."
    ),
    policy!(
        "/",
        "AWSKeyManagementServicePowerUser",
        "ANPAJNPP7PPPPMJRV2SA4",
        "v2",
        "2015-02-06T18:40:40Z",
        "Making KMS keys and using them as their policies allow."
    ),
    policy!(
        "/",
        "AdministratorAccess",
        "ANPAIWMBCKSKIEE64ZLYK",
        "v1",
        "2015-02-06T18:39:46Z",
        "Everything in the account."
    ),
    policy!(
        "/",
        "AmazonEC2ContainerRegistryFullAccess",
        "ANPAIESRL7KD7IIVF6V4W",
        "v3",
        "2015-12-21T17:06:48Z",
        "All of ECR, and the events of its lifecycle policies."
    ),
    policy!(
        "/",
        "AmazonEC2ContainerRegistryPowerUser",
        "ANPAJDNE5PIHROIBGGDDW",
        "v3",
        "2015-12-21T17:05:33Z",
        "Pushing and pulling; no deletion of repositories, no change of policies."
    ),
    policy!(
        "/",
        "AmazonEC2ContainerRegistryPullOnly",
        "ANPAERGQSYSQAVX5FLUIE",
        "v1",
        "2024-10-10T21:20:29Z",
        "Pulling, and nothing else."
    ),
    policy!(
        "/",
        "AmazonEC2ContainerRegistryReadOnly",
        "ANPAIFYZPA37OOHVIH7KQ",
        "v3",
        "2015-12-21T17:04:15Z",
        "Listing repositories and images, and pulling."
    ),
    policy!(
        "/service-role/",
        "AmazonEC2ContainerServiceforEC2Role",
        "ANPAJLYJCVHC7TQHCSQDS",
        "v6",
        "2015-03-19T18:45:18Z",
        "What an ECS container instance needs."
    ),
    policy!(
        "/service-role/",
        "AmazonECSTaskExecutionRolePolicy",
        "ANPAJG4T4G4PV56DE72PY",
        "v1",
        "2017-11-16T18:48:22Z",
        "What ECS needs to start a task: pulling and logging."
    ),
    policy!(
        "/",
        "AmazonEKSWorkerNodePolicy",
        "ANPAKSJ2YYODUEQHXY5GQ",
        "v1",
        "2018-05-27T21:09:01Z",
        "What an EKS node needs to know of its network and cluster."
    ),
    policy!(
        "/",
        "AmazonEventBridgeFullAccess",
        "ANPA43ET5KRFXHUI6WH3K",
        "v3",
        "2019-07-11T14:08:05Z",
        "All of EventBridge, with the roles that targets need."
    ),
    policy!(
        "/",
        "AmazonEventBridgeReadOnlyAccess",
        "ANPAJYRFNDVV2D4TIO2FU",
        "v3",
        "2019-07-11T13:59:07Z",
        "Reading rules, targets and buses."
    ),
    policy!("/", "CloudWatchFullAccess", "ANPAVJ77TCHBJCUGMTB75", "v4", "2015-02-06T18:40:00Z", "All of CloudWatch."),
    policy!(
        "/",
        "CloudWatchReadOnlyAccess",
        "ANPAOBSUSBJFHDGVX4NT4",
        "v4",
        "2015-02-06T18:40:01Z",
        "Reading metrics, alarms and dashboards."
    ),
    policy!(
        "/",
        "IAMFullAccess",
        "ANPAI7XKCFMBPM3QQRRVQ",
        "v2",
        "2015-02-06T18:40:38Z",
        "All of IAM, and what the organization says of the account."
    ),
    policy!("/", "IAMReadOnlyAccess", "ANPAJKSO7NDY4T57MWDSQ", "v4", "2015-02-06T18:40:39Z", "Reading all of IAM."),
    policy!(
        "/",
        "IAMUserChangePassword",
        "ANPAJ4L4MM2A7QIEB56MS",
        "v2",
        "2016-11-15T00:25:16Z",
        "Changing the own password."
    ),
    policy!(
        "/",
        "PowerUserAccess",
        "ANPAJYRXTHIB4FOVS3ZXS",
        "v5",
        "2015-02-06T18:39:47Z",
        "Everything but the management of users, organizations and the account."
    ),
    policy!(
        "/",
        "ReadOnlyAccess",
        "ANPAILL3HVNFSB6DCOWYQ",
        "v1",
        "2015-02-06T18:39:48Z",
        "Reading everything, contents included."
    ),
    policy!(
        "/",
        "SecurityAudit",
        "ANPAIX2T3QCXHR2OGGCTO",
        "v1",
        "2015-02-06T18:41:01Z",
        "Reading what bears on security."
    ),
    policy!(
        "/",
        "ServiceQuotasFullAccess",
        "ANPA7L43TP3B6MLMEGYUC",
        "v4",
        "2019-06-24T15:44:56Z",
        "Reading quotas and asking for more."
    ),
    policy!(
        "/",
        "ServiceQuotasReadOnlyAccess",
        "ANPAOSLG4RHYAUQVE3GJC",
        "v3",
        "2019-06-24T15:31:58Z",
        "Reading quotas."
    ),
    policy!(
        "/job-function/",
        "ViewOnlyAccess",
        "ANPAID22R6XPJATWOFDK6",
        "v1",
        "2016-11-10T17:20:15Z",
        "Seeing what there is, without its contents."
    ),
];

/// The service control policy that every root, unit and account has at first: no limit (IAM-23).
pub static FULL_AWS_ACCESS: ManagedPolicy = ManagedPolicy {
    name: "FullAWSAccess",
    path: "/",
    arn: "arn:aws:organizations::aws:policy/service_control_policy/p-FullAWSAccess",
    id: "p-FullAWSAccess",
    description: "Allows access to every operation.",
    default_version: "v1",
    created: "2016-11-28T00:00:00Z",
    document: include_str!("../policies/FullAWSAccess.json"),
};

/// The managed policy with this ARN.
pub fn by_arn(arn: &str) -> Option<&'static ManagedPolicy> {
    POLICIES.iter().find(|policy| policy.arn == arn)
}
