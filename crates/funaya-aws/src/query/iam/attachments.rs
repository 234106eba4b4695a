//! Managed policies and boundaries on users, groups and roles (COMP-057 to COMP-066, COMP-079 to COMP-082).

use funaya_gate::action::iam as actions;
use funaya_identity::{Kind, Wanted};
use funaya_wire::iam::{self, EntityType, PolicyGroup, PolicyRole, PolicyUsageType, PolicyUser};

use super::{
    super::{Answered, Said},
    desk::Desk,
    shapes,
};
use crate::fail::Fail;

/// Operations with a name and an ARN, and nothing to tell.
macro_rules! change {
    ($function:ident $method:ident $action:ident $request:ident($($member:ident),*) $response:ident) => {
        pub(super) async fn $function(desk: &Desk<'_>) -> Answered {
            let request: iam::$request = desk.read()?;
            let permit = desk.permit::<actions::$action>(Said::default()).await?;
            let done = desk.hall().$method(&permit, $(&request.$member),*).await;
            desk.tell(&permit, done, |()| iam::$response {}).await
        }
    };
}

macro_rules! list {
    ($function:ident $action:ident $request:ident($member:ident) $response:ident) => {
        pub(super) async fn $function(desk: &Desk<'_>) -> Answered {
            let request: iam::$request = desk.read()?;
            let at = desk.page(request.marker.as_deref(), request.max_items)?;
            let permit = desk.permit::<actions::$action>(Said::default()).await?;
            let found = desk.hall().attached(&permit, &request.$member, request.path_prefix.as_deref(), &at).await;
            desk.tell(&permit, found, |page| iam::$response {
                is_truncated: Some(page.next.is_some()),
                marker: desk.marker(page.next),
                attached_policies: Some(page.items.into_iter().map(shapes::attached).collect()),
            })
            .await
        }
    };
}

change!(attach_to_user attach AttachUserPolicy AttachUserPolicyRequest(user_name, policy_arn) AttachUserPolicyResponse);
change!(attach_to_group attach AttachGroupPolicy AttachGroupPolicyRequest(group_name, policy_arn)
    AttachGroupPolicyResponse);
change!(attach_to_role attach AttachRolePolicy AttachRolePolicyRequest(role_name, policy_arn) AttachRolePolicyResponse);
change!(detach_from_user detach DetachUserPolicy DetachUserPolicyRequest(user_name, policy_arn)
    DetachUserPolicyResponse);
change!(detach_from_group detach DetachGroupPolicy DetachGroupPolicyRequest(group_name, policy_arn)
    DetachGroupPolicyResponse);
change!(detach_from_role detach DetachRolePolicy DetachRolePolicyRequest(role_name, policy_arn)
    DetachRolePolicyResponse);
change!(bound_user put_boundary PutUserPermissionsBoundary
    PutUserPermissionsBoundaryRequest(user_name, permissions_boundary) PutUserPermissionsBoundaryResponse);
change!(bound_role put_boundary PutRolePermissionsBoundary
    PutRolePermissionsBoundaryRequest(role_name, permissions_boundary) PutRolePermissionsBoundaryResponse);
change!(unbound_user delete_boundary DeleteUserPermissionsBoundary DeleteUserPermissionsBoundaryRequest(user_name)
    DeleteUserPermissionsBoundaryResponse);
change!(unbound_role delete_boundary DeleteRolePermissionsBoundary DeleteRolePermissionsBoundaryRequest(role_name)
    DeleteRolePermissionsBoundaryResponse);
list!(of_user ListAttachedUserPolicies ListAttachedUserPoliciesRequest(user_name) ListAttachedUserPoliciesResponse);
list!(of_group ListAttachedGroupPolicies ListAttachedGroupPoliciesRequest(group_name)
    ListAttachedGroupPoliciesResponse);
list!(of_role ListAttachedRolePolicies ListAttachedRolePoliciesRequest(role_name) ListAttachedRolePoliciesResponse);

pub(super) async fn entities(desk: &Desk<'_>) -> Answered {
    let request: iam::ListEntitiesForPolicyRequest = desk.read()?;
    let at = desk.page(request.marker.as_deref(), request.max_items)?;
    let wanted = Wanted {
        kind: request.entity_filter.map(kind).transpose()?,
        path_prefix: request.path_prefix,
        as_boundary: request.policy_usage_filter.map(|usage| usage == PolicyUsageType::PermissionsBoundary),
    };
    let permit = desk.permit::<actions::ListEntitiesForPolicy>(Said::default()).await?;
    let found = desk.hall().having(&permit, &request.policy_arn, &wanted, &at).await;
    desk.tell(&permit, found, |page| {
        let (mut users, mut groups, mut roles) = (Vec::new(), Vec::new(), Vec::new());
        for having in page.items {
            let (name, id) = (Some(having.name), Some(having.id));
            match having.kind {
                Kind::User => users.push(PolicyUser { user_name: name, user_id: id }),
                Kind::Group => groups.push(PolicyGroup { group_name: name, group_id: id }),
                _ => roles.push(PolicyRole { role_name: name, role_id: id }),
            }
        }
        iam::ListEntitiesForPolicyResponse {
            policy_groups: Some(groups),
            policy_users: Some(users),
            policy_roles: Some(roles),
            is_truncated: Some(page.next.is_some()),
            marker: desk.marker(page.next),
        }
    })
    .await
}

fn kind(filter: EntityType) -> Result<Kind, Fail> {
    match filter {
        EntityType::User => Ok(Kind::User),
        EntityType::Group => Ok(Kind::Group),
        EntityType::Role => Ok(Kind::Role),
        EntityType::LocalManagedPolicy | EntityType::AWSManagedPolicy => {
            Err(Fail::new("ValidationError", "The filter of entities must be User, Role or Group."))
        }
    }
}
