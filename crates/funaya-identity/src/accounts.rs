//! Accounts of the organization (COMP-919).

use funaya_gate::{Permit, action::organizations as actions};
use funaya_ports::identity::{
    AccessKey, Account, AccountRequest, BoundPolicy, Change, Entity, Kind, Link, Relation, Role,
};
use funaya_types::{AccountId, Timestamp};
use serde_json::{Value, json};

use crate::{
    FreshKey, Held, Identities, KEY_LETTERS, Key, Org, OrganizationError, OrganizationResult, Page, PageAt, Tag,
    organization::{NO_TARGET, is_account},
    row::{Row, key},
    tags,
};

const ACCOUNTS_MAX: usize = 10_000;
const ROLE: &str = "OrganizationAccountAccessRole";
const ADMINISTRATOR: &str = "arn:aws:iam::aws:policy/AdministratorAccess";
const SESSION_S: u32 = 3_600;
const REQUEST_LETTERS: usize = 32;
const DIGITS: u64 = 1_000_000_000_000;

const NO_ACCOUNT: OrganizationError =
    OrganizationError::Missing("AccountNotFoundException", "You specified an account that doesn't exist.");
const NO_REQUEST: OrganizationError = OrganizationError::Missing(
    "CreateAccountStatusNotFoundException",
    "You specified an ID for a CreateAccount request that doesn't exist.",
);

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Its name.
    pub name: String,
    /// Its e-mail address, which no other account has; `None`: one that nobody can write to.
    pub email: Option<String>,
    /// The role in it that the management account may assume.
    pub role_name: Option<String>,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// How the making of an account went.
pub type Request = Row<AccountRequest>;

impl Row<AccountRequest> {
    /// The account that was made; `None`: its e-mail address is another's.
    pub fn account(&self) -> Option<&str> {
        Some(self.body.account.as_str()).filter(|account| !account.is_empty())
    }
}

/// An account of the organization.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its id.
    pub id: AccountId,
    /// What is known of it.
    pub body: Account,
    /// When it came.
    pub joined_at: Timestamp,
}

impl Identities {
    /// Makes an account, at once.
    pub async fn create_account(
        &self,
        permit: &Permit<actions::CreateAccount>,
        new: &NewAccount,
    ) -> OrganizationResult<Request> {
        Ok(self.found_account(permit, new, false).await?.0)
    }

    /// The same, with an access key for the new account's root: for operators.
    pub async fn create_account_with_key(
        &self,
        permit: &Permit<actions::CreateAccount>,
        new: &NewAccount,
    ) -> OrganizationResult<(Request, Option<FreshKey>)> {
        self.found_account(permit, new, true).await
    }

    async fn found_account(
        &self,
        permit: &Permit<actions::CreateAccount>,
        new: &NewAccount,
        with_key: bool,
    ) -> OrganizationResult<(Request, Option<FreshKey>)> {
        let request_id = format!("car-{}", self.small_letters(REQUEST_LETTERS));
        self.reorganize(|| async {
            let org = self.organization(permit).await?;
            let members = self.members(&org).await?;
            if members.len() >= ACCOUNTS_MAX {
                return Err(OrganizationError::Constraint("You have exceeded the number of accounts allowed."));
            }
            let account = self.new_account_id().await?;
            let email = new.email.clone().unwrap_or_else(|| format!("{account}@accounts.invalid"));
            let taken = members.iter().any(|member| member.body.email.eq_ignore_ascii_case(&email));
            let made = if taken { String::new() } else { account.to_string() };
            let body = AccountRequest { name: new.name.clone(), account: made };
            let place = key(org.account(), Kind::AccountRequest, &request_id);
            let request = Row::new(place, request_id.clone(), body, permit.now());
            let mut change = org.fenced(permit, shown(&request));
            change.put.push(request.clone().put());
            if taken {
                return Ok((change, (request, None)));
            }
            self.furnish(&org, account, &email, new, permit.now(), &mut change)?;
            let fresh = with_key.then(|| self.root_key(account, permit.now(), &mut change));
            Ok((change, (request, fresh)))
        })
        .await
    }

    /// The account's row and place, and the role by which the management account comes in.
    fn furnish(
        &self,
        org: &Org,
        account: AccountId,
        email: &str,
        new: &NewAccount,
        now: Timestamp,
        change: &mut Change,
    ) -> OrganizationResult<()> {
        let id = account.as_str();
        let body = Account {
            name: new.name.clone(),
            email: email.to_owned(),
            tags: tags::fresh(&new.tags)?,
            ..Account::default()
        };
        change.put.push(Row::new(key(account, Kind::Account, id), id.to_owned(), body, now).put());
        change.link.push(org.link(Relation::ChildOf, id, org.root_id()));
        change.link.extend(org.full_access(id));
        let trust = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{}:root", org.account())},
            "Action": "sts:AssumeRole",
        }]});
        let role = Role {
            name: new.role_name.clone().unwrap_or_else(|| ROLE.to_owned()),
            trust: BoundPolicy { text: trust.to_string(), ..BoundPolicy::default() },
            session_seconds_max: SESSION_S,
            ..Role::default()
        };
        let role = Held::new(account, self.unique_id("AROA"), "/", role, now);
        let (from, to) = (role.id().to_owned(), ADMINISTRATOR.to_owned());
        change.link.push(Link { account, relation: Relation::Attached, from, to });
        change.put.push(role.put());
        Ok(())
    }

    fn root_key(&self, account: AccountId, now: Timestamp, change: &mut Change) -> FreshKey {
        let (id, secret) = (format!("AKIA{}", self.letters(KEY_LETTERS)), self.secret());
        let sealed = self.parts.access_keys.seal(secret.expose(), &id);
        let body = AccessKey { user_id: None, sealed, active: true };
        change.put.push(Row::new(key(account, Kind::AccessKey, &id), id.clone(), body, now).put());
        let (from, to) = (account.to_string(), id.clone());
        change.link.push(Link { account, relation: Relation::HasKey, from, to });
        FreshKey { key: Key { id, user_name: None, active: true, created_at: Some(now) }, secret }
    }

    async fn new_account_id(&self) -> OrganizationResult<AccountId> {
        loop {
            let mut bytes = [0; 8];
            self.parts.random.fill(&mut bytes);
            // Never with a leading zero, which spreadsheets and shells lose.
            let number = DIGITS / 10 + u64::from_le_bytes(bytes) % (DIGITS / 10 * 9);
            let account = AccountId::from_number(number);
            let free = self.store().entity_by_id(account.as_str()).await?.is_none();
            if free && account != self.parts.management {
                return Ok(account);
            }
        }
    }

    async fn members(&self, org: &Org) -> OrganizationResult<Vec<Member>> {
        let mut members = Vec::new();
        for id in self.everything(org).await?.iter().filter(|id| is_account(id)) {
            members.extend(self.member(id).await?);
        }
        Ok(members)
    }

    pub(crate) async fn member(&self, id: &str) -> OrganizationResult<Option<Member>> {
        Ok(self.member_row(id).await?.map(|(entity, body)| Member {
            id: entity.place.account,
            joined_at: entity.created_at,
            body,
        }))
    }

    pub(crate) async fn member_row(&self, id: &str) -> OrganizationResult<Option<(Entity, Account)>> {
        let Ok(account) = id.parse::<AccountId>() else { return Ok(None) };
        let found = self.row::<Account>(&key(account, Kind::Account, id)).await?;
        Ok(found.map(|row| (row.entity, row.body)))
    }

    /// How the making of an account went.
    pub async fn account_request(
        &self,
        permit: &Permit<actions::DescribeCreateAccountStatus>,
        id: &str,
    ) -> OrganizationResult<Request> {
        let org = self.organization(permit).await?;
        self.row(&key(org.account(), Kind::AccountRequest, id)).await?.ok_or(NO_REQUEST)
    }

    /// All accounts that were made. `well`: only those that were, or were not, made in the end.
    pub async fn account_requests(
        &self,
        permit: &Permit<actions::ListCreateAccountStatus>,
        well: impl Fn(bool) -> bool,
        at: &PageAt,
    ) -> OrganizationResult<Page<Request>> {
        let org = self.organization(permit).await?;
        let mut all = self.rows::<AccountRequest>(org.account(), Kind::AccountRequest).await?;
        all.retain(|request| well(request.account().is_some()));
        Ok(at.of_all(all, |request| request.entity.id.clone()))
    }

    /// One account.
    pub async fn describe_account(
        &self,
        permit: &Permit<actions::DescribeAccount>,
        id: &str,
    ) -> OrganizationResult<(Org, Member)> {
        let org = self.organization(permit).await?;
        let member = self.member(id).await?.ok_or(NO_ACCOUNT)?;
        Ok((org, member))
    }

    /// All accounts.
    pub async fn accounts(
        &self,
        permit: &Permit<actions::ListAccounts>,
        at: &PageAt,
    ) -> OrganizationResult<(Org, Page<Member>)> {
        let org = self.organization(permit).await?;
        let ids = self.everything(&org).await?;
        self.page_of(org, ids, at).await
    }

    /// Accounts in a unit or the root.
    pub async fn accounts_in(
        &self,
        permit: &Permit<actions::ListAccountsForParent>,
        parent: &str,
        at: &PageAt,
    ) -> OrganizationResult<(Org, Page<Member>)> {
        let org = self.organization(permit).await?;
        self.check_parent(&org, parent).await?;
        let ids = self.children_of(&org, parent).await?;
        self.page_of(org, ids, at).await
    }

    async fn page_of(&self, org: Org, mut ids: Vec<String>, at: &PageAt) -> OrganizationResult<(Org, Page<Member>)> {
        ids.retain(|id| is_account(id));
        let page = at.of_all(ids, Clone::clone);
        let mut items = Vec::new();
        for id in &page.items {
            items.extend(self.member(id).await?);
        }
        Ok((org, Page { items, next: page.next }))
    }

    /// Moves an account to another unit.
    pub async fn move_account(
        &self,
        permit: &Permit<actions::MoveAccount>,
        id: &str,
        source: &str,
        destination: &str,
    ) -> OrganizationResult<()> {
        let missing = |name, text| OrganizationError::Missing(name, text);
        self.reorganize(|| async {
            let org = self.organization(permit).await?;
            let parent = self.parent_of(&org, id).await?.filter(|_| is_account(id)).ok_or(NO_ACCOUNT)?;
            if self.check_parent(&org, source).await.is_err() || parent != source {
                let text = "We can't find a source root or OU with the ParentId that you specified.";
                return Err(missing("SourceParentNotFoundException", text));
            }
            if self.check_parent(&org, destination).await.is_err() {
                let text =
                    "We can't find the destination container (a root or OU) with the ParentId that you specified.";
                return Err(missing("DestinationParentNotFoundException", text));
            }
            if source == destination {
                let text = "That account is already present in the specified destination.";
                return Err(OrganizationError::Duplicate("DuplicateAccountException", text));
            }
            let mut change = org.fenced(permit, Value::Null);
            change.unlink.push(org.link(Relation::ChildOf, id, source));
            change.link.push(org.link(Relation::ChildOf, id, destination));
            Ok((change, ()))
        })
        .await
    }

    /// Closes an account: nobody in it can do anything any more. What it has stays.
    pub async fn close_account(&self, permit: &Permit<actions::CloseAccount>, id: &str) -> OrganizationResult<()> {
        self.reorganize(|| async {
            let org = self.organization(permit).await?;
            let (entity, mut body) = self.member_row(id).await?.ok_or(NO_ACCOUNT)?;
            if id == org.account().as_str() {
                return Err(OrganizationError::Constraint("You can't close the management account."));
            }
            if body.closed_at.is_some() {
                let text = "You attempted to close an account that is already closed.";
                return Err(OrganizationError::Conflict("AccountAlreadyClosedException", text));
            }
            body.closed_at = Some(permit.now());
            let mut change = org.fenced(permit, Value::Null);
            change.put.push(entity.with(&body));
            Ok((change, ()))
        })
        .await
    }

    /// Gives labels to an account, unit or policy.
    pub async fn tag_member(
        &self,
        permit: &Permit<actions::TagResource>,
        id: &str,
        given: &[Tag],
    ) -> OrganizationResult<()> {
        self.reorganize(|| async {
            let org = self.organization(permit).await?;
            let (entity, tags) = self.relabelled(&org, id, |old| tags::merged(old, given)).await?;
            let mut change = org.fenced(permit, json!({"tags": tags.len()}));
            change.put.push(entity);
            Ok((change, ()))
        })
        .await
    }

    /// Takes labels away.
    pub async fn untag_member(
        &self,
        permit: &Permit<actions::UntagResource>,
        id: &str,
        keys: &[String],
    ) -> OrganizationResult<()> {
        self.reorganize(|| async {
            let org = self.organization(permit).await?;
            let (entity, _) = self.relabelled(&org, id, |old| Ok(tags::without(old, keys))).await?;
            let mut change = org.fenced(permit, Value::Null);
            change.put.push(entity);
            Ok((change, ()))
        })
        .await
    }

    /// The labels.
    pub async fn member_tags(
        &self,
        permit: &Permit<actions::ListTagsForResource>,
        id: &str,
    ) -> OrganizationResult<Vec<Tag>> {
        let org = self.organization(permit).await?;
        Ok(self.relabelled(&org, id, |old| Ok(old.to_vec())).await?.1)
    }

    /// The row of an account, unit or policy with other labels.
    async fn relabelled(
        &self,
        org: &Org,
        id: &str,
        how: impl Fn(&[Tag]) -> crate::Result<Vec<Tag>>,
    ) -> OrganizationResult<(Entity, Vec<Tag>)> {
        if let Some((entity, mut body)) = self.member_row(id).await? {
            body.tags = how(&body.tags)?;
            return Ok((entity.with(&body), body.tags));
        }
        if let Some(mut unit) = self.unit(org, id).await? {
            unit.body.tags = how(&unit.body.tags)?;
            let tags = unit.body.tags.clone();
            return Ok((unit.put(), tags));
        }
        let mut policy = self.control_policy(org, id).await?.ok_or(NO_TARGET)?;
        policy.body.tags = how(&policy.body.tags)?;
        let tags = policy.body.tags.clone();
        Ok((policy.put(), tags))
    }
}

/// Name and address of an account are hidden, as AWS does.
fn shown(request: &Request) -> Value {
    let state = if request.account().is_some() { "SUCCEEDED" } else { "FAILED" };
    json!({"createAccountStatus": {"id": request.entity.id, "state": state, "accountId": request.account()}})
}
