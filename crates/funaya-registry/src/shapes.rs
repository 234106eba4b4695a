//! Answers in the API's shape, for audit records (TRAIL-13).

use funaya_ports::meta::{Mutability, Repository};
use funaya_types::{Endpoints, Registry};
use serde_json::{Value, json};

pub(crate) fn mutability(mutability: Mutability) -> &'static str {
    match mutability {
        Mutability::Mutable => "MUTABLE",
        Mutability::Immutable => "IMMUTABLE",
    }
}

pub(crate) fn repository(endpoints: &Endpoints, registry: &Registry, repository: &Repository) -> Value {
    json!({"repository": {
        "repositoryArn": registry.repository_arn(&repository.name).to_string(),
        "registryId": registry.account.as_str(),
        "repositoryName": repository.name.as_str(),
        "repositoryUri": endpoints.repository_uri(registry, &repository.name),
        "createdAt": repository.created_at.audit_text(),
        "imageTagMutability": mutability(repository.mutability),
        "imageScanningConfiguration": {"scanOnPush": repository.scan_on_push},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    }})
}
