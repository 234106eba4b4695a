//! Principals named in resource-based policies, and the unique ids behind their ARNs (POL-14, POL-15).

use std::collections::BTreeMap;

use funaya_policy::Document;
use funaya_ports::{
    StoreError,
    identity::{BoundPolicy, Directory, Entity, EntityKey, Kind, Role, User},
    meta,
};

/// Why a policy can't be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// No user or role has this ARN.
    #[error("there is no principal `{0}`")]
    Unknown(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Binds each user and role that a document names to the id that it has now. `text`: the document as it came.
pub async fn bind(directory: &dyn Directory, document: &Document, text: &str) -> Result<BoundPolicy, BindError> {
    let mut ids = BTreeMap::new();
    for arn in document.principal_arns() {
        match find(directory, arn).await? {
            Some(id) => ids.insert(arn.to_owned(), id),
            None => return Err(BindError::Unknown(arn.to_owned())),
        };
    }
    Ok(BoundPolicy { text: text.to_owned(), ids })
}

/// A bound policy for reading back: a principal that is gone is shown by its id.
pub async fn render(
    directory: &dyn Directory,
    document: &Document,
    policy: &BoundPolicy,
) -> Result<String, StoreError> {
    let mut arns: BTreeMap<&str, String> = BTreeMap::new();
    for id in policy.ids.values() {
        if let Some(arn) = directory.entity_by_id(id).await.map_err(store)?.as_ref().and_then(arn_of) {
            arns.insert(id, arn);
        }
    }
    if policy.ids.iter().all(|(arn, id)| arns.get(id.as_str()) == Some(arn)) {
        return Ok(policy.text.clone());
    }
    let bound = document.bind(|arn| policy.ids.get(arn).map(String::as_str));
    Ok(bound.render(|id| arns.get(id).cloned()))
}

/// The unique id of the user or role with this ARN.
async fn find(directory: &dyn Directory, arn: &str) -> Result<Option<String>, StoreError> {
    let Some(place) = place(arn) else { return Ok(None) };
    let entity = directory.entity(&place).await.map_err(store)?;
    Ok(entity.filter(|entity| arn_of(entity).as_deref() == Some(arn)).map(|entity| entity.id))
}

/// `arn:aws:iam::<account>:user/<path><name>`, or `role/…`.
fn place(arn: &str) -> Option<EntityKey> {
    let (account, rest) = arn.strip_prefix("arn:aws:iam::")?.split_once(':')?;
    let (kind, rest) = rest.split_once('/')?;
    let kind = match kind {
        "user" => Kind::User,
        "role" => Kind::Role,
        _ => return None,
    };
    let name = rest.rsplit('/').next().unwrap_or(rest);
    Some(EntityKey { account: account.parse().ok()?, kind, key: name.to_ascii_lowercase() })
}

fn arn_of(entity: &Entity) -> Option<String> {
    let (kind, name) = match entity.place.kind {
        Kind::User => ("user", entity.read::<User>().ok()?.name),
        Kind::Role => ("role", entity.read::<Role>().ok()?.name),
        _ => return None,
    };
    Some(format!("arn:aws:iam::{}:{kind}{}{name}", entity.place.account, entity.path))
}

pub(crate) fn store(error: meta::Error) -> StoreError {
    match error {
        meta::Error::Store(error) => error,
        meta::Error::Refused(refusal) => StoreError::failed(format!("a read was refused: {refusal:?}")),
    }
}
