//! Everything about everybody: `GetAccountAuthorizationDetails`.

use funaya_gate::{Permit, action::iam};
use funaya_policy::managed;
use funaya_ports::identity as rows;
use funaya_types::AccountId;

use crate::{Attached, Body, Group, Held, Identities, PageAt, Policy, Profile, Result, Role, User, Version, account};

/// The lists, in their order; a page goes on where the last one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Users.
    Users,
    /// Groups.
    Groups,
    /// Roles.
    Roles,
    /// The account's own policies.
    OwnPolicies,
    /// Those of AWS that somebody has.
    AwsPolicies,
}

impl Section {
    const ALL: [Self; 5] = [Self::Users, Self::Groups, Self::Roles, Self::OwnPolicies, Self::AwsPolicies];
}

/// A page of everything.
#[derive(Debug, Default)]
pub struct Details {
    /// Users with attached policies and groups.
    pub users: Vec<(User, Vec<Attached>, Vec<String>)>,
    /// Groups with attached policies.
    pub groups: Vec<(Group, Vec<Attached>)>,
    /// Roles with attached policies and instance profiles.
    pub roles: Vec<(Role, Vec<Attached>, Vec<Profile>)>,
    /// Policies with versions.
    pub policies: Vec<(Policy, Vec<Version>)>,
    /// Where the next page begins.
    pub next: Option<String>,
}

impl Identities {
    /// A page of what is asked for; nothing named means everything.
    pub async fn details(
        &self,
        permit: &Permit<iam::GetAccountAuthorizationDetails>,
        wanted: &[Section],
        at: &PageAt,
    ) -> Result<Details> {
        let mut details = Details::default();
        let (number, after) = at.after.split_once(':').unwrap_or(("0", ""));
        let from = number.parse().unwrap_or(Section::ALL.len());
        let mut rest = PageAt { after: after.to_owned(), limit: at.limit };
        for (number, section) in Section::ALL.into_iter().enumerate().skip(from) {
            if !wanted.is_empty() && !wanted.contains(&section) {
                continue;
            }
            let (count, next) = self.section(account(permit), section, &rest, &mut details).await?;
            rest = PageAt { after: String::new(), limit: rest.limit.saturating_sub(count) };
            let begin = match (next, rest.limit) {
                (Some(next), _) => Some(format!("{number}:{next}")),
                (None, 0) if number + 1 < Section::ALL.len() => Some(format!("{}:", number + 1)),
                _ => None,
            };
            if begin.is_some() {
                details.next = begin;
                break;
            }
        }
        Ok(details)
    }

    /// Adds a section's part of the page; how many that are, and where it goes on.
    async fn section(
        &self,
        account: AccountId,
        section: Section,
        at: &PageAt,
        into: &mut Details,
    ) -> Result<(u32, Option<String>)> {
        match section {
            Section::Users => {
                let page = self.list::<rows::User>(account, None, at).await?;
                let count = page.items.len();
                for held in page.items {
                    let groups = self.groups_with(account, held.id()).await?;
                    let groups = groups.into_iter().map(|group| group.body.name).collect();
                    let attached = self.attached_to(account, held.id()).await?;
                    into.users.push((self.with_boundary(held).await?, attached, groups));
                }
                Ok((length(count), page.next))
            }
            Section::Groups => {
                let page = self.list::<rows::Group>(account, None, at).await?;
                let count = page.items.len();
                for held in page.items {
                    let attached = self.attached_to(account, held.id()).await?;
                    into.groups.push((held, attached));
                }
                Ok((length(count), page.next))
            }
            Section::Roles => {
                let page = self.list::<rows::Role>(account, None, at).await?;
                let count = page.items.len();
                for held in page.items {
                    let attached = self.attached_to(account, held.id()).await?;
                    let profiles = self.profiles_holding(account, held.id()).await?;
                    into.roles.push((self.whole(held).await?, attached, profiles));
                }
                Ok((length(count), page.next))
            }
            Section::OwnPolicies => {
                let page = self.list::<rows::ManagedPolicy>(account, None, at).await?;
                let count = page.items.len();
                for held in page.items {
                    into.policies.push(self.described(account, &held).await?);
                }
                Ok((length(count), page.next))
            }
            Section::AwsPolicies => {
                let mut found = Vec::new();
                for policy in managed::POLICIES.iter().filter(|policy| policy.name > at.after.as_str()) {
                    found.extend(self.described_of_aws(account, policy).await?);
                }
                let page = at.page(found, |(policy, _)| policy.name.clone());
                let count = page.items.len();
                into.policies.extend(page.items);
                Ok((length(count), page.next))
            }
        }
    }

    /// All entities of a kind, for reports.
    pub(crate) async fn everyone<B: Body>(&self, account: AccountId) -> Result<Vec<Held<B>>> {
        let at = PageAt { after: String::new(), limit: u32::MAX - 1 };
        Ok(self.list(account, None, &at).await?.items)
    }
}

fn length(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
