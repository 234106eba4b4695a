//! The targets with their examples and the words of their grammars.

use std::sync::LazyLock;

use funaya_policy::managed;
use funaya_rules::jws::Signer;
use funaya_sigv4 as sigv4;
use funaya_types::Secret;

use super::{Target, parsers};

pub(super) const ALL: &[Target] = &[
    Target { name: "policy", seeds: policies, words: POLICY, check: parsers::policy },
    Target { name: "lifecycle", seeds: lifecycles, words: LIFECYCLE, check: parsers::lifecycle },
    Target { name: "manifest", seeds: manifests, words: MANIFEST, check: parsers::manifest },
    Target { name: "form", seeds: forms, words: FORM, check: parsers::form },
    Target { name: "json", seeds: bodies, words: JSON, check: parsers::json },
    Target { name: "sigv4", seeds: signed, words: SIGV4, check: parsers::sigv4 },
    Target { name: "token", seeds: tokens, words: TOKEN, check: parsers::token },
    Target { name: "jwt", seeds: jwts, words: JWT, check: parsers::jwt },
    Target { name: "paths", seeds: names, words: NAMES, check: parsers::paths },
    Target { name: "wildcard", seeds: patterns, words: PATTERN, check: parsers::wildcard },
    Target { name: "saml", seeds: assertions, words: SAML, check: parsers::saml },
];

fn owned(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

const POLICY: &str = "\
    Version 2012-10-17 2008-10-17 Id Sid Statement Effect Allow Deny Action NotAction Resource NotResource \
    Principal NotPrincipal Condition AWS Service Federated CanonicalUser ecr:* ecr:Put?mage sts:AssumeRole \
    sts:TagSession * ? ${aws:username} ${*} ${$} ${ ${aws:x,'y'} 111122223333 arn:aws:iam::111122223333:root \
    arn:aws:iam::111122223333:user/alice arn:aws:ecr:*:*:repository/* \
    arn:aws:sts::444455556666:assumed-role/deploy/build-7 AIDAALICE00000000001 StringEquals StringLike \
    StringNotLikeIfExists ForAllValues:StringLike ForAnyValue:StringEquals Null NumericLessThan DateGreaterThan \
    Bool IpAddress NotIpAddress ArnLike BinaryEquals 192.0.2.0/24 2001:db8::/32 2026-11-24T00:00:00Z aws:SourceIp \
    aws:CurrentTime aws:TagKeys aws:ResourceTag/team aws:PrincipalArn { } [ ] , :";

fn policies() -> Vec<Vec<u8>> {
    let own = [
        r#"{"Version":"2012-10-17","Id":"x","Statement":[{"Sid":"A1","Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:user/alice","444455556666","AIDAALICE00000000001"],"Service":"codebuild.amazonaws.com"},"Action":["ecr:BatchGetImage","ecr:Put*"],"Condition":{"StringLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/ci/*"},"Bool":{"aws:SecureTransport":"true"}}}]}"#,
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","NotPrincipal":{"AWS":["arn:aws:iam::444455556666:role/ci/deploy","arn:aws:sts::444455556666:assumed-role/deploy/build-7","444455556666"]},"NotAction":"ecr:Get*","Resource":"arn:aws:ecr:us-east-1:111122223333:repository/*"}}"#,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"ForAnyValue:StringLike":{"aws:TagKeys":["team","c*"]},"IpAddress":{"aws:SourceIp":["192.0.2.0/24","2001:db8::/32"]}}},{"Effect":"Allow","Principal":{"AWS":"*"},"Action":["sts:AssumeRole","sts:TagSession"]}]}"#,
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":["arn:aws:ecr:*:111122223333:repository/${aws:username}/*","arn:aws:ecr:*:*:repository/t?am/${aws:PrincipalTag/x, 'none'}"],"Condition":{"DateGreaterThan":{"aws:CurrentTime":"2026-01-01T00:00:00Z"},"NumericLessThanEquals":{"aws:MultiFactorAuthAge":["3600",1]},"Null":{"aws:TokenIssueTime":"true"},"StringEqualsIgnoreCase":{"aws:ResourceTag/team":"${*}${$}${?}"},"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/*"},"BinaryEquals":{"ecr:x":"QUJD"}}}]}"#,
        r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"},{"Effect":"Deny","Principal":"*","Action":"ecr:Delete*","NotResource":"arn:aws:ecr:us-east-1:111122223333:repository/a"}]}"#,
    ];
    let managed = managed::POLICIES.iter().filter(|policy| policy.document.len() < 3_000).map(|policy| policy.document);
    owned(&own.into_iter().chain(managed).collect::<Vec<_>>())
}

const LIFECYCLE: &str = "\
    rules rulePriority description selection tagStatus tagged untagged any tagPrefixList tagPatternList prod* * \
    countType imageCountMoreThan sinceImagePushed sinceImagePulled countUnit days countNumber action type expire \
    transition storageClass 1 4294967296";

fn lifecycles() -> Vec<Vec<u8>> {
    owned(&[
        r#"{"rules":[{"rulePriority":1,"description":"d","selection":{"tagStatus":"tagged","tagPrefixList":["prod"],"countType":"imageCountMoreThan","countNumber":3},"action":{"type":"expire"}},{"rulePriority":2,"selection":{"tagStatus":"any","countType":"sinceImagePushed","countUnit":"days","countNumber":14},"action":{"type":"expire"}}]}"#,
        r#"{"rules":[{"rulePriority":10,"selection":{"tagStatus":"tagged","tagPatternList":["prod*","*-2"],"countType":"sinceImagePulled","countUnit":"days","countNumber":7},"action":{"type":"expire"}},{"rulePriority":9,"selection":{"tagStatus":"untagged","countType":"imageCountMoreThan","countNumber":1},"action":{"type":"expire"}}]}"#,
    ])
}

const MANIFEST: &str = "\
    schemaVersion mediaType artifactType config layers manifests subject fsLayers blobSum signatures protected \
    history rootfs diff_ids empty_layer header jwk alg ES256 \
    eyJmb3JtYXRMZW5ndGgiOjEsImZvcm1hdFRhaWwiOiJmUSJ9 digest size urls platform annotations \
    application/vnd.oci.image.manifest.v1+json application/vnd.oci.image.index.v1+json \
    application/vnd.docker.distribution.manifest.v2+json application/vnd.docker.distribution.manifest.v1+prettyjws \
    sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 sha512:00 2 -1 1";

fn manifests() -> Vec<Vec<u8>> {
    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let image = |media: &str, layer: &str| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{media}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{D}","size":2}},"layers":[{{"mediaType":"{layer}","digest":"{D}","size":7,"urls":["https://x.test"]}}],"annotations":{{"a":"b"}}}}"#
        )
    };
    let list = |media: &str, child: &str| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{media}","artifactType":"a/b","manifests":[{{"mediaType":"{child}","digest":"{D}","size":7,"platform":{{"os":"linux","architecture":"amd64"}}}}],"subject":{{"mediaType":"{child}","digest":"{D}","size":7}}}}"#
        )
    };
    let [_, _, docker, docker_list, oci, index, _] = parsers::MEDIA_TYPES;
    let payload =
        format!("{{\n   \"schemaVersion\": 1,\n   \"name\": \"a\",\n   \"fsLayers\": [{{\"blobSum\": \"{D}\"}}]\n}}");
    let signer = Signer::from_seed(&[7; 32]);
    let signed = signer.and_then(|signer| signer.sign(payload.as_bytes(), parsers::NOW)).unwrap_or_default();
    let config = r#"{"architecture":"amd64","rootfs":{"type":"layers","diff_ids":["a"]},"history":[{"created_by":"a","empty_layer":true},{"comment":"b"}]}"#;
    let all = [
        image(docker, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        image(oci, "application/vnd.oci.image.layer.v1.tar+gzip"),
        list(docker_list, docker),
        list(index, oci),
        config.into(),
    ];
    all.map(String::into_bytes).into_iter().chain([signed]).collect()
}

const FORM: &str = "\
    Action Version UserName RoleName Path Tags member .member.1 entry Key Value TagKeys.member.1 PolicyDocument \
    AssumeRolePolicyDocument RoleArn RoleSessionName DurationSeconds 3600 PolicyArns.member.1.arn \
    ContextEntries.member.1.ContextKeyValues.member.1 MaxItems true 01 \
    arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fx & = + % %20 ? . .. 4294967296";

fn forms() -> Vec<Vec<u8>> {
    owned(&[
        "Action=CreateUser&Version=2010-05-08&UserName=alice&Path=%2Fteam%2F&Tags.member.1.Key=a&Tags.member.1.Value=b+c",
        "Action=CreateRole&RoleName=r&AssumeRolePolicyDocument=%7B%7D&MaxSessionDuration=3600?Version=2010-05-08",
        "Action=AssumeRole&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fx&RoleSessionName=s1&DurationSeconds=900&PolicyArns.member.1.arn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2FReadOnlyAccess&TransitiveTagKeys.member.1=k",
        "Action=AssumeRoleWithWebIdentity&RoleArn=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fx&RoleSessionName=s1&WebIdentityToken=a.b.c",
        "Action=SimulateCustomPolicy&PolicyInputList.member.1=%7B%7D&ActionNames.member.1=ecr%3APutImage&ContextEntries.member.1.ContextKeyName=aws%3ATagKeys&ContextEntries.member.1.ContextKeyValues.member.1=a&ContextEntries.member.1.ContextKeyType=stringList",
        "Action=ListPolicies&Scope=Local&OnlyAttached=false&MaxItems=10&PathPrefix=%2F",
        "Action=UntagUser&UserName=alice&TagKeys.1=a&TagKeys.2=b",
        "Action=UpdateAccountPasswordPolicy&MinimumPasswordLength=8&RequireSymbols=true",
    ])
}

const JSON: &str = "\
    repositoryName registryId 111122223333 team/app imageIds imageTag imageDigest tags Key Value \
    imageTagMutability IMMUTABLE imageTagMutabilityExclusionFilters filterType WILDCARD filter \
    encryptionConfiguration encryptionType KMS layerPartBlob QUJD uploadId partFirstByte 1.5 maxResults nextToken \
    policyText lifecyclePolicyText acceptedMediaTypes resourceArn null []";

fn bodies() -> Vec<Vec<u8>> {
    owned(&[
        r#"{"repositoryName":"team/app","tags":[{"Key":"a","Value":"b"}],"imageTagMutability":"IMMUTABLE_WITH_EXCLUSION","imageTagMutabilityExclusionFilters":[{"filterType":"WILDCARD","filter":"dev-*"}],"imageScanningConfiguration":{"scanOnPush":true},"encryptionConfiguration":{"encryptionType":"AES256"}}"#,
        r#"{"repositoryName":"team/app","registryId":"111122223333","imageIds":[{"imageTag":"latest"},{"imageDigest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}],"acceptedMediaTypes":["a/b"]}"#,
        r#"{"repositoryName":"team/app","uploadId":"0b7e9c0e-3c6f-4a5e-9d3a-6a8f2f6b1c11","partFirstByte":0,"partLastByte":2,"layerPartBlob":"QUJD"}"#,
        r#"{"resourceArn":"arn:aws:ecr:us-east-1:111122223333:repository/team/app","tags":[{"Key":"a","Value":""}]}"#,
        r#"{"repositoryName":"team/app","imageManifest":"{}","imageTag":"v1"}"#,
        r#"{"repositoryName":"team/app","lifecyclePolicyText":"{\"rules\":[{\"rulePriority\":1,\"selection\":{\"tagStatus\":\"any\",\"countType\":\"imageCountMoreThan\",\"countNumber\":1},\"action\":{\"type\":\"expire\"}}]}"}"#,
    ])
}

const SIGV4: &str = "\
    AWS4-HMAC-SHA256 Credential= SignedHeaders= Signature= aws4_request us-east-1 ecr host x-amz-date \
    x-amz-content-sha256 UNSIGNED-PAYLOAD x-amz-security-token authorization: host:a \
    X-Amz-Algorithm=AWS4-HMAC-SHA256 X-Amz-Expires=604801 X-Amz-Signature 20261124T000000Z /../ // %2F %2e%2e ; , \
    / & = +";

fn signed() -> Vec<Vec<u8>> {
    let secret = Secret::new("fuzz");
    let who = sigv4::Credentials { access_key_id: parsers::KEY, secret: &secret, security_token: None };
    let scope = sigv4::Scope::new(parsers::NOW, "us-east-1", "ecr");
    let request = sigv4::Request { method: "POST", path: "/", query: "a=b%20c", headers: &[("host", b"ecr.test")] };
    let (payload, encoding) = (sigv4::Payload::Unsigned, sigv4::Encoding::Twice);
    let headers = sigv4::sign(&request, &who, &scope, payload, encoding, parsers::NOW);
    let lines: String = headers.iter().map(|(name, value)| format!("\n{name}: {value}")).collect();
    let query = sigv4::presign(&request, &who, &scope, payload, encoding, parsers::NOW, 900);
    vec![
        format!("POST\n/\na=b%20c\nhost: ecr.test{lines}").into_bytes(),
        format!("GET\n/v2/x/../y\n{query}\nhost: ecr.test").into_bytes(),
    ]
}

const TOKEN: &str = "\
    A _ - = == + / AAAAAAAAAAAAAAAA {} \"";

/// Texts with their sealed forms.
pub(super) static SEALED: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| {
    let texts = ["", "a", r#"{"a":"111122223333","r":"us-east-1","k":"AKIAFUNAYAFUZZ000000","t":1795520200000000}"#];
    let sealer = parsers::SEALER.as_ref();
    texts.into_iter().filter_map(|text| Some((text, sealer?.seal(text, parsers::BINDING)))).collect()
});

fn tokens() -> Vec<Vec<u8>> {
    SEALED.iter().map(|(_, sealed)| sealed.clone().into_bytes()).collect()
}

const JWT: &str = "\
    . eyJhbGciOiJub25lIn0 eyJhbGciOiJIUzI1NiIsImtpZCI6InIifQ eyJhbGciOiJFUzI1NiIsImtpZCI6ImUifQ \
    eyJhbGciOiJSUzI1NiIsImtpZCI6ImUifQ eyJhbGciOiJQUzI1NiJ9 e30 W10 AAAA - _ =";

/// The keys of a provider that signed [`JWTS`], and nothing else ever.
pub(super) const JWKS: &str = r#"{"keys":[{"kty":"RSA","kid":"r","use":"sig","alg":"RS256","n":"p7U8Vd2pGwCQNuXL171ubL2PMVfGhBB-x3rRJbPOTp-5lCpmxwbf8eFs9nBuhlwqHGlgLSV4RQry_ffitFkrbMqV0g3TooA6fgVz1s5RnFOQ01skTNiWexEPKlqkggbeaTbgQ7XF1TRDCMgZLvmwC7LAr4XJlMxm14czgVtojQZI5Te5rzIcin1uS_dNcCVLdfnNX4qU-auBAzx_a22vM9wGW9Q8HyzbTcBrmLR99UvdkrF1W9mDm1bhLFkbFyfAiobIhRnhKYsN0dyTkp_GQDOOARHO4ZGM-4c1CwbMUaXwxSPe_UBpLJ3HpNAjjH1cC_JFl7iM8CnByb4x8VgQEw","e":"AQAB"},{"kty":"EC","kid":"e","crv":"P-256","x":"qVSm07HwKBgRVW3GIWUS-zAdVd4wooEgc7mI0nsP548","y":"OA4_B-oqDx_UZgzS_ytbyvIlDRtdPPei2VxmPzZKPBU"}]}"#;

pub(super) const JWTS: [&str; 2] = [
    "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InIifQ.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUuY29tL3giLCJzdWIiOiJyZXBvOmEvYiIsImF1ZCI6InN0cy5hbWF6b25hd3MuY29tIiwiZXhwIjoxNzk1NTIwODAwLCJpYXQiOjE3OTU1MjAyMDAsIm5iZiI6MTc5NTUyMDE5NSwiYW1yIjpbIm9uZSIsInR3byJdLCJlbWFpbCI6ImFAZXhhbXBsZS5jb20ifQ.K_Z2pgUMJuZVRBvZAd4tk29kPYOUnWGqW7IYOaUdjklFgmv1Fzcx_nrFWOyaQOG0s43dqqhBifs-ImUV7cxcgmj9ViotGHA9mnnquH5xxTqO0mKU5U1-uHCFVD33gJ5ix264RiCvHNY95PeD3fiXkZfRfi8VRF5x2es7U8Zydjt3upXgQUZlc9TiVvMz2K-tWDV58aVQooikoUQFrXhrCvOFk9qZMyVX80lu-_HMdOs9SXZ0bT7qnGY9hEo5Hj1ABnvJFwNczIawdcGwajbe4Fjy5kzCY85RrBPz-MxtX9z2TAgUMPMiirj8uiUdRQsxROUZKm1Rz1EFfKYihFQPyg",
    "eyJhbGciOiJFUzI1NiIsImtpZCI6ImUifQ.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUuY29tL3giLCJzdWIiOiJyZXBvOmEvYiIsImF1ZCI6WyJvdGhlciIsInN0cy5hbWF6b25hd3MuY29tIl0sImV4cCI6MTc5NTUyMDgwMCwiaWF0IjoxNzk1NTIwMjAwLCJuYmYiOjE3OTU1MjAxOTUsImF6cCI6Im1lIiwiaHR0cHM6Ly9hd3MuYW1hem9uLmNvbS90YWdzIjp7InByaW5jaXBhbF90YWdzIjp7InRlYW0iOlsiYSJdfSwidHJhbnNpdGl2ZV90YWdfa2V5cyI6WyJ0ZWFtIl19fQ.MgCwxpM351H1pZB_guQfC8tUwj6Yp0cysQRe2kYlmzbBHoLIxuCVjBNZAm4NRSehln7plRLUd4K4ThSgDjkj5Q",
];

fn jwts() -> Vec<Vec<u8>> {
    owned(&JWTS)
}

const NAMES: &str = "\
    arn:aws:ecr: us-east-1 111122223333 repository/ : / . .. - _ __ a A sha256: sha512: dkr ecr api sts \
    organizations .amazonaws.com :443 application/ +json 0 Z";

fn names() -> Vec<Vec<u8>> {
    owned(&[
        "team-a/web_app",
        "latest",
        "application/vnd.oci.image.index.v1+json",
        "arn:aws:ecr:us-east-1:111122223333:repository/team/app",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
        "0b7e9c0e-3c6f-4a5e-9d3a-6a8f2f6b1c11",
        "01m86q4tnk909de26g4bsz14xj",
        "111122223333.dkr.ecr.us-east-1.amazonaws.com:443",
        "api.ecr.us-east-1.amazonaws.com",
        "sts.eu-west-1.amazonaws.com",
        "Größe + -=9 m²",
        "2026-11-24T00:00:00.25+02:00",
    ])
}

const PATTERN: &str = "\
    * ? ** *? a ab aab / ß 😀 ${ $ a*a*a*a";

fn patterns() -> Vec<Vec<u8>> {
    owned(&["team/*\nteam/app", "*a?c*\nxxabcyy", "aab*aab\naabaab", "a*b*c*d\naXbXcXd", "??\nßé"])
}

const SAML: &str = "\
    <saml:Assertion> </saml:Assertion> <![CDATA[ ]]> <!-- --> <?x?> &amp; &#x41; &#0; &x; <!DOCTYPEa[ \
    <!ENTITYb'c'> ]> xmlns=\" xmlns:saml=\" ID=\"a\" /> < > &";

fn assertions() -> Vec<Vec<u8>> {
    owned(&[
        r#"<?xml version="1.0"?><samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="r"><saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="a" Version="2.0"><saml:Issuer>https://x.test &amp; &#65;</saml:Issuer><saml:Subject><saml:NameID Format="f">alice</saml:NameID></saml:Subject><!-- c --><![CDATA[ d ]]></saml:Assertion></samlp:Response>"#,
        r#"<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="e"><md:IDPSSODescriptor><md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data><ds:X509Certificate>QUJD</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor></md:IDPSSODescriptor></md:EntityDescriptor>"#,
    ])
}
