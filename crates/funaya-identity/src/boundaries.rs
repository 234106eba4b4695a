//! Permissions boundaries (COMP-079 to COMP-082, IAM-22).

use funaya_gate::{Action, Permit, Resources, action::iam};
use funaya_policy::managed;
use funaya_ports::identity::{self as rows, Change, Link, Relation};
use funaya_types::AccountId;
use serde_json::Value;

use crate::{Body, Error, Held, Identities, Result, account, recorded};

family! {
    /// Sets a boundary.
    Bounds: PutUserPermissionsBoundary User, PutRolePermissionsBoundary Role
}
family! {
    /// Takes a boundary away.
    Unbounds: DeleteUserPermissionsBoundary User, DeleteRolePermissionsBoundary Role
}

impl Identities {
    /// Sets the permissions boundary of a user or role, in place of the one it had.
    pub async fn put_boundary<A: Bounds>(&self, permit: &Permit<A>, name: &str, arn: &str) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let held = self.get::<A::Of>(account, name).await?;
            let mut change = recorded(permit, Value::Null);
            change.guard.push(held.guard());
            if let Some(old) = self.boundary(account, held.id()).await? {
                change.unlink.push(boundary_link(account, held.id(), &old));
            }
            self.bound(account, held.id(), arn, &mut change).await?;
            Ok((change, ()))
        })
        .await
    }

    /// Takes the permissions boundary of a user or role away.
    pub async fn delete_boundary<A: Unbounds>(&self, permit: &Permit<A>, name: &str) -> Result<()> {
        let account = account(permit);
        self.change(|| async {
            let held = self.get::<A::Of>(account, name).await?;
            let missing = || Error::NoBoundary { holder: A::Of::NOUN, name: name.to_owned() };
            let old = self.boundary(account, held.id()).await?.ok_or_else(missing)?;
            let mut change = recorded(permit, Value::Null);
            change.guard.push(held.guard());
            change.unlink.push(boundary_link(account, held.id(), &old));
            Ok((change, ()))
        })
        .await
    }

    /// Adds a boundary to a change. The policy must be there, also when the change happens.
    pub(crate) async fn bound(&self, account: AccountId, id: &str, arn: &str, change: &mut Change) -> Result<()> {
        self.lean_on(account, arn, change).await?;
        change.link.push(boundary_link(account, id, arn));
        Ok(())
    }

    /// Makes a change happen only if a managed policy is there and stays.
    pub(crate) async fn lean_on(&self, account: AccountId, arn: &str, change: &mut Change) -> Result<()> {
        if managed::by_arn(arn).is_none() {
            let policy = self.policy_by_arn(account, arn).await?;
            let policy = policy.ok_or_else(|| Error::NotAttachable(arn.to_owned()))?;
            change.guard.push(policy.guard());
        }
        Ok(())
    }

    /// A customer managed policy of the account.
    pub(crate) async fn policy_by_arn(
        &self,
        account: AccountId,
        arn: &str,
    ) -> Result<Option<Held<rows::ManagedPolicy>>> {
        let name = arn.rsplit('/').next().unwrap_or(arn);
        Ok(self.find::<rows::ManagedPolicy>(account, name).await?.filter(|held| held.arn() == arn))
    }
}

fn boundary_link(account: AccountId, id: &str, arn: &str) -> Link {
    Link { account, relation: Relation::BoundedBy, from: id.to_owned(), to: arn.to_owned() }
}
