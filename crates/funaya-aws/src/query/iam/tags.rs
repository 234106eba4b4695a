//! Labels of users, roles, policies and instance profiles (COMP-006 to COMP-008, COMP-037 to COMP-039).

use funaya_gate::action::iam as actions;
use funaya_wire::iam;

use super::{
    super::{Answered, Said},
    desk::Desk,
    shapes,
};

/// The three operations of one kind; `$name`: the member that names what is labelled.
macro_rules! labels {
    ($name:ident: $tag:ident $tag_request:ident $tag_response:ident $tag_action:ident,
     $untag:ident $untag_request:ident $untag_response:ident $untag_action:ident,
     $list:ident $list_request:ident $list_response:ident $list_action:ident) => {
        pub(super) async fn $tag(desk: &Desk<'_>) -> Answered {
            let request: iam::$tag_request = desk.read()?;
            let tags = shapes::given(Some(request.tags));
            let said = Said { tags: tags.clone(), ..Said::default() };
            let permit = desk.permit::<actions::$tag_action>(said).await?;
            let done = desk.hall().tag(&permit, &request.$name, &tags).await;
            desk.tell(&permit, done, |()| iam::$tag_response {}).await
        }

        pub(super) async fn $untag(desk: &Desk<'_>) -> Answered {
            let request: iam::$untag_request = desk.read()?;
            let said = Said { keys: request.tag_keys.clone(), ..Said::default() };
            let permit = desk.permit::<actions::$untag_action>(said).await?;
            let done = desk.hall().untag(&permit, &request.$name, &request.tag_keys).await;
            desk.tell(&permit, done, |()| iam::$untag_response {}).await
        }

        pub(super) async fn $list(desk: &Desk<'_>) -> Answered {
            let request: iam::$list_request = desk.read()?;
            let at = desk.page(request.marker.as_deref(), request.max_items)?;
            let permit = desk.permit::<actions::$list_action>(Said::default()).await?;
            let found = desk.hall().tags_of(&permit, &request.$name, &at).await;
            desk.tell(&permit, found, |page| iam::$list_response {
                is_truncated: Some(page.next.is_some()),
                marker: desk.marker(page.next),
                tags: shapes::all_tags(&page.items),
            })
            .await
        }
    };
}

labels!(user_name:
    tag_user TagUserRequest TagUserResponse TagUser,
    untag_user UntagUserRequest UntagUserResponse UntagUser,
    list_user ListUserTagsRequest ListUserTagsResponse ListUserTags);
labels!(role_name:
    tag_role TagRoleRequest TagRoleResponse TagRole,
    untag_role UntagRoleRequest UntagRoleResponse UntagRole,
    list_role ListRoleTagsRequest ListRoleTagsResponse ListRoleTags);
labels!(policy_arn:
    tag_policy TagPolicyRequest TagPolicyResponse TagPolicy,
    untag_policy UntagPolicyRequest UntagPolicyResponse UntagPolicy,
    list_policy ListPolicyTagsRequest ListPolicyTagsResponse ListPolicyTags);
labels!(instance_profile_name:
    tag_profile TagInstanceProfileRequest TagInstanceProfileResponse TagInstanceProfile,
    untag_profile UntagInstanceProfileRequest UntagInstanceProfileResponse UntagInstanceProfile,
    list_profile ListInstanceProfileTagsRequest ListInstanceProfileTagsResponse ListInstanceProfileTags);
