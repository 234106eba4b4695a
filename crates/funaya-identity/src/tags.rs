//! Labels (COMP-006 to COMP-008, COMP-037 to COMP-039, IAM-10).

use funaya_gate::{Action, Permit, Resources, action::iam};
use funaya_ports::identity as rows;
use serde_json::Value;

use crate::{Body, Error, Identities, Page, PageAt, Result, Tag, account, recorded};

const TAGS_MAX: usize = 50;
/// Keys that nobody but AWS may give.
const RESERVED: &str = "aws:";

family! {
    /// Gives labels.
    GivesTags: TagUser User, TagRole Role, TagPolicy ManagedPolicy, TagInstanceProfile InstanceProfile
}
family! {
    /// Takes labels away.
    TakesTags: UntagUser User, UntagRole Role, UntagPolicy ManagedPolicy, UntagInstanceProfile InstanceProfile
}
family! {
    /// Lists labels.
    ListsTags: ListUserTags User, ListRoleTags Role, ListPolicyTags ManagedPolicy, ListInstanceProfileTags InstanceProfile
}

impl Identities {
    /// Gives labels; one with the same key gets the new value.
    pub async fn tag<A: GivesTags>(&self, permit: &Permit<A>, name: &str, tags: &[Tag]) -> Result<()> {
        self.change(|| async {
            let mut held = self.get_named::<A::Of>(account(permit), name).await?;
            let all = merged(held.body.tags(), tags)?;
            if let Some(tags) = held.body.tags_mut() {
                *tags = all;
            }
            let mut change = recorded(permit, Value::Null);
            change.put.push(held.put());
            Ok((change, ()))
        })
        .await
    }

    /// Takes labels away; keys that are not there don't matter.
    pub async fn untag<A: TakesTags>(&self, permit: &Permit<A>, name: &str, keys: &[String]) -> Result<()> {
        self.change(|| async {
            let mut held = self.get_named::<A::Of>(account(permit), name).await?;
            if let Some(tags) = held.body.tags_mut() {
                tags.retain(|(key, _)| !keys.iter().any(|gone| same(gone, key)));
            }
            let mut change = recorded(permit, Value::Null);
            change.put.push(held.put());
            Ok((change, ()))
        })
        .await
    }

    /// The labels, by key.
    pub async fn tags_of<A: ListsTags>(&self, permit: &Permit<A>, name: &str, at: &PageAt) -> Result<Page<Tag>> {
        let held = self.get_named::<A::Of>(account(permit), name).await?;
        Ok(at.of_all(held.body.tags().to_vec(), |(key, _)| key.clone()))
    }
}

/// The labels of something new.
pub(crate) fn fresh(tags: &[Tag]) -> Result<Vec<Tag>> {
    merged(&[], tags)
}

/// Labels with others over them.
pub(crate) fn merged(old: &[Tag], new: &[Tag]) -> Result<Vec<Tag>> {
    let mut all = old.to_vec();
    for (at, (key, value)) in new.iter().enumerate() {
        if key.get(..RESERVED.len()).is_some_and(|start| start.eq_ignore_ascii_case(RESERVED)) {
            return Err(Error::InvalidInput(format!("Tag key {key} is reserved: keys may not begin with {RESERVED}")));
        }
        if new[..at].iter().any(|(earlier, _)| same(earlier, key)) {
            let text = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(Error::InvalidInput(text.into()));
        }
        match all.iter_mut().find(|(known, _)| same(known, key)) {
            Some(known) => *known = (key.clone(), value.clone()),
            None => all.push((key.clone(), value.clone())),
        }
    }
    if all.len() > TAGS_MAX { Err(Error::TooManyTags) } else { Ok(all) }
}

/// Labels without some.
pub(crate) fn without(tags: &[Tag], keys: &[String]) -> Vec<Tag> {
    tags.iter().filter(|(key, _)| !keys.iter().any(|gone| same(gone, key))).cloned().collect()
}

/// Keys are told apart without regard to case.
fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}
