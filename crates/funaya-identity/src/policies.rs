//! Managed policies and their versions (COMP-048 to COMP-056, IAM-20).

use funaya_gate::{Permit, action::iam};
use funaya_policy::{Document, Kind, managed};
use funaya_ports::identity::{self as rows, PolicyVersion};
use funaya_types::{AccountId, Timestamp};
use serde_json::Value;

use crate::{Error, Held, Identities, Page, PageAt, Result, Tag, account, recorded, shapes, tags};

const POLICIES: (&str, usize) = ("PoliciesPerAccount", 1_500);
const VERSIONS_MAX: usize = 5;
/// Before the name in the place of a customer's policy, and of one of AWS: theirs come last.
const OWN: &str = "c:";
const AWS: &str = "w:";

/// A managed policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Its unique id.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// Its path.
    pub path: String,
    /// `v3`
    pub default_version: String,
    /// How many users, groups and roles have it.
    pub attached: usize,
    /// How many have it as their boundary.
    pub bounding: usize,
    /// For people.
    pub description: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// One version of a managed policy.
#[derive(Clone, Debug)]
pub struct Version {
    /// `v3`
    pub name: String,
    /// Whether it is the one that counts.
    pub is_default: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// The document.
    pub document: String,
}

/// A policy to be made.
#[derive(Clone, Debug)]
pub struct NewPolicy {
    /// Its name.
    pub name: String,
    /// `/` where none is given.
    pub path: String,
    /// The document of the first version.
    pub document: String,
    /// For people.
    pub description: Option<String>,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// Which policies of a list.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Those of AWS.
    pub aws: bool,
    /// The account's own.
    pub own: bool,
    /// Only those that somebody has.
    pub attached: bool,
    /// Only those that are somebody's boundary.
    pub bounding: bool,
    /// Only those below this path.
    pub path_prefix: String,
}

impl Filter {
    fn takes(&self, policy: &Policy) -> bool {
        (!self.attached || policy.attached > 0)
            && (!self.bounding || policy.bounding > 0)
            && policy.path.starts_with(&self.path_prefix)
    }
}

impl Identities {
    /// Makes a policy with its first version.
    pub async fn create_policy(&self, permit: &Permit<iam::CreatePolicy>, new: NewPolicy) -> Result<Policy> {
        let (account, id) = (account(permit), self.unique_id("ANPA"));
        check(&new.document)?;
        self.change(|| async {
            let labels = tags::fresh(&new.tags)?;
            self.vacant::<rows::ManagedPolicy>(account, &new.name, POLICIES).await?;
            let first = PolicyVersion { number: 1, document: new.document.clone(), created_at: permit.now() };
            let body = rows::ManagedPolicy {
                name: new.name.clone(),
                description: new.description.clone(),
                versions: vec![first],
                default_version: 1,
                next_version: 2,
                updated_at: Some(permit.now()),
                tags: labels,
            };
            let held = Held::new(account, id.clone(), &new.path, body, permit.now());
            let policy = own(&held, (0, 0));
            let mut change = recorded(permit, policy.shown());
            change.put.push(held.put());
            Ok((change, policy))
        })
        .await
    }

    /// A policy.
    pub async fn managed_policy(&self, permit: &Permit<iam::GetPolicy>, arn: &str) -> Result<Policy> {
        let account = account(permit);
        let uses = self.uses(account, arn).await?;
        if let Some(policy) = managed::by_arn(arn) {
            return Ok(of_aws(policy, uses));
        }
        Ok(own(&self.get_named(account, arn).await?, uses))
    }

    /// Policies: the account's own by name, then those of AWS.
    pub async fn policies(
        &self,
        permit: &Permit<iam::ListPolicies>,
        filter: &Filter,
        at: &PageAt,
    ) -> Result<Page<Policy>> {
        let account = account(permit);
        let wanted = usize::try_from(at.probe()).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        if filter.own {
            self.own_policies(account, filter, at, &mut found).await?;
        }
        if filter.aws {
            for policy in managed::POLICIES {
                let place = format!("{AWS}{}", policy.name);
                if found.len() >= wanted || place.as_str() <= at.after.as_str() {
                    continue;
                }
                let policy = of_aws(policy, self.uses(account, policy.arn).await?);
                found.extend(Some(policy).filter(|policy| filter.takes(policy)));
            }
        }
        Ok(at.page(found, |policy| match managed::by_arn(&policy.arn) {
            Some(policy) => format!("{AWS}{}", policy.name),
            None => format!("{OWN}{}", policy.name.to_ascii_lowercase()),
        }))
    }

    async fn own_policies(
        &self,
        account: AccountId,
        filter: &Filter,
        at: &PageAt,
        found: &mut Vec<Policy>,
    ) -> Result<()> {
        let mut after = match at.after.strip_prefix(OWN) {
            Some(key) => key.to_owned(),
            // The page begins among those of AWS.
            None if !at.after.is_empty() => return Ok(()),
            None => String::new(),
        };
        while found.len() < usize::try_from(at.probe()).unwrap_or(usize::MAX) {
            let chunk = PageAt { after, limit: at.limit };
            let page = self.list::<rows::ManagedPolicy>(account, Some(&filter.path_prefix), &chunk).await?;
            for held in page.items {
                let policy = own(&held, self.uses(account, &held.arn()).await?);
                found.extend(Some(policy).filter(|policy| filter.takes(policy)));
            }
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        Ok(())
    }

    /// Deletes a policy that nobody has and that has one version.
    pub async fn delete_policy(&self, permit: &Permit<iam::DeletePolicy>, arn: &str) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let held = self.get_named::<rows::ManagedPolicy>(account, arn).await?;
            if self.uses(account, arn).await? != (0, 0) {
                return Err(Error::PolicyInUse);
            }
            if held.body.versions.len() > 1 {
                return Err(Error::HasVersions);
            }
            let mut change = recorded(permit, Value::Null);
            let version = held.entity.version;
            change.delete.push((held.entity, version));
            Ok((change, ()))
        })
        .await
    }

    /// Adds a version.
    pub async fn create_policy_version(
        &self,
        permit: &Permit<iam::CreatePolicyVersion>,
        arn: &str,
        document: &str,
        as_default: bool,
    ) -> Result<Version> {
        self.change(|| async {
            let mut held = self.get_named::<rows::ManagedPolicy>(account(permit), arn).await?;
            check(document)?;
            if held.body.versions.len() >= VERSIONS_MAX {
                return Err(Error::TooManyVersions);
            }
            let number = held.body.next_version;
            held.body.next_version = number.saturating_add(1);
            let version = PolicyVersion { number, document: document.to_owned(), created_at: permit.now() };
            if as_default {
                held.body.default_version = number;
            }
            held.body.updated_at = Some(permit.now());
            let shown = version_of(&held.body, &version);
            held.body.versions.push(version);
            let mut change = recorded(permit, shapes::version(&shown));
            change.put.push(held.put());
            Ok((change, shown))
        })
        .await
    }

    /// A version.
    pub async fn policy_version(
        &self,
        permit: &Permit<iam::GetPolicyVersion>,
        arn: &str,
        version: &str,
    ) -> Result<Version> {
        let versions = self.versions_of(account(permit), arn).await?;
        versions.into_iter().find(|known| known.name == version).ok_or_else(|| no_version(arn, version))
    }

    /// The versions, newest first.
    pub async fn policy_versions(
        &self,
        permit: &Permit<iam::ListPolicyVersions>,
        arn: &str,
        at: &PageAt,
    ) -> Result<Page<Version>> {
        let mut versions = self.versions_of(account(permit), arn).await?;
        versions.reverse();
        let place = |version: &Version| version.name.clone();
        let from = versions.iter().position(|version| version.name == at.after).map_or(0, |at| at + 1);
        Ok(at.page(versions.split_off(from), place))
    }

    async fn versions_of(&self, account: AccountId, arn: &str) -> Result<Vec<Version>> {
        if let Some(policy) = managed::by_arn(arn) {
            return Ok(vec![only_version(policy)]);
        }
        let held = self.get_named::<rows::ManagedPolicy>(account, arn).await?;
        Ok(held.body.versions.iter().map(|version| version_of(&held.body, version)).collect())
    }

    /// Makes a version the one that counts.
    pub async fn set_default_version(
        &self,
        permit: &Permit<iam::SetDefaultPolicyVersion>,
        arn: &str,
        version: &str,
    ) -> Result<()> {
        self.change(|| async {
            let mut held = self.get_named::<rows::ManagedPolicy>(account(permit), arn).await?;
            held.body.default_version = number(&held.body, arn, version)?;
            held.body.updated_at = Some(permit.now());
            let mut change = recorded(permit, Value::Null);
            change.put.push(held.put());
            Ok((change, ()))
        })
        .await
    }

    /// Deletes a version that does not count.
    pub async fn delete_policy_version(
        &self,
        permit: &Permit<iam::DeletePolicyVersion>,
        arn: &str,
        version: &str,
    ) -> Result<()> {
        self.change(|| async {
            let mut held = self.get_named::<rows::ManagedPolicy>(account(permit), arn).await?;
            let number = number(&held.body, arn, version)?;
            if held.body.default_version == number {
                return Err(Error::DefaultVersion);
            }
            held.body.versions.retain(|known| known.number != number);
            let mut change = recorded(permit, Value::Null);
            change.put.push(held.put());
            Ok((change, ()))
        })
        .await
    }

    /// For reports: the account's own policies with their versions.
    pub(crate) async fn described(
        &self,
        account: AccountId,
        held: &Held<rows::ManagedPolicy>,
    ) -> Result<(Policy, Vec<Version>)> {
        let policy = own(held, self.uses(account, &held.arn()).await?);
        let versions = held.body.versions.iter().map(|version| version_of(&held.body, version)).collect();
        Ok((policy, versions))
    }

    /// For reports: a policy of AWS, if somebody has it.
    pub(crate) async fn described_of_aws(
        &self,
        account: AccountId,
        policy: &managed::ManagedPolicy,
    ) -> Result<Option<(Policy, Vec<Version>)>> {
        let uses = self.uses(account, policy.arn).await?;
        Ok((uses != (0, 0)).then(|| (of_aws(policy, uses), vec![only_version(policy)])))
    }
}

fn check(document: &str) -> Result<()> {
    match Document::parse(document, Kind::Identity) {
        Ok(_) => Ok(()),
        Err(fault) => Err(match fault.over_limit() {
            Some(max) => Error::Quota { name: "PolicySize", max },
            None => Error::Malformed(fault.text().to_owned()),
        }),
    }
}

fn number(body: &rows::ManagedPolicy, arn: &str, version: &str) -> Result<u32> {
    let found = body.versions.iter().map(|known| known.number).find(|number| format!("v{number}") == version);
    found.ok_or_else(|| no_version(arn, version))
}

fn no_version(arn: &str, version: &str) -> Error {
    Error::NoVersion { arn: arn.to_owned(), version: version.to_owned() }
}

fn version_of(body: &rows::ManagedPolicy, version: &PolicyVersion) -> Version {
    Version {
        name: format!("v{}", version.number),
        is_default: body.default_version == version.number,
        created_at: version.created_at,
        document: version.document.clone(),
    }
}

/// Of AWS's policies only the version that counts is known.
fn only_version(policy: &managed::ManagedPolicy) -> Version {
    Version {
        name: policy.default_version.to_owned(),
        is_default: true,
        created_at: time(policy.created),
        document: policy.document.to_owned(),
    }
}

fn own(held: &Held<rows::ManagedPolicy>, (attached, bounding): (usize, usize)) -> Policy {
    let (entity, body) = (&held.entity, &held.body);
    Policy {
        name: body.name.clone(),
        id: entity.id.clone(),
        arn: held.arn(),
        path: entity.path.clone(),
        default_version: format!("v{}", body.default_version),
        attached,
        bounding,
        description: body.description.clone(),
        created_at: entity.created_at,
        updated_at: body.updated_at.unwrap_or(entity.created_at),
        tags: body.tags.clone(),
    }
}

fn of_aws(policy: &managed::ManagedPolicy, (attached, bounding): (usize, usize)) -> Policy {
    let created_at = time(policy.created);
    Policy {
        name: policy.name.to_owned(),
        id: policy.id.to_owned(),
        arn: policy.arn.to_owned(),
        path: policy.path.to_owned(),
        default_version: policy.default_version.to_owned(),
        attached,
        bounding,
        description: Some(policy.description.to_owned()),
        created_at,
        updated_at: created_at,
        tags: Vec::new(),
    }
}

/// `2015-02-06T18:39:46Z`, as the table of AWS's policies has it. Days by Howard Hinnant's `days_from_civil`.
fn time(text: &str) -> Timestamp {
    let part = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<i64>().ok()).unwrap_or(1);
    let (month, day) = (part(5, 7), part(8, 10));
    let year = part(0, 4) - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468;
    Timestamp::from_secs(days * 86_400 + part(11, 13) * 3_600 + part(14, 16) * 60 + part(17, 19))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_aws() {
        for policy in managed::POLICIES {
            assert_eq!(time(policy.created).iso8601(), policy.created);
        }
    }
}
