//! Inline policies of users, groups and roles (COMP-067 to COMP-078).

use funaya_gate::action::iam as actions;
use funaya_wire::iam;

use super::{
    super::{Answered, Said},
    desk::Desk,
    shapes,
};

/// The four operations of one kind; `$name`: the member that names the holder.
macro_rules! inline {
    ($name:ident: $put:ident $put_action:ident $put_request:ident $put_response:ident,
     $get:ident $get_action:ident $get_request:ident $get_response:ident,
     $list:ident $list_action:ident $list_request:ident $list_response:ident,
     $delete:ident $delete_action:ident $delete_request:ident $delete_response:ident) => {
        pub(super) async fn $put(desk: &Desk<'_>) -> Answered {
            let request: iam::$put_request = desk.read()?;
            let permit = desk.permit::<actions::$put_action>(Said::default()).await?;
            let (holder, document) = (&request.$name, &request.policy_document);
            let done = desk.hall().put_inline(&permit, holder, &request.policy_name, document).await;
            desk.tell(&permit, done, |()| iam::$put_response {}).await
        }

        pub(super) async fn $get(desk: &Desk<'_>) -> Answered {
            let request: iam::$get_request = desk.read()?;
            let permit = desk.permit::<actions::$get_action>(Said::default()).await?;
            let found = desk.hall().inline(&permit, &request.$name, &request.policy_name).await;
            desk.tell(&permit, found, |policy| iam::$get_response {
                $name: policy.holder,
                policy_name: policy.name,
                policy_document: shapes::encoded(&policy.document),
            })
            .await
        }

        pub(super) async fn $list(desk: &Desk<'_>) -> Answered {
            let request: iam::$list_request = desk.read()?;
            let at = desk.page(request.marker.as_deref(), request.max_items)?;
            let permit = desk.permit::<actions::$list_action>(Said::default()).await?;
            let found = desk.hall().inline_names(&permit, &request.$name, &at).await;
            desk.tell(&permit, found, |page| iam::$list_response {
                is_truncated: Some(page.next.is_some()),
                marker: desk.marker(page.next),
                policy_names: page.items,
            })
            .await
        }

        pub(super) async fn $delete(desk: &Desk<'_>) -> Answered {
            let request: iam::$delete_request = desk.read()?;
            let permit = desk.permit::<actions::$delete_action>(Said::default()).await?;
            let done = desk.hall().delete_inline(&permit, &request.$name, &request.policy_name).await;
            desk.tell(&permit, done, |()| iam::$delete_response {}).await
        }
    };
}

inline!(user_name:
    put_user PutUserPolicy PutUserPolicyRequest PutUserPolicyResponse,
    get_user GetUserPolicy GetUserPolicyRequest GetUserPolicyResponse,
    list_user ListUserPolicies ListUserPoliciesRequest ListUserPoliciesResponse,
    delete_user DeleteUserPolicy DeleteUserPolicyRequest DeleteUserPolicyResponse);
inline!(group_name:
    put_group PutGroupPolicy PutGroupPolicyRequest PutGroupPolicyResponse,
    get_group GetGroupPolicy GetGroupPolicyRequest GetGroupPolicyResponse,
    list_group ListGroupPolicies ListGroupPoliciesRequest ListGroupPoliciesResponse,
    delete_group DeleteGroupPolicy DeleteGroupPolicyRequest DeleteGroupPolicyResponse);
inline!(role_name:
    put_role PutRolePolicy PutRolePolicyRequest PutRolePolicyResponse,
    get_role GetRolePolicy GetRolePolicyRequest GetRolePolicyResponse,
    list_role ListRolePolicies ListRolePoliciesRequest ListRolePoliciesResponse,
    delete_role DeleteRolePolicy DeleteRolePolicyRequest DeleteRolePolicyResponse);
