//! The actions that can be permitted, as types: a permit for one is no permit for another.

use std::borrow::Cow;

use funaya_types::RepositoryName;

pub use self::ecr::*;

use crate::permit::{Resources, Scope, Tagged, Target};

/// A service of AWS, as far as this product is it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// The registry.
    Ecr,
    /// Users, groups, roles, policies.
    Iam,
    /// Sessions.
    Sts,
    /// Accounts.
    Organizations,
}

impl Service {
    /// The prefix of its actions, which is its signing name too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ecr => "ecr",
            Self::Iam => "iam",
            Self::Sts => "sts",
            Self::Organizations => "organizations",
        }
    }

    /// The service of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Ecr, Self::Iam, Self::Sts, Self::Organizations].into_iter().find(|service| service.name() == name)
    }

    /// Services that have one endpoint for all Regions; STS has others beside it.
    pub const fn is_global(self) -> bool {
        matches!(self, Self::Iam | Self::Sts | Self::Organizations)
    }
}

/// An action as IAM knows it.
pub trait Action: Send + Sync + 'static {
    /// What the action is on.
    type Target: Target;
    /// The operation.
    const OPERATION: Operation;
}

/// One operation of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// Whose it is.
    pub service: Service,
    /// Its name, which is also the event name of its audit records.
    pub name: &'static str,
    /// Whether it only reads: such records are batched (D8) and carry no answer (TRAIL-13).
    pub is_read_only: bool,
    /// The IAM action that allows it, with its service's prefix, where it is not simply its name.
    action: Option<&'static str>,
}

impl Operation {
    /// A known operation that is not built: authorised under its own name.
    pub const fn unbuilt(service: Service, name: &'static str) -> Self {
        Self { service, name, is_read_only: true, action: None }
    }

    /// The IAM action that allows it (API-73).
    pub fn action(&self) -> Cow<'static, str> {
        match self.action {
            Some(action) => Cow::Borrowed(action),
            None => Cow::Owned(format!("{}:{}", self.service.name(), self.name)),
        }
    }
}

/// Actions that need no permission, and that no policy can forbid (COMP-906).
pub trait FreeAction: Action {}

impl FreeAction for sts::GetCallerIdentity {}
impl FreeAction for sts::GetSessionToken {}

/// Actions that make sessions.
pub trait SessionAction: Action {}

impl SessionAction for sts::AssumeRole {}
impl SessionAction for sts::AssumeRoleWithSAML {}
impl SessionAction for sts::AssumeRoleWithWebIdentity {}
impl SessionAction for sts::GetFederationToken {}
impl SessionAction for sts::GetSessionToken {}

macro_rules! actions {
    ($service:ident $prefix:literal: $($name:ident($target:ty) $kind:ident $($action:literal)?;)*) => {
        $(
            #[doc = concat!("`", $prefix, ":", stringify!($name), "`")]
            #[derive(Debug)]
            pub struct $name;
            impl Action for $name {
                type Target = $target;
                const OPERATION: Operation = Operation {
                    service: Service::$service,
                    name: stringify!($name),
                    is_read_only: actions!(@reads $kind),
                    action: actions!(@action $prefix, $name, $($action)?),
                };
            }
        )*
    };
    (@reads reads) => { true };
    (@reads writes) => { false };
    (@action $prefix:literal, $name:ident,) => { Some(concat!($prefix, ":", stringify!($name))) };
    (@action $prefix:literal, $name:ident, $action:literal) => { Some($action) };
}

/// Actions of ECR.
pub mod ecr {
    use super::*;

    actions! {
        Ecr "ecr":
            BatchCheckLayerAvailability(RepositoryName) reads;
            BatchDeleteImage(RepositoryName) writes;
            BatchGetImage(RepositoryName) reads;
            CompleteLayerUpload(RepositoryName) writes;
            CreateRepository(Tagged) writes;
            DeleteLifecyclePolicy(RepositoryName) writes;
            DeleteRegistryPolicy(()) writes;
            DeleteRepository(RepositoryName) writes;
            DeleteRepositoryPolicy(RepositoryName) writes;
            DeregisterPullTimeUpdateExclusion(()) writes;
            DescribeImages(RepositoryName) reads;
            ListPullTimeUpdateExclusions(()) reads;
            RegisterPullTimeUpdateExclusion(()) writes;
            DescribeRegistry(()) reads;
            DescribeRepositories(Scope) reads;
            GetAuthorizationToken(()) reads;
            GetDownloadUrlForLayer(RepositoryName) reads;
            GetLifecyclePolicy(RepositoryName) reads;
            GetLifecyclePolicyPreview(RepositoryName) reads;
            GetRegistryPolicy(()) reads;
            GetRepositoryPolicy(RepositoryName) reads;
            InitiateLayerUpload(RepositoryName) writes;
            ListImages(RepositoryName) reads;
            ListImageReferrers(RepositoryName) reads "ecr:BatchGetImage";
            ListTagsForResource(RepositoryName) reads;
            PutImage(RepositoryName) writes;
            PutImageTagMutability(RepositoryName) writes;
            PutLifecyclePolicy(RepositoryName) writes;
            PutRegistryPolicy(()) writes;
            StartLifecyclePolicyPreview(RepositoryName) writes;
            SetRepositoryPolicy(RepositoryName) writes;
            TagResource(Tagged) writes;
            UntagResource(Tagged) writes;
            UploadLayerPart(RepositoryName) writes;
            ListDeleted(()) reads "funaya:ListDeleted";
            ResolveTag(RepositoryName) reads "funaya:ResolveTag";
            RestoreImage(RepositoryName) writes "funaya:RestoreImage";
            RestoreRepository(RepositoryName) writes "funaya:RestoreRepository";
            RestoreTag(RepositoryName) writes "funaya:RestoreTag";
    }
}

/// Actions of IAM.
pub mod iam {
    use super::*;

    actions! {
        Iam "iam":
            CreateUser(Resources) writes;
            GetUser(Resources) reads;
            ListUsers(Resources) reads;
            UpdateUser(Resources) writes;
            DeleteUser(Resources) writes;
            TagUser(Resources) writes;
            UntagUser(Resources) writes;
            ListUserTags(Resources) reads;
            CreateLoginProfile(Resources) writes;
            GetLoginProfile(Resources) reads;
            UpdateLoginProfile(Resources) writes;
            DeleteLoginProfile(Resources) writes;
            ChangePassword(Resources) writes;
            CreateAccessKey(Resources) writes;
            ListAccessKeys(Resources) reads;
            UpdateAccessKey(Resources) writes;
            DeleteAccessKey(Resources) writes;
            GetAccessKeyLastUsed(Resources) reads;
            CreateVirtualMFADevice(Resources) writes;
            EnableMFADevice(Resources) writes;
            DeactivateMFADevice(Resources) writes;
            ListMFADevices(Resources) reads;
            ListSSHPublicKeys(Resources) reads;
            ListServiceSpecificCredentials(Resources) reads;
            ListSigningCertificates(Resources) reads;
            DeleteVirtualMFADevice(Resources) writes;
            CreateGroup(Resources) writes;
            GetGroup(Resources) reads;
            ListGroups(Resources) reads;
            UpdateGroup(Resources) writes;
            DeleteGroup(Resources) writes;
            AddUserToGroup(Resources) writes;
            RemoveUserFromGroup(Resources) writes;
            ListGroupsForUser(Resources) reads;
            CreateRole(Resources) writes;
            GetRole(Resources) reads;
            ListRoles(Resources) reads;
            UpdateRole(Resources) writes;
            UpdateRoleDescription(Resources) writes;
            UpdateAssumeRolePolicy(Resources) writes;
            DeleteRole(Resources) writes;
            TagRole(Resources) writes;
            UntagRole(Resources) writes;
            ListRoleTags(Resources) reads;
            CreateInstanceProfile(Resources) writes;
            GetInstanceProfile(Resources) reads;
            ListInstanceProfiles(Resources) reads;
            ListInstanceProfilesForRole(Resources) reads;
            AddRoleToInstanceProfile(Resources) writes;
            RemoveRoleFromInstanceProfile(Resources) writes;
            DeleteInstanceProfile(Resources) writes;
            CreateServiceLinkedRole(Resources) writes;
            PassRole(Resources) reads;
            CreatePolicy(Resources) writes;
            GetPolicy(Resources) reads;
            ListPolicies(Resources) reads;
            DeletePolicy(Resources) writes;
            CreatePolicyVersion(Resources) writes;
            GetPolicyVersion(Resources) reads;
            ListPolicyVersions(Resources) reads;
            SetDefaultPolicyVersion(Resources) writes;
            DeletePolicyVersion(Resources) writes;
            ListEntitiesForPolicy(Resources) reads;
            AttachUserPolicy(Resources) writes;
            DetachUserPolicy(Resources) writes;
            ListAttachedUserPolicies(Resources) reads;
            AttachGroupPolicy(Resources) writes;
            DetachGroupPolicy(Resources) writes;
            ListAttachedGroupPolicies(Resources) reads;
            AttachRolePolicy(Resources) writes;
            DetachRolePolicy(Resources) writes;
            ListAttachedRolePolicies(Resources) reads;
            PutUserPolicy(Resources) writes;
            GetUserPolicy(Resources) reads;
            ListUserPolicies(Resources) reads;
            DeleteUserPolicy(Resources) writes;
            PutGroupPolicy(Resources) writes;
            GetGroupPolicy(Resources) reads;
            ListGroupPolicies(Resources) reads;
            DeleteGroupPolicy(Resources) writes;
            PutRolePolicy(Resources) writes;
            GetRolePolicy(Resources) reads;
            ListRolePolicies(Resources) reads;
            DeleteRolePolicy(Resources) writes;
            PutUserPermissionsBoundary(Resources) writes;
            DeleteUserPermissionsBoundary(Resources) writes;
            PutRolePermissionsBoundary(Resources) writes;
            DeleteRolePermissionsBoundary(Resources) writes;
            SimulatePrincipalPolicy(Resources) reads;
            SimulateCustomPolicy(Resources) reads;
            GetContextKeysForCustomPolicy(Resources) reads;
            GetContextKeysForPrincipalPolicy(Resources) reads;
            CreateAccountAlias(Resources) writes;
            ListAccountAliases(Resources) reads;
            DeleteAccountAlias(Resources) writes;
            GetAccountSummary(Resources) reads;
            GetAccountPasswordPolicy(Resources) reads;
            UpdateAccountPasswordPolicy(Resources) writes;
            DeleteAccountPasswordPolicy(Resources) writes;
            GenerateCredentialReport(Resources) writes;
            GetCredentialReport(Resources) reads;
            GetAccountAuthorizationDetails(Resources) reads;
            ListVirtualMFADevices(Resources) reads;
            ResyncMFADevice(Resources) writes;
            GetMFADevice(Resources) reads;
            TagPolicy(Resources) writes;
            UntagPolicy(Resources) writes;
            ListPolicyTags(Resources) reads;
            TagInstanceProfile(Resources) writes;
            UntagInstanceProfile(Resources) writes;
            ListInstanceProfileTags(Resources) reads;
            TagMFADevice(Resources) writes;
            UntagMFADevice(Resources) writes;
            ListMFADeviceTags(Resources) reads;
            CreateSAMLProvider(Resources) writes;
            GetSAMLProvider(Resources) reads;
            UpdateSAMLProvider(Resources) writes;
            ListSAMLProviders(Resources) reads;
            DeleteSAMLProvider(Resources) writes;
            TagSAMLProvider(Resources) writes;
            UntagSAMLProvider(Resources) writes;
            ListSAMLProviderTags(Resources) reads;
            CreateOpenIDConnectProvider(Resources) writes;
            GetOpenIDConnectProvider(Resources) reads;
            ListOpenIDConnectProviders(Resources) reads;
            DeleteOpenIDConnectProvider(Resources) writes;
            AddClientIDToOpenIDConnectProvider(Resources) writes;
            RemoveClientIDFromOpenIDConnectProvider(Resources) writes;
            UpdateOpenIDConnectProviderThumbprint(Resources) writes;
            TagOpenIDConnectProvider(Resources) writes;
            UntagOpenIDConnectProvider(Resources) writes;
            ListOpenIDConnectProviderTags(Resources) reads;
    }
}

/// Actions of STS.
pub mod sts {
    use super::*;

    actions! {
        Sts "sts":
            AssumeRole(Resources) writes;
            AssumeRoleWithSAML(Resources) writes;
            AssumeRoleWithWebIdentity(Resources) writes;
            GetCallerIdentity(Resources) reads;
            GetFederationToken(Resources) reads;
            GetSessionToken(Resources) reads;
            GetAccessKeyInfo(Resources) reads;
            DecodeAuthorizationMessage(Resources) reads;
            TagSession(Resources) writes;
            SetSourceIdentity(Resources) writes;
    }
}

/// Actions of Organizations.
pub mod organizations {
    use super::*;

    actions! {
        Organizations "organizations":
            CreateOrganization(Resources) writes;
            DescribeOrganization(Resources) reads;
            CreateAccount(Resources) writes;
            DescribeCreateAccountStatus(Resources) reads;
            ListCreateAccountStatus(Resources) reads;
            DescribeAccount(Resources) reads;
            ListAccounts(Resources) reads;
            CloseAccount(Resources) writes;
            ListRoots(Resources) reads;
            ListParents(Resources) reads;
            ListChildren(Resources) reads;
            ListAccountsForParent(Resources) reads;
            CreatePolicy(Resources) writes;
            UpdatePolicy(Resources) writes;
            DeletePolicy(Resources) writes;
            DescribePolicy(Resources) reads;
            ListPolicies(Resources) reads;
            AttachPolicy(Resources) writes;
            DetachPolicy(Resources) writes;
            ListPoliciesForTarget(Resources) reads;
            ListTargetsForPolicy(Resources) reads;
            EnablePolicyType(Resources) writes;
            DisablePolicyType(Resources) writes;
            CreateOrganizationalUnit(Resources) writes;
            DescribeOrganizationalUnit(Resources) reads;
            ListOrganizationalUnitsForParent(Resources) reads;
            UpdateOrganizationalUnit(Resources) writes;
            DeleteOrganizationalUnit(Resources) writes;
            MoveAccount(Resources) writes;
            TagResource(Resources) writes;
            UntagResource(Resources) writes;
            ListTagsForResource(Resources) reads;
    }
}
