//! Answers in the API's shape, for audit records (TRAIL-13).

use funaya_ports::meta::Repository;
use funaya_types::{Endpoints, Mutability, Registry, Wildcard};
use serde_json::{Value, json};

/// Adds what is said of tag mutability.
pub(crate) fn add_mutability(answer: &mut Value, mutability: &Mutability) {
    answer["imageTagMutability"] = json!(mutability.as_str());
    let filter = |filter: &Wildcard| json!({"filterType": "WILDCARD", "filter": filter.as_str()});
    let filters: Vec<Value> = mutability.filters().iter().map(filter).collect();
    if !filters.is_empty() {
        answer["imageTagMutabilityExclusionFilters"] = json!(filters);
    }
}

pub(crate) fn repository(endpoints: &Endpoints, registry: &Registry, repository: &Repository) -> Value {
    let mut answer = json!({
        "repositoryArn": registry.repository_arn(&repository.name).to_string(),
        "registryId": registry.account.as_str(),
        "repositoryName": repository.name.as_str(),
        "repositoryUri": endpoints.repository_uri(registry, &repository.name),
        "createdAt": repository.created_at.audit_text(),
        "imageScanningConfiguration": {"scanOnPush": repository.scan_on_push},
        "encryptionConfiguration": {"encryptionType": "AES256"},
    });
    add_mutability(&mut answer, &repository.mutability);
    json!({"repository": answer})
}
