//! What an operation of IAM needs: its resource for the gate, its pages, its answer.

use funaya_gate::{Action, Operation as Allowed, Permit, Resources, action::iam};
use funaya_identity::{Error, Identities, Owner, PageAt, Thing};
use funaya_types::{Region, Registry};
use funaya_wire::{
    iam::Operation,
    query::{Answer, Request},
};

use super::{
    super::{Answered, Said, Visit},
    fail,
};
use crate::{
    fail::Fail,
    paging::{self, Paging},
};

/// Where global services are.
const GLOBAL_REGION: &str = "us-east-1";
/// Members that may differ from page to page.
const PAGING: [&str; 2] = ["Marker", "MaxItems"];

/// What an operation is on. The members that say so are read as the shapes read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    /// The account.
    All,
    /// The user named, or else the caller.
    Own,
    /// The caller, whatever the form names.
    Caller,
    User,
    Group,
    Role,
    Profile,
    Policy,
    /// The owner of a key.
    Key,
    NewUser,
    NewGroup,
    NewRole,
    NewProfile,
    NewPolicy,
    /// An MFA device, by its serial number.
    Device,
    NewDevice,
    /// An identity provider, by its ARN.
    Oidc,
    NewOidc,
    Saml,
    NewSaml,
    /// The user, group or role whose policies are simulated.
    Source,
}

/// A call of an operation.
pub(super) struct Desk<'a> {
    pub(super) visit: &'a Visit<'a>,
    pub(super) operation: Operation,
    on: On,
    /// The caller, where it can be a user.
    caller: Option<Owner>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(visit: &'a Visit<'a>, operation: Operation, on: On) -> Self {
        Self { visit, operation, on, caller: Owner::calling(visit.call.caller()) }
    }

    pub(super) fn hall(&self) -> &Identities {
        &self.visit.door.identities
    }

    pub(super) fn read<R: Request>(&self) -> Result<R, Fail> {
        self.visit.read()
    }

    fn registry(&self) -> Result<Registry, Fail> {
        let region: Region = GLOBAL_REGION.parse().map_err(|_| fail::failed())?;
        Ok(Registry { account: self.visit.account(), region })
    }

    fn member(&self, name: &str) -> &str {
        self.visit.form().get(name).unwrap_or_default()
    }

    fn thing(&self) -> Thing<'_> {
        let path = self.visit.form().get("Path").unwrap_or("/");
        match self.on {
            On::All => Thing::All,
            On::Own => match (self.visit.form().get("UserName"), &self.caller) {
                (Some(name), _) => Thing::User(name),
                (None, Some(owner)) => owner.thing(),
                (None, None) => Thing::All,
            },
            On::Caller => self.caller.as_ref().map_or(Thing::All, Owner::thing),
            On::User => Thing::User(self.member("UserName")),
            On::Group => Thing::Group(self.member("GroupName")),
            On::Role => Thing::Role(self.member("RoleName")),
            On::Profile => Thing::Profile(self.member("InstanceProfileName")),
            On::Policy => Thing::Policy(self.member("PolicyArn")),
            On::Key => Thing::OwnerOf(self.member("AccessKeyId")),
            On::NewUser => Thing::New("user", path, self.member("UserName")),
            On::NewGroup => Thing::New("group", path, self.member("GroupName")),
            On::NewRole => Thing::New("role", path, self.member("RoleName")),
            On::NewProfile => Thing::New("instance-profile", path, self.member("InstanceProfileName")),
            On::NewPolicy => Thing::New("policy", path, self.member("PolicyName")),
            On::Device => Thing::Device(self.member("SerialNumber")),
            On::NewDevice => Thing::New("mfa", path, self.member("VirtualMFADeviceName")),
            On::Oidc => Thing::Oidc(self.member("OpenIDConnectProviderArn")),
            On::NewOidc => {
                let url = self.member("Url");
                Thing::New("oidc-provider", "/", url.split_once("://").map_or(url, |(_, bare)| bare))
            }
            On::Saml => Thing::Saml(self.member("SAMLProviderArn")),
            On::NewSaml => Thing::New("saml-provider", "/", self.member("Name")),
            On::Source => Thing::Arn(self.member("PolicySourceArn")),
        }
    }

    /// Whose keys or password: the user named, or else the caller.
    pub(super) fn owner(&self, user_name: Option<String>) -> Result<Owner, Fail> {
        let text = "Must specify userName when calling with non-User credentials";
        let caller = || self.caller.clone().ok_or_else(|| Fail::new("ValidationError", text));
        user_name.map_or_else(caller, |name| Ok(Owner::User(name)))
    }

    /// Asks the gate.
    pub(super) async fn permit<A: Action<Target = Resources>>(&self, mut said: Said) -> Result<Permit<A>, Fail> {
        let (account, thing) = (self.visit.account(), self.thing());
        let resource = self.hall().resource(account, thing).await.map_err(fail::of)?;
        if self.names_policy() {
            said.conditions.push(("iam:PolicyARN", self.member("PolicyArn").to_owned()));
        }
        let boundary = if self.names_boundary() {
            self.visit.form().get("PermissionsBoundary").map(str::to_owned)
        } else if self.heeds_boundary() {
            self.hall().boundary_of(account, thing).await.map_err(fail::of)?
        } else {
            None
        };
        said.conditions.extend(boundary.map(|arn| ("iam:PermissionsBoundary", arn)));
        self.visit.permit(&self.registry()?, said.of(resource)).await
    }

    /// Operations whose shape has `PolicyArn` beside the name of a holder. Of others the member means nothing, and
    /// must not count as a condition.
    fn names_policy(&self) -> bool {
        matches!(
            self.operation,
            Operation::AttachUserPolicy
                | Operation::AttachGroupPolicy
                | Operation::AttachRolePolicy
                | Operation::DetachUserPolicy
                | Operation::DetachGroupPolicy
                | Operation::DetachRolePolicy
        )
    }

    /// Operations whose shape has `PermissionsBoundary`.
    fn names_boundary(&self) -> bool {
        matches!(
            self.operation,
            Operation::CreateUser
                | Operation::CreateRole
                | Operation::PutUserPermissionsBoundary
                | Operation::PutRolePermissionsBoundary
        )
    }

    /// Operations that may be tied to the boundary that the user or role has already.
    fn heeds_boundary(&self) -> bool {
        matches!(
            self.operation,
            Operation::AttachUserPolicy
                | Operation::AttachRolePolicy
                | Operation::DetachUserPolicy
                | Operation::DetachRolePolicy
                | Operation::PutUserPolicy
                | Operation::PutRolePolicy
                | Operation::DeleteUserPolicy
                | Operation::DeleteRolePolicy
                | Operation::DeleteUserPermissionsBoundary
                | Operation::DeleteRolePermissionsBoundary
        )
    }

    /// Whether the caller may hand this role to EC2 (IAM-91).
    pub(super) async fn pass_role<A: Action>(&self, permit: &Permit<A>, role: &str) -> Result<(), Fail> {
        let role = self.hall().resource(self.visit.account(), Thing::Role(role)).await.map_err(fail::of)?;
        let conditions = vec![("iam:PassedToService", "ec2.amazonaws.com".to_owned())];
        let target = Said { conditions, ..Said::default() }.of(role);
        self.visit.also::<A, iam::PassRole>(permit, target).await
    }

    /// Tells how a call went.
    pub(super) async fn tell<A: Action, T, R: Answer>(
        &self,
        permit: &Permit<A>,
        outcome: Result<T, Error>,
        shape: impl FnOnce(T) -> R,
    ) -> Answered {
        match outcome {
            Ok(value) => self.visit.well(permit, shape(value)).await,
            Err(error) => Err(self.visit.ill(permit, fail::of(error)).await),
        }
    }

    /// Records a call that failed before its permit.
    pub(super) async fn refuse(&self, action: Allowed, fail: Fail) -> Fail {
        let resource = self.hall().resource(self.visit.account(), self.thing()).await;
        match (resource, self.registry()) {
            (Ok(resource), Ok(registry)) => self.visit.refuse(&registry, action, resource, fail).await,
            (Err(error), _) => fail::of(error),
            (_, Err(failed)) => failed,
        }
    }

    /// The page that is asked for.
    pub(super) fn page(&self, marker: Option<&str>, max_items: Option<i64>) -> Result<PageAt, Fail> {
        let bad = |_| Fail::new("ValidationError", "Invalid Marker.");
        let after = self.markers(|paging| paging.open(marker)).map_err(bad)?.unwrap_or_default();
        Ok(PageAt { after, limit: paging::limit(max_items, paging::DEFAULT) })
    }

    /// The marker of the next page.
    pub(super) fn marker(&self, next: Option<String>) -> Option<String> {
        next.map(|place| self.markers(|paging| paging.seal(&place)))
    }

    /// A marker is good for the same list only.
    fn markers<T>(&self, with: impl FnOnce(Paging<'_>) -> T) -> T {
        let account = self.visit.account();
        let form = self.visit.form();
        let mut same = vec![account.as_str()];
        for (name, value) in form.pairs().filter(|(name, _)| !PAGING.contains(name) && !name.starts_with("X-Amz-")) {
            same.extend([name, value]);
        }
        with(Paging::new(&self.visit.door.tokens, self.operation.name(), &same))
    }
}
