//! Labels of repositories (04-repository-tags).

use std::collections::HashSet;

use bytes::Bytes;
use funaya_gate::{
    Permit, Tagged,
    action::{ListTagsForResource, TagResource, UntagResource},
};
use funaya_types::{RepositoryArn, ResourceTag, limits};
use funaya_wire::ecr::{
    ListTagsForResourceRequest, ListTagsForResourceResponse, Tag, TagResourceRequest, TagResourceResponse,
    UntagResourceRequest, UntagResourceResponse,
};

use crate::{
    answer::json,
    door::{Door, Visit},
    fail::Fail,
};

/// API-27
pub(crate) async fn tag(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = TagResourceRequest::from_json(&visit.body)?;
    let arn = resource(door, visit, &request.resource_arn)?;
    let target = Tagged { tags: pairs(&request.tags), ..Tagged::plain(arn.name) };
    let permit: Permit<TagResource> = door.permit(visit, &arn.registry, target).await?;
    let tags = resource_tags(&request.tags)?;
    let done = door.hall.tag_resource(&permit, tags).await;
    door.checked(&permit, done).await?;
    Ok(json(&TagResourceResponse {}))
}

/// API-28
pub(crate) async fn untag(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = UntagResourceRequest::from_json(&visit.body)?;
    let arn = resource(door, visit, &request.resource_arn)?;
    let target = Tagged { keys: request.tag_keys.clone(), ..Tagged::plain(arn.name) };
    let permit: Permit<UntagResource> = door.permit(visit, &arn.registry, target).await?;
    if request.tag_keys.iter().any(|key| key.starts_with("aws:")) {
        return Err(reserved());
    }
    let done = door.hall.untag_resource(&permit, request.tag_keys).await;
    door.checked(&permit, done).await?;
    Ok(json(&UntagResourceResponse {}))
}

/// API-19
pub(crate) async fn list(door: &Door, visit: &Visit) -> Result<Bytes, Fail> {
    let request = ListTagsForResourceRequest::from_json(&visit.body)?;
    let arn = resource(door, visit, &request.resource_arn)?;
    let permit: Permit<ListTagsForResource> = door.permit(visit, &arn.registry, arn.name).await?;
    let tags = door.hall.resource_tags(&permit).await;
    let tags = door.checked(&permit, tags).await?;
    door.gate.record_read(&permit).await;
    let tags = tags.iter().map(|tag| Tag { key: tag.key().into(), value: tag.value().into() }).collect();
    Ok(json(&ListTagsForResourceResponse { tags: Some(tags) }))
}

/// The repository that an ARN names, in the Region called (TAG-32).
fn resource(door: &Door, visit: &Visit, arn: &str) -> Result<RepositoryArn, Fail> {
    let invalid = || Fail::parameter("resourceArn", "Invalid ARN");
    let arn: RepositoryArn = arn.parse().map_err(|_| invalid())?;
    if arn.registry.region == door.own_registry(visit).region { Ok(arn) } else { Err(invalid()) }
}

/// Labels as the gate wants them.
pub(crate) fn pairs(tags: &[Tag]) -> Vec<(String, String)> {
    tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect()
}

/// TAG-20 to TAG-26
pub(crate) fn resource_tags(tags: &[Tag]) -> Result<Vec<ResourceTag>, Fail> {
    if tags.len() > limits::RESOURCE_TAGS_MAX {
        let text = format!("A repository may have at most {} tags", limits::RESOURCE_TAGS_MAX);
        return Err(Fail::new("TooManyTagsException", text));
    }
    let mut keys = HashSet::new();
    tags.iter()
        .map(|tag| {
            if tag.key.starts_with("aws:") || tag.value.starts_with("aws:") {
                return Err(reserved());
            }
            if !keys.insert(tag.key.as_str()) {
                let text = format!("The tag key '{}' is given more than once", tag.key);
                return Err(Fail::new("InvalidTagParameterException", text));
            }
            ResourceTag::new(&tag.key, &tag.value).map_err(|bad| {
                let text = format!("The tag with key '{}' is not valid: {bad}", tag.key);
                Fail::new("InvalidTagParameterException", text)
            })
        })
        .collect()
}

fn reserved() -> Fail {
    Fail::new("InvalidTagParameterException", "Tag keys and values must not begin with 'aws:'")
}
