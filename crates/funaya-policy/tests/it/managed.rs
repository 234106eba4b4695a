//! The managed policies (IAM-60 to IAM-65).

use std::collections::BTreeSet;

use funaya_policy::{
    Document, Kind,
    managed::{self, FULL_AWS_ACCESS, POLICIES},
};

#[test]
fn all_can_be_read_in_every_use() {
    for policy in POLICIES {
        for kind in [Kind::Identity, Kind::Boundary] {
            let parsed = Document::parse(policy.document, kind);
            assert!(parsed.is_ok(), "{}: {:?}", policy.name, parsed.err());
        }
    }
    assert!(Document::parse(FULL_AWS_ACCESS.document, Kind::ServiceControl).is_ok());
}

#[test]
fn the_table_is_in_order() {
    assert!(POLICIES.is_sorted_by(|a, b| a.name < b.name));
    let ids: BTreeSet<&str> = POLICIES.iter().map(|policy| policy.id).collect();
    assert_eq!(ids.len(), POLICIES.len());
    for policy in POLICIES {
        assert_eq!(policy.arn, format!("arn:aws:iam::aws:policy{}{}", policy.path, policy.name));
        assert!(policy.id.starts_with("ANPA") && policy.id.len() == 21, "{}", policy.name);
        assert!(policy.path.starts_with('/') && policy.path.ends_with('/'), "{}", policy.name);
        assert!(policy.default_version.strip_prefix('v').is_some_and(|n| n.parse::<u32>().is_ok()), "{}", policy.name);
        assert!(policy.description.ends_with('.'), "{}", policy.name);
        assert_eq!(policy.created.len(), "2015-12-21T17:06:48Z".len(), "{}", policy.name);
        assert_eq!(managed::by_arn(policy.arn), Some(policy));
    }
    assert_eq!(managed::by_arn("arn:aws:iam::aws:policy/Nothing"), None);
}

#[test]
fn those_of_the_guide_are_there() {
    for arn in [
        "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryFullAccess",
        "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser",
        "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly",
        "arn:aws:iam::aws:policy/AdministratorAccess",
        "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role",
        "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess",
    ] {
        assert!(managed::by_arn(arn).is_some(), "{arn}");
    }
}
