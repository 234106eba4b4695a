//! IAM (COMP-903).
//!
//! The table says for each operation what it is on and which function does it. A line more, and its function in the
//! file of its kind, and an operation is built; [`Desk`] has what such a function needs.

mod account;
mod attachments;
mod desk;
mod fail;
mod groups;
mod inline;
mod keys;
mod mfa;
mod passwords;
mod png;
mod policies;
mod profiles;
mod providers;
mod roles;
mod shapes;
mod simulate;
mod tags;
mod users;

use funaya_gate::{Action as _, Operation as Allowed, action::iam as actions};
use funaya_wire::iam::Operation;

use super::{Answered, Visit, unknown};
use desk::{Desk, On};

macro_rules! operations {
    ($($name:ident on $on:ident: $module:ident::$function:ident;)*) => {
        /// What an operation is on, and the action that allows it.
        fn row(operation: Operation) -> (On, Allowed) {
            match operation {
                $(Operation::$name => (On::$on, actions::$name::OPERATION),)*
            }
        }

        async fn run(desk: &Desk<'_>) -> Answered {
            match desk.operation {
                $(Operation::$name => $module::$function(desk).await,)*
            }
        }
    };
}

operations! {
    AddClientIDToOpenIDConnectProvider on Oidc: providers::add_client;
    AddRoleToInstanceProfile on Profile: profiles::add_role;
    AddUserToGroup on Group: groups::add;
    AttachGroupPolicy on Group: attachments::attach_to_group;
    AttachRolePolicy on Role: attachments::attach_to_role;
    AttachUserPolicy on User: attachments::attach_to_user;
    ChangePassword on Caller: passwords::change;
    CreateAccessKey on Own: keys::create;
    CreateAccountAlias on All: account::create_alias;
    CreateGroup on NewGroup: groups::create;
    CreateInstanceProfile on NewProfile: profiles::create;
    CreateLoginProfile on Own: passwords::create;
    CreateOpenIDConnectProvider on NewOidc: providers::create_oidc;
    CreatePolicy on NewPolicy: policies::create;
    CreatePolicyVersion on Policy: policies::create_version;
    CreateRole on NewRole: roles::create;
    CreateSAMLProvider on NewSaml: providers::create_saml;
    CreateServiceLinkedRole on All: roles::create_service_linked;
    CreateUser on NewUser: users::create;
    CreateVirtualMFADevice on NewDevice: mfa::create;
    DeactivateMFADevice on Own: mfa::deactivate;
    DeleteAccessKey on Own: keys::delete;
    DeleteAccountAlias on All: account::delete_alias;
    DeleteAccountPasswordPolicy on All: account::delete_password_policy;
    DeleteGroup on Group: groups::delete;
    DeleteGroupPolicy on Group: inline::delete_group;
    DeleteInstanceProfile on Profile: profiles::delete;
    DeleteLoginProfile on Own: passwords::delete;
    DeleteOpenIDConnectProvider on Oidc: providers::delete_oidc;
    DeletePolicy on Policy: policies::delete;
    DeletePolicyVersion on Policy: policies::delete_version;
    DeleteRole on Role: roles::delete;
    DeleteRolePermissionsBoundary on Role: attachments::unbound_role;
    DeleteRolePolicy on Role: inline::delete_role;
    DeleteSAMLProvider on Saml: providers::delete_saml;
    DeleteUser on User: users::delete;
    DeleteUserPermissionsBoundary on User: attachments::unbound_user;
    DeleteUserPolicy on User: inline::delete_user;
    DeleteVirtualMFADevice on Device: mfa::delete;
    DetachGroupPolicy on Group: attachments::detach_from_group;
    DetachRolePolicy on Role: attachments::detach_from_role;
    DetachUserPolicy on User: attachments::detach_from_user;
    EnableMFADevice on User: mfa::enable;
    GenerateCredentialReport on All: account::generate_report;
    GetAccessKeyLastUsed on Key: keys::last_used;
    GetAccountAuthorizationDetails on All: account::details;
    GetAccountPasswordPolicy on All: account::get_password_policy;
    GetAccountSummary on All: account::summary;
    GetContextKeysForCustomPolicy on All: simulate::custom_keys;
    GetContextKeysForPrincipalPolicy on Source: simulate::principal_keys;
    GetCredentialReport on All: account::get_report;
    GetGroup on Group: groups::get;
    GetGroupPolicy on Group: inline::get_group;
    GetInstanceProfile on Profile: profiles::get;
    GetLoginProfile on Own: passwords::get;
    GetMFADevice on Device: mfa::get;
    GetOpenIDConnectProvider on Oidc: providers::get_oidc;
    GetPolicy on Policy: policies::get;
    GetPolicyVersion on Policy: policies::get_version;
    GetRole on Role: roles::get;
    GetRolePolicy on Role: inline::get_role;
    GetSAMLProvider on Saml: providers::get_saml;
    GetUser on Own: users::get;
    GetUserPolicy on User: inline::get_user;
    ListAccessKeys on Own: keys::list;
    ListAccountAliases on All: account::list_aliases;
    ListAttachedGroupPolicies on Group: attachments::of_group;
    ListAttachedRolePolicies on Role: attachments::of_role;
    ListAttachedUserPolicies on User: attachments::of_user;
    ListEntitiesForPolicy on Policy: attachments::entities;
    ListGroupPolicies on Group: inline::list_group;
    ListGroups on All: groups::list;
    ListGroupsForUser on User: groups::list_of_user;
    ListInstanceProfileTags on Profile: tags::list_profile;
    ListInstanceProfiles on All: profiles::list;
    ListInstanceProfilesForRole on Role: profiles::list_of_role;
    ListMFADeviceTags on Device: mfa::tags;
    ListMFADevices on Own: mfa::list;
    ListOpenIDConnectProviderTags on Oidc: providers::oidc_tags;
    ListOpenIDConnectProviders on All: providers::list_oidc;
    ListPolicies on All: policies::list;
    ListPolicyTags on Policy: tags::list_policy;
    ListPolicyVersions on Policy: policies::list_versions;
    ListRolePolicies on Role: inline::list_role;
    ListRoleTags on Role: tags::list_role;
    ListRoles on All: roles::list;
    ListSAMLProviderTags on Saml: providers::saml_tags;
    ListSAMLProviders on All: providers::list_saml;
    ListSSHPublicKeys on Own: keys::list_ssh;
    ListServiceSpecificCredentials on Own: keys::list_service_specific;
    ListSigningCertificates on Own: keys::list_certificates;
    ListUserPolicies on User: inline::list_user;
    ListUserTags on User: tags::list_user;
    ListUsers on All: users::list;
    ListVirtualMFADevices on All: mfa::list_virtual;
    PutGroupPolicy on Group: inline::put_group;
    PutRolePermissionsBoundary on Role: attachments::bound_role;
    PutRolePolicy on Role: inline::put_role;
    PutUserPermissionsBoundary on User: attachments::bound_user;
    PutUserPolicy on User: inline::put_user;
    RemoveClientIDFromOpenIDConnectProvider on Oidc: providers::remove_client;
    RemoveRoleFromInstanceProfile on Profile: profiles::remove_role;
    RemoveUserFromGroup on Group: groups::remove;
    ResyncMFADevice on User: mfa::resync;
    SetDefaultPolicyVersion on Policy: policies::set_default_version;
    SimulateCustomPolicy on All: simulate::custom;
    SimulatePrincipalPolicy on Source: simulate::principal;
    TagInstanceProfile on Profile: tags::tag_profile;
    TagMFADevice on Device: mfa::tag;
    TagOpenIDConnectProvider on Oidc: providers::tag_oidc;
    TagPolicy on Policy: tags::tag_policy;
    TagRole on Role: tags::tag_role;
    TagSAMLProvider on Saml: providers::tag_saml;
    TagUser on User: tags::tag_user;
    UntagInstanceProfile on Profile: tags::untag_profile;
    UntagMFADevice on Device: mfa::untag;
    UntagOpenIDConnectProvider on Oidc: providers::untag_oidc;
    UntagPolicy on Policy: tags::untag_policy;
    UntagRole on Role: tags::untag_role;
    UntagSAMLProvider on Saml: providers::untag_saml;
    UntagUser on User: tags::untag_user;
    UpdateAccessKey on Own: keys::update;
    UpdateAccountPasswordPolicy on All: account::update_password_policy;
    UpdateAssumeRolePolicy on Role: roles::update_trust;
    UpdateGroup on Group: groups::update;
    UpdateLoginProfile on User: passwords::update;
    UpdateOpenIDConnectProviderThumbprint on Oidc: providers::set_thumbprints;
    UpdateRole on Role: roles::update;
    UpdateRoleDescription on Role: roles::update_description;
    UpdateSAMLProvider on Saml: providers::update_saml;
    UpdateUser on User: users::update;
}

/// Does an operation.
pub(super) async fn dispatch(visit: &Visit<'_>) -> Answered {
    let operation = visit.form().action().and_then(Operation::parse);
    let Some(operation) = operation else { return Err(unknown(visit.form())) };
    let (on, action) = row(operation);
    let desk = Desk::new(visit, operation, on);
    match run(&desk).await {
        Err(fail) if !fail.recorded => Err(desk.refuse(action, fail).await),
        outcome => outcome,
    }
}

/// The actions of all operations as text, one line each, for the documentation.
pub(crate) fn table() -> String {
    let line = |operation: &Operation| {
        format!(
            "| `{}` | {} |
",
            operation.name(),
            row(*operation).1.action()
        )
    };
    Operation::ALL.iter().map(line).collect()
}
