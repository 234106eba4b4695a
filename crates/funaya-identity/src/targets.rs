//! What an operation is on, as policies see it: before a permit, so before anybody may know what exists (IAM-34).

use funaya_gate::Resource;
use funaya_policy::managed;
use funaya_ports::identity::{self as rows, AccessKey, Kind, Relation};
use funaya_types::AccountId;

use crate::{
    Error, Identities, Result,
    body::{Body, Held, arn, held},
    row,
};

/// Something that IAM's operations are on.
#[derive(Clone, Copy, Debug)]
pub enum Thing<'a> {
    /// The account as a whole.
    All,
    /// The account's root.
    Root,
    /// A user.
    User(&'a str),
    /// A group.
    Group(&'a str),
    /// A role.
    Role(&'a str),
    /// An instance profile.
    Profile(&'a str),
    /// A managed policy, by its ARN.
    Policy(&'a str),
    /// One that is going to be made: noun, path, name.
    New(&'static str, &'a str, &'a str),
    /// The owner of an access key.
    OwnerOf(&'a str),
    /// An MFA device, by its serial number.
    Device(&'a str),
    /// An OpenID Connect provider, by its ARN.
    Oidc(&'a str),
    /// A SAML provider, by its ARN.
    Saml(&'a str),
    /// Whatever has this ARN; its labels don't count.
    Arn(&'a str),
}

impl Identities {
    /// What the gate is to judge. A thing that does not exist has an ARN without path and no labels.
    pub async fn resource(&self, account: AccountId, thing: Thing<'_>) -> Result<Resource> {
        match thing {
            Thing::All => Ok(Resource::plain("*")),
            Thing::Root => Ok(Resource::plain(format!("arn:aws:iam::{account}:root"))),
            Thing::User(name) => self.named::<rows::User>(account, name).await,
            Thing::Group(name) => self.named::<rows::Group>(account, name).await,
            Thing::Role(name) => self.named::<rows::Role>(account, name).await,
            Thing::Profile(name) => self.named::<rows::InstanceProfile>(account, name).await,
            Thing::Policy(arn) => self.policy(account, arn).await,
            Thing::New(noun, path, name) => Ok(Resource::plain(arn(account, noun, path, name))),
            Thing::OwnerOf(key) => self.owner(key).await,
            Thing::Device(serial) => {
                let found = self.row::<rows::MfaDevice>(&row::key(account, Kind::MfaDevice, serial)).await?;
                Ok(by_arn(serial, found.map(|row| row.body.tags)))
            }
            Thing::Oidc(arn) => Ok(by_arn(arn, known(self.oidc_by_arn(account, arn).await)?.map(|row| row.body.tags))),
            Thing::Saml(arn) => Ok(by_arn(arn, known(self.saml_by_arn(account, arn).await)?.map(|row| row.body.tags))),
            Thing::Arn(arn) => Ok(Resource::plain(arn)),
        }
    }

    /// The ARN of the permissions boundary that a user or role has, for `iam:PermissionsBoundary`.
    pub async fn boundary_of(&self, account: AccountId, thing: Thing<'_>) -> Result<Option<String>> {
        let id = match thing {
            Thing::User(name) => self.find::<rows::User>(account, name).await?.map(|held| held.entity.id),
            Thing::Role(name) => self.find::<rows::Role>(account, name).await?.map(|held| held.entity.id),
            _ => None,
        };
        match id {
            Some(id) => self.boundary(account, &id).await,
            None => Ok(None),
        }
    }

    pub(crate) async fn boundary(&self, account: AccountId, id: &str) -> Result<Option<String>> {
        Ok(self.store().links_from(&account, Relation::BoundedBy, id).await?.into_iter().next())
    }

    async fn named<B: Body>(&self, account: AccountId, name: &str) -> Result<Resource> {
        let found = self.find::<B>(account, name).await?;
        Ok(found.map_or_else(|| Resource::plain(arn(account, B::NOUN, "/", name)), |held| labelled(&held)))
    }

    async fn policy(&self, account: AccountId, arn: &str) -> Result<Resource> {
        if managed::by_arn(arn).is_some() {
            return Ok(Resource::plain(arn));
        }
        let found = self.policy_by_arn(account, arn).await?;
        Ok(found.map_or_else(|| Resource::plain(arn), |held| labelled(&held)))
    }

    async fn owner(&self, key: &str) -> Result<Resource> {
        let key = self.store().entity_by_id(key).await?.filter(|entity| entity.place.kind == Kind::AccessKey);
        let Some(key) = key else { return Ok(Resource::plain("*")) };
        let account = key.place.account;
        let Some(user) = key.read::<AccessKey>()?.user_id else {
            return Ok(Resource::plain(format!("arn:aws:iam::{account}:root")));
        };
        let user = self.store().entity_by_id(&user).await?.map(held::<rows::User>).transpose()?;
        Ok(user.map_or_else(|| Resource::plain("*"), |held| labelled(&held)))
    }
}

/// What is not there has no labels; what can't be read may have some.
fn known<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Error::NoProvider(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn by_arn(arn: &str, tags: Option<Vec<rows::Tag>>) -> Resource {
    Resource { tags: tags.unwrap_or_default(), ..Resource::plain(arn) }
}

fn labelled<B: Body>(held: &Held<B>) -> Resource {
    Resource { tags: held.body.tags().to_vec(), ..Resource::plain(held.arn()) }
}
