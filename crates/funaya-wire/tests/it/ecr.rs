//! ECR's requests and answers: form, constraints and their texts (API-70 to API-89).

use std::fmt::Debug;

use funaya_wire::{EpochSeconds, Fault, Hidden, ecr::*};
use serde_json::{Value, json};

type Read = fn(&[u8]) -> Option<Fault>;

/// The fault of one request type, if any.
macro_rules! fault {
    ($request:ty) => {
        (|body| <$request>::from_json(body).err()) as Read
    };
}

/// A body of this request, good but for the one member.
fn with(mut body: Value, member: &str, value: Value) -> Value {
    body[member] = value;
    body
}

fn check(read: Read, body: &Value, want: Option<(&str, &str)>) {
    let found = read(body.to_string().as_bytes());
    let want = want.map(|(member, reason)| Fault::Constraint { member: member.into(), reason: reason.into() });
    let shown: String = body.to_string().chars().take(200).collect();
    assert_eq!(found, want, "{shown}");
}

const LENGTH_MIN: &str = "must have length greater than or equal to ";
const LENGTH_MAX: &str = "must have length less than or equal to ";
const VALUE_MIN: &str = "must have value greater than or equal to ";
const VALUE_MAX: &str = "must have value less than or equal to ";
const REPOSITORY_NAME: &str =
    r"must satisfy regular expression '[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*'";

/// Each row: reader, good body, member, values that pass, values that fail with place and reason.
struct Row {
    read: Read,
    good: Value,
    member: &'static str,
    pass: Vec<Value>,
    fail: Vec<(Value, &'static str, String)>,
}

fn row(
    read: Read,
    good: Value,
    member: &'static str,
    pass: Vec<Value>,
    fail: Vec<(Value, &'static str, String)>,
) -> Row {
    Row { read, good, member, pass, fail }
}

/// So many of the same.
fn times(value: Value, count: usize) -> Value {
    Value::Array(vec![value; count])
}

fn upload_part() -> Value {
    json!({"repositoryName": "ab", "uploadId": "6cb64b8a-9378-0e33-2ab1-b780fab8a9e9", "partFirstByte": 0,
           "partLastByte": 2, "layerPartBlob": "YWJj"})
}

fn complete() -> Value {
    json!({"repositoryName": "ab", "uploadId": "6cb64b8a-9378-0e33-2ab1-b780fab8a9e9", "layerDigests": ["sha256:ab"]})
}

/// The constraint table of the specification, as far as these operations go.
fn table() -> Vec<Row> {
    let repo = || json!({"repositoryName": "ab"});
    let ids = || json!({"repositoryName": "ab", "imageIds": [{"imageTag": "x"}]});
    let digests = || json!({"repositoryName": "ab", "layerDigests": ["sha256:ab"]});
    let put = || json!({"repositoryName": "ab", "imageManifest": "{}"});
    let create = fault!(CreateRepositoryRequest);
    let text = |count: usize| json!("x".repeat(count));
    let pattern = |text: &str| format!("must satisfy regular expression '{text}'");
    let min = |n: u64| format!("{LENGTH_MIN}{n}");
    let max = |n: u64| format!("{LENGTH_MAX}{n}");
    let set = |words: &str| format!("must satisfy enum value set: [{words}]");
    let upload_id = || pattern("[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}");
    let layer_digest = || pattern("[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+");
    let mutability = "MUTABLE, IMMUTABLE, IMMUTABLE_WITH_EXCLUSION, MUTABLE_WITH_EXCLUSION";
    let wildcard = |filter: Value| json!([{"filterType": "WILDCARD", "filter": filter}]);
    vec![
        row(
            create,
            repo(),
            "registryId",
            vec![json!("123456789012"), Value::Null],
            vec![
                (json!("12345678901"), "registryId", pattern("[0-9]{12}")),
                (json!("1234567890123"), "registryId", pattern("[0-9]{12}")),
                (json!("123456789012\n"), "registryId", pattern("[0-9]{12}")),
            ],
        ),
        row(
            fault!(GetAuthorizationTokenRequest),
            json!({}),
            "registryIds",
            vec![times(json!("123456789012"), 10)],
            vec![
                (json!([]), "registryIds", min(1)),
                (times(json!("123456789012"), 11), "registryIds", max(10)),
                (json!(["123456789012", "x"]), "registryIds.2.member", pattern("[0-9]{12}")),
                (json!([null]), "registryIds.1.member", "must not be null".into()),
            ],
        ),
        row(
            create,
            json!({}),
            "repositoryName",
            vec![json!("ab"), json!("a/b"), json!("a--b"), json!("a__b/c.d"), text(256)],
            vec![
                (json!("a"), "repositoryName", min(2)),
                (text(257), "repositoryName", max(256)),
                (json!("Ab"), "repositoryName", REPOSITORY_NAME.into()),
                (json!("ab/"), "repositoryName", REPOSITORY_NAME.into()),
                (json!("a..b"), "repositoryName", REPOSITORY_NAME.into()),
                (json!("ab\n"), "repositoryName", REPOSITORY_NAME.into()),
                (Value::Null, "repositoryName", "must not be null".into()),
            ],
        ),
        row(
            fault!(DescribeRepositoriesRequest),
            json!({}),
            "repositoryNames",
            vec![times(json!("ab"), 100)],
            vec![
                (json!([]), "repositoryNames", min(1)),
                (times(json!("ab"), 101), "repositoryNames", max(100)),
                (json!(["ab", "B"]), "repositoryNames.2.member", min(2)),
            ],
        ),
        row(
            fault!(BatchGetImageRequest),
            ids(),
            "imageIds",
            vec![times(json!({"imageDigest": "anything"}), 100), json!([{"imageTag": "x".repeat(300)}]), json!([{}])],
            vec![
                (json!([]), "imageIds", min(1)),
                (times(json!({}), 101), "imageIds", max(100)),
                (json!([{}, {"imageTag": ""}]), "imageIds.2.member.imageTag", min(1)),
                (json!([{"imageTag": "x".repeat(301)}]), "imageIds.1.member.imageTag", max(300)),
            ],
        ),
        row(fault!(BatchDeleteImageRequest), ids(), "imageIds", vec![], vec![(json!([]), "imageIds", min(1))]),
        row(fault!(DescribeImagesRequest), repo(), "imageIds", vec![], vec![(json!([]), "imageIds", min(1))]),
        row(
            fault!(BatchGetImageRequest),
            ids(),
            "acceptedMediaTypes",
            vec![times(json!("a/b"), 100)],
            vec![(json!([]), "acceptedMediaTypes", min(1)), (times(json!("a/b"), 101), "acceptedMediaTypes", max(100))],
        ),
        row(
            fault!(PutImageRequest),
            put(),
            "imageTag",
            vec![text(300), json!("é".repeat(300))],
            vec![(text(0), "imageTag", min(1)), (text(301), "imageTag", max(300))],
        ),
        row(
            fault!(PutImageRequest),
            put(),
            "imageManifest",
            vec![text(4_194_304)],
            vec![(text(0), "imageManifest", min(1)), (text(4_194_305), "imageManifest", max(4_194_304))],
        ),
        row(
            fault!(BatchCheckLayerAvailabilityRequest),
            digests(),
            "layerDigests",
            vec![times(text(1000), 100), json!([""])],
            vec![
                (json!([]), "layerDigests", min(1)),
                (times(text(1), 101), "layerDigests", max(100)),
                (json!(["x".repeat(1001)]), "layerDigests.1.member", max(1000)),
            ],
        ),
        row(
            fault!(CompleteLayerUploadRequest),
            complete(),
            "layerDigests",
            vec![times(json!("sha256:ab"), 100)],
            vec![
                (json!([]), "layerDigests", min(1)),
                (times(json!("sha256:ab"), 101), "layerDigests", max(100)),
                (json!(["sha256"]), "layerDigests.1.member", layer_digest()),
            ],
        ),
        row(
            fault!(GetDownloadUrlForLayerRequest),
            repo(),
            "layerDigest",
            vec![json!("sha256:0aF"), json!("a-_+.:1")],
            vec![
                (json!("sha256:"), "layerDigest", layer_digest()),
                (json!("sha256:xyz"), "layerDigest", layer_digest()),
                (json!("a".repeat(70_000) + ":1"), "layerDigest", layer_digest()),
                (Value::Null, "layerDigest", "must not be null".into()),
            ],
        ),
        row(
            fault!(UploadLayerPartRequest),
            upload_part(),
            "uploadId",
            vec![],
            vec![
                (json!("6cb64b8a-9378-0e33-2ab1-b780fab8a9e"), "uploadId", upload_id()),
                (json!("../etc"), "uploadId", upload_id()),
            ],
        ),
        row(
            fault!(CompleteLayerUploadRequest),
            complete(),
            "uploadId",
            vec![],
            vec![(json!(""), "uploadId", upload_id())],
        ),
        row(
            fault!(UploadLayerPartRequest),
            upload_part(),
            "partFirstByte",
            vec![json!(i64::MAX)],
            vec![
                (json!(-1), "partFirstByte", format!("{VALUE_MIN}0")),
                (Value::Null, "partFirstByte", "must not be null".into()),
            ],
        ),
        row(
            fault!(UploadLayerPartRequest),
            upload_part(),
            "partLastByte",
            vec![json!(0)],
            vec![(json!(-1), "partLastByte", format!("{VALUE_MIN}0"))],
        ),
        row(
            fault!(UploadLayerPartRequest),
            upload_part(),
            "layerPartBlob",
            vec![json!("")],
            vec![(Value::Null, "layerPartBlob", "must not be null".into())],
        ),
        row(
            fault!(ListImagesRequest),
            repo(),
            "maxResults",
            vec![json!(1), json!(1000)],
            vec![
                (json!(0), "maxResults", format!("{VALUE_MIN}1")),
                (json!(1001), "maxResults", format!("{VALUE_MAX}1000")),
            ],
        ),
        row(
            fault!(DescribeImagesRequest),
            repo(),
            "maxResults",
            vec![json!(1000)],
            vec![(json!(1001), "maxResults", format!("{VALUE_MAX}1000"))],
        ),
        row(
            fault!(DescribeRepositoriesRequest),
            json!({}),
            "maxResults",
            vec![json!(1000)],
            vec![(json!(1001), "maxResults", format!("{VALUE_MAX}1000"))],
        ),
        row(
            fault!(ListImageReferrersRequest),
            json!({"repositoryName": "ab", "subjectId": {"imageDigest": "x"}}),
            "maxResults",
            vec![json!(50)],
            vec![(json!(51), "maxResults", format!("{VALUE_MAX}50"))],
        ),
        row(
            fault!(ListImageReferrersRequest),
            json!({"repositoryName": "ab"}),
            "subjectId",
            vec![],
            vec![(json!({}), "subjectId.imageDigest", "must not be null".into())],
        ),
        row(
            create,
            repo(),
            "encryptionConfiguration",
            vec![
                json!({"encryptionType": "AES256"}),
                json!({"encryptionType": "KMS_DSSE", "kmsKey": "x".repeat(2048)}),
            ],
            vec![
                (json!({}), "encryptionConfiguration.encryptionType", "must not be null".into()),
                (
                    json!({"encryptionType": "aes"}),
                    "encryptionConfiguration.encryptionType",
                    set("AES256, KMS, KMS_DSSE"),
                ),
                (json!({"encryptionType": "KMS", "kmsKey": ""}), "encryptionConfiguration.kmsKey", min(1)),
                (
                    json!({"encryptionType": "KMS", "kmsKey": "x".repeat(2049)}),
                    "encryptionConfiguration.kmsKey",
                    max(2048),
                ),
            ],
        ),
        row(
            create,
            repo(),
            "imageTagMutability",
            vec![
                json!("MUTABLE"),
                json!("IMMUTABLE"),
                json!("IMMUTABLE_WITH_EXCLUSION"),
                json!("MUTABLE_WITH_EXCLUSION"),
            ],
            vec![(json!("mutable"), "imageTagMutability", set(mutability))],
        ),
        row(
            fault!(PutImageTagMutabilityRequest),
            repo(),
            "imageTagMutability",
            vec![json!("IMMUTABLE")],
            vec![
                (json!(""), "imageTagMutability", set(mutability)),
                (Value::Null, "imageTagMutability", "must not be null".into()),
            ],
        ),
        row(
            create,
            repo(),
            "imageTagMutabilityExclusionFilters",
            vec![times(wildcard(json!("v*"))[0].clone(), 5), wildcard(text(128))],
            vec![
                (json!([]), "imageTagMutabilityExclusionFilters", min(1)),
                (times(wildcard(json!("v*"))[0].clone(), 6), "imageTagMutabilityExclusionFilters", max(5)),
                (wildcard(text(0)), "imageTagMutabilityExclusionFilters.1.member.filter", min(1)),
                (wildcard(text(129)), "imageTagMutabilityExclusionFilters.1.member.filter", max(128)),
                (
                    wildcard(json!("a b")),
                    "imageTagMutabilityExclusionFilters.1.member.filter",
                    pattern("^[0-9a-zA-Z._*-]{1,128}$"),
                ),
            ],
        ),
        row(
            fault!(ListImagesRequest),
            repo(),
            "filter",
            vec![
                json!({}),
                json!({"tagStatus": "TAGGED"}),
                json!({"tagStatus": "UNTAGGED"}),
                json!({"tagStatus": "ANY"}),
            ],
            vec![
                (json!({"tagStatus": "BOTH"}), "filter.tagStatus", set("TAGGED, UNTAGGED, ANY")),
                (json!({"imageStatus": "?"}), "filter.imageStatus", set("ACTIVE, ARCHIVED, ACTIVATING, ANY")),
            ],
        ),
        row(
            create,
            repo(),
            "tags",
            vec![json!([]), json!([{"Key": "", "Value": ""}])],
            vec![
                (json!([{"Key": "k"}]), "tags.1.member.Value", "must not be null".into()),
                (json!([{"key": "k", "value": "v"}]), "tags.1.member.Key", "must not be null".into()),
            ],
        ),
        row(
            fault!(TagResourceRequest),
            json!({"resourceArn": "arn"}),
            "tags",
            vec![json!([])],
            vec![(Value::Null, "tags", "must not be null".into())],
        ),
        row(
            fault!(UntagResourceRequest),
            json!({"resourceArn": "arn"}),
            "tagKeys",
            vec![json!(["a"])],
            vec![(Value::Null, "tagKeys", "must not be null".into())],
        ),
    ]
}

/// API-75, API-81, API-82, REPO-02.
#[test]
fn constraints() {
    for Row { read, good, member, pass, fail } in table() {
        for value in pass {
            check(read, &with(good.clone(), member, value), None);
        }
        for (value, place, reason) in fail {
            check(read, &with(good.clone(), member, value), Some((place, &reason)));
        }
    }
}

/// API-75: every required member, by its absence.
#[test]
fn required_members() {
    let cases: [(Read, &[&str]); 20] = [
        (fault!(BatchCheckLayerAvailabilityRequest), &["repositoryName", "layerDigests"]),
        (fault!(BatchDeleteImageRequest), &["repositoryName", "imageIds"]),
        (fault!(BatchGetImageRequest), &["repositoryName", "imageIds"]),
        (fault!(CompleteLayerUploadRequest), &["repositoryName", "uploadId", "layerDigests"]),
        (fault!(CreateRepositoryRequest), &["repositoryName"]),
        (fault!(DeleteRepositoryRequest), &["repositoryName"]),
        (fault!(DescribeImagesRequest), &["repositoryName"]),
        (fault!(DescribeRegistryRequest), &[]),
        (fault!(DescribeRepositoriesRequest), &[]),
        (fault!(GetAuthorizationTokenRequest), &[]),
        (fault!(GetDownloadUrlForLayerRequest), &["repositoryName", "layerDigest"]),
        (fault!(InitiateLayerUploadRequest), &["repositoryName"]),
        (fault!(ListImageReferrersRequest), &["repositoryName", "subjectId"]),
        (fault!(ListImagesRequest), &["repositoryName"]),
        (fault!(ListTagsForResourceRequest), &["resourceArn"]),
        (fault!(PutImageRequest), &["repositoryName", "imageManifest"]),
        (fault!(PutImageTagMutabilityRequest), &["repositoryName", "imageTagMutability"]),
        (fault!(TagResourceRequest), &["resourceArn", "tags"]),
        (fault!(UntagResourceRequest), &["resourceArn", "tagKeys"]),
        (
            fault!(UploadLayerPartRequest),
            &["repositoryName", "uploadId", "partFirstByte", "partLastByte", "layerPartBlob"],
        ),
    ];
    let good = json!({
        "repositoryName": "ab", "imageIds": [{}], "layerDigest": "a:1", "layerDigests": ["a:1"], "partFirstByte": 0,
        "uploadId": "6cb64b8a-9378-0e33-2ab1-b780fab8a9e9", "partLastByte": 0, "layerPartBlob": "", "resourceArn": "a",
        "tags": [], "tagKeys": [], "imageManifest": "{}", "imageTagMutability": "MUTABLE",
        "subjectId": {"imageDigest": "x"}, "unknown": {"member": [1, {"deep": null}]},
    });
    for (read, required) in cases {
        check(read, &good, None);
        // The model's order decides, and `null` is absent.
        check(read, &json!({}), required.first().map(|member| (*member, "must not be null")));
        for member in required {
            check(read, &with(good.clone(), member, Value::Null), Some((*member, "must not be null")));
        }
    }
}

/// README, protocol facts: `SerializationException`, whatever constraints fail beside it.
#[test]
fn wrong_forms() {
    let cases: [(&str, &str); 19] = [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("null", "the request must be an object"),
        ("[]", "the request must be an object"),
        ("\"x\"", "the request must be an object"),
        ("{", "EOF while parsing an object at line 1 column 1"),
        ("{} x", "trailing characters at line 1 column 4"),
        (r#"{"repositoryName":1}"#, "'repositoryName' must be a string"),
        (r#"{"repositoryName":"a","registryId":{}}"#, "'registryId' must be a string"),
        (r#"{"imageIds":{}}"#, "'imageIds' must be a list"),
        (r#"{"imageIds":"x"}"#, "'imageIds' must be a list"),
        (r#"{"imageIds":[1]}"#, "'imageIds.1.member' must be an object"),
        (r#"{"imageIds":[{"imageTag":[]}]}"#, "'imageIds.1.member.imageTag' must be a string"),
        (r#"{"maxResults":"1"}"#, "'maxResults' must be a whole number"),
        (r#"{"maxResults":1.5}"#, "'maxResults' must be a whole number"),
        (r#"{"maxResults":99999999999999999999}"#, "'maxResults' must be a whole number"),
        (r#"{"maxResults":true}"#, "'maxResults' must be a whole number"),
        (r#"{"filter":[]}"#, "'filter' must be an object"),
        (r#"{"filter":{"tagStatus":1}}"#, "'filter.tagStatus' must be a string"),
        (r#"{"repositoryName":"\ud800"}"#, "'repositoryName' must be a string"),
    ];
    for (body, text) in cases {
        let found = DescribeImagesRequest::from_json(body.as_bytes());
        assert_eq!(found, Err(Fault::Serialization(text.into())), "{body}");
    }
    assert!(DescribeImagesRequest::from_json(b"{\"repositoryName\":\"\xff\"}").is_err());
    let flag = DeleteRepositoryRequest::from_json(br#"{"repositoryName":"ab","force":"true"}"#);
    assert_eq!(flag, Err(Fault::Serialization("'force' must be true or false".into())));
}

/// Neither depth nor length of what is skipped costs stack or memory.
#[test]
fn hostile_nesting() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(1_000_000), close.repeat(1_000_000));
    let body = format!(
        r#"{{"repositoryName":"ab","x":{},"filter":{{"y":{}0{}}}}}"#,
        deep("[", "]"),
        r#"{"a":"#.repeat(500_000),
        "}".repeat(500_000)
    );
    assert!(ListImagesRequest::from_json(body.as_bytes()).is_ok());
    let body = format!(r#"{{"repositoryName":"ab","imageIds":{}}}"#, deep("[", "]"));
    assert!(matches!(BatchGetImageRequest::from_json(body.as_bytes()), Err(Fault::Serialization(_))));
    let body = format!(r#"{{"repositoryName":"ab","imageIds":[{}0]}}"#, "0,".repeat(1_000_000));
    assert!(matches!(BatchGetImageRequest::from_json(body.as_bytes()), Err(Fault::Serialization(_))));
}

/// API-29: a part of the largest size, and one byte more.
#[test]
fn big_blobs() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    for (len, fits) in [(20_971_520, true), (20_971_521, false)] {
        let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let body = with(upload_part(), "layerPartBlob", json!(STANDARD.encode(&bytes))).to_string();
        let found = UploadLayerPartRequest::from_json(body.as_bytes());
        match fits {
            true => assert!(found.unwrap().layer_part_blob.0 == bytes),
            false => {
                let text = "Invalid parameter at 'layerPartBlob' failed to satisfy constraint: \
                            'must have length less than or equal to 20971520'";
                assert_eq!(found.unwrap_err().to_string(), text);
            }
        }
    }
    for bad in [json!("YW Jj"), json!("YWJ"), json!("%%%%"), json!(5), json!("YWI=YWI=")] {
        let body = with(upload_part(), "layerPartBlob", bad.clone()).to_string();
        let want = Fault::Serialization("'layerPartBlob' must be a base64 string".into());
        assert_eq!(UploadLayerPartRequest::from_json(body.as_bytes()).err(), Some(want), "{bad}");
    }
    let escaped = upload_part().to_string().replace("YWJj", "YW\\u004aj\\/\\/8=");
    let part = UploadLayerPartRequest::from_json(escaped.as_bytes()).unwrap();
    assert_eq!(part.layer_part_blob.0, b"abc\xff\xff");
    assert!(format!("{part:?}").contains("Blob(5 bytes)"), "{part:?}");
}

/// API-71, API-72: all 58 operations are known, and which exceptions each may give.
#[test]
fn operations() {
    assert_eq!(Operation::ALL.len(), 58);
    for operation in Operation::ALL {
        assert_eq!(Operation::parse(operation.name()), Some(*operation));
        assert!(operation.allows("ServerException"), "{operation:?}");
    }
    assert_eq!(Operation::parse("putImage"), None);
    assert!(Operation::PutLifecyclePolicy.allows("ValidationException"));
    assert!(!Operation::PutImage.allows("ValidationException"));
    assert!(Operation::PutImage.allows("ImageTagAlreadyExistsException"));
}

fn prints(answer: impl serde::Serialize + Debug, want: &str) {
    assert_eq!(serde_json::to_string(&answer).unwrap(), want, "{answer:?}");
}

/// API-83, API-84, API-86, API-89.
#[test]
fn answers() {
    let token = AuthorizationData {
        authorization_token: Some(Hidden("QVdTOi".into())),
        expires_at: Some(EpochSeconds(1_448_875_853.241)),
        proxy_endpoint: Some("https://h".into()),
    };
    assert!(!format!("{token:?}").contains("QVdTOi"));
    prints(
        GetAuthorizationTokenResponse { authorization_data: Some(vec![token]) },
        concat!(
            r#"{"authorizationData":[{"authorizationToken":"QVdTOi","expiresAt":1448875853.241,"#,
            r#""proxyEndpoint":"https://h"}]}"#
        ),
    );
    prints(EpochSeconds(1_499_287_667.0), "1499287667.0");
    let layer = Layer {
        layer_digest: Some("sha256:ab".into()),
        layer_availability: Some(LayerAvailability::Available),
        layer_size: Some(2777),
        media_type: None,
    };
    prints(
        BatchCheckLayerAvailabilityResponse { layers: Some(vec![layer]), failures: Some(vec![]) },
        r#"{"layers":[{"layerDigest":"sha256:ab","layerAvailability":"AVAILABLE","layerSize":2777}],"failures":[]}"#,
    );
    let failure = ImageFailure {
        image_id: Some(ImageIdentifier { image_digest: None, image_tag: Some("v1".into()) }),
        failure_code: Some(ImageFailureCode::ImageReferencedByManifestList),
        failure_reason: None,
    };
    prints(failure, r#"{"imageId":{"imageTag":"v1"},"failureCode":"ImageReferencedByManifestList"}"#);
    let tags = ListTagsForResourceResponse { tags: Some(vec![Tag { key: "k".into(), value: "v".into() }]) };
    prints(tags, r#"{"tags":[{"Key":"k","Value":"v"}]}"#);
    prints(TagResourceResponse {}, "{}");
    let registry = DescribeRegistryResponse {
        registry_id: Some("123456789012".into()),
        replication_configuration: Some(ReplicationConfiguration { rules: vec![] }),
    };
    prints(registry, r#"{"registryId":"123456789012","replicationConfiguration":{"rules":[]}}"#);
}
