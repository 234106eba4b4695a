//! Inline policies of users, groups and roles (COMP-067 to COMP-078).

use std::collections::BTreeMap;

use funaya_gate::{Action, Permit, Resources, action::iam};
use funaya_policy::{Document, Kind};
use funaya_ports::identity as rows;
use serde_json::Value;

use crate::{Body, Error, Identities, Page, PageAt, Result, account, recorded};

/// What policies hang on.
pub trait Holder: Body {
    /// Characters of its inline policies together, white space not counted (COMP-905).
    const INLINE_MAX: usize;
    /// What the quota of its managed policies is called.
    const ATTACHED_QUOTA: &'static str;

    /// Its inline policies by name.
    fn inline(&self) -> &BTreeMap<String, String>;
    /// The same, to be changed.
    fn inline_mut(&mut self) -> &mut BTreeMap<String, String>;
}

macro_rules! holders {
    ($($body:ident $max:literal $quota:literal;)*) => {
        $(
            impl Holder for rows::$body {
                const INLINE_MAX: usize = $max;
                const ATTACHED_QUOTA: &'static str = $quota;

                fn inline(&self) -> &BTreeMap<String, String> {
                    &self.inline
                }

                fn inline_mut(&mut self) -> &mut BTreeMap<String, String> {
                    &mut self.inline
                }
            }
        )*
    };
}

holders! {
    User 2_048 "PoliciesPerUser";
    Group 5_120 "PoliciesPerGroup";
    Role 10_240 "PoliciesPerRole";
}

family! {
    /// Puts an inline policy.
    PutsInline of Holder: PutUserPolicy User, PutGroupPolicy Group, PutRolePolicy Role
}
family! {
    /// Reads an inline policy.
    GetsInline of Holder: GetUserPolicy User, GetGroupPolicy Group, GetRolePolicy Role
}
family! {
    /// Lists inline policies.
    ListsInline of Holder: ListUserPolicies User, ListGroupPolicies Group, ListRolePolicies Role
}
family! {
    /// Deletes an inline policy.
    DeletesInline of Holder: DeleteUserPolicy User, DeleteGroupPolicy Group, DeleteRolePolicy Role
}

/// An inline policy.
#[derive(Clone, Debug)]
pub struct Inline {
    /// Of whom: the name as it was given when that was made.
    pub holder: String,
    /// Its name.
    pub name: String,
    /// The document as it was put.
    pub document: String,
}

impl Identities {
    /// Puts an inline policy, in place of one of the same name.
    pub async fn put_inline<A: PutsInline>(
        &self,
        permit: &Permit<A>,
        holder: &str,
        name: &str,
        document: &str,
    ) -> Result<()> {
        self.change(|| async {
            let mut held = self.get::<A::Of>(account(permit), holder).await?;
            check(document)?;
            held.body.inline_mut().insert(name.to_owned(), document.to_owned());
            let size: usize = held.body.inline().values().map(|text| Kind::Identity.size_of(text)).sum();
            if size > A::Of::INLINE_MAX {
                let name = held.body.name().to_owned();
                return Err(Error::InlineSize { max: A::Of::INLINE_MAX, holder: A::Of::NOUN, name });
            }
            let mut change = recorded(permit, Value::Null);
            change.put.push(held.put());
            Ok((change, ()))
        })
        .await
    }

    /// An inline policy.
    pub async fn inline<A: GetsInline>(&self, permit: &Permit<A>, holder: &str, name: &str) -> Result<Inline> {
        let held = self.get::<A::Of>(account(permit), holder).await?;
        let document = held.body.inline().get(name).ok_or_else(|| missing::<A::Of>(name))?;
        Ok(Inline { holder: held.body.name().to_owned(), name: name.to_owned(), document: document.clone() })
    }

    /// The names of inline policies.
    pub async fn inline_names<A: ListsInline>(
        &self,
        permit: &Permit<A>,
        holder: &str,
        at: &PageAt,
    ) -> Result<Page<String>> {
        let held = self.get::<A::Of>(account(permit), holder).await?;
        Ok(at.of_all(held.body.inline().keys().cloned().collect(), String::clone))
    }

    /// Deletes an inline policy.
    pub async fn delete_inline<A: DeletesInline>(&self, permit: &Permit<A>, holder: &str, name: &str) -> Result<()> {
        self.change(|| async {
            let mut held = self.get::<A::Of>(account(permit), holder).await?;
            held.body.inline_mut().remove(name).ok_or_else(|| missing::<A::Of>(name))?;
            let mut change = recorded(permit, Value::Null);
            change.put.push(held.put());
            Ok((change, ()))
        })
        .await
    }
}

fn missing<B: Body>(name: &str) -> Error {
    Error::NoInline { holder: B::NOUN, name: name.to_owned() }
}

/// Their size is looked at together.
fn check(document: &str) -> Result<()> {
    match Document::parse_within(document, Kind::Identity, usize::MAX) {
        Ok(_) => Ok(()),
        Err(fault) => Err(Error::Malformed(fault.text().to_owned())),
    }
}
