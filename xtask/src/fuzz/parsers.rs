//! What each target asks of its parser.

use std::sync::{Arc, LazyLock};

use funaya_gate::Sealer;
use funaya_identity::{OidcProvider, identify};
use funaya_policy::{
    Context, Document, Issuer, Kind, Level, Named, Policies, PolicyType, Principal, Request, decide, explain,
};
use funaya_rules::{
    convert::{self, Fate},
    format::Format,
    lifecycle, manifest, schema1,
};
use funaya_sigv4 as sigv4;
use funaya_testkit::SeededRandom;
use funaya_types::{AccountId, Algorithm, Digest, Host, Secret, Timestamp, Wildcard};
use funaya_wire::{ecr, iam, query, sts};

use super::{Verdict, xml};

pub(super) const NOW: Timestamp = Timestamp::from_secs(1_795_520_200);
pub(super) const KEY: &str = "AKIAFUNAYAFUZZ000000";
pub(super) const BINDING: &str = "fuzz";
const HOME: &str = "111122223333";
const REPOSITORY: &str = "arn:aws:ecr:us-east-1:111122223333:repository/team/app";

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

const KINDS: [Kind; 9] = [
    Kind::Identity,
    Kind::Boundary,
    Kind::Session,
    Kind::ServiceControl,
    Kind::Repository,
    Kind::Registry,
    Kind::Trust,
    Kind::Key,
    Kind::Endpoint,
];

static CALLERS: LazyLock<Vec<Principal>> = LazyLock::new(|| {
    let account: AccountId = AccountId::from_number(111_122_223_333);
    let alice = (format!("arn:aws:iam::{HOME}:user/alice"), "AIDAALICE00000000001");
    vec![
        Principal::User { account, name: "alice".into(), arn: alice.0.clone().into(), id: alice.1.into() },
        Principal::AssumedRole {
            account: AccountId::from_number(444_455_556_666),
            role_arn: "arn:aws:iam::444455556666:role/ci/deploy".into(),
            role_id: "AROADEPLOY0000000001".into(),
            session_name: "build-7".into(),
            session_arn: "arn:aws:sts::444455556666:assumed-role/deploy/build-7".into(),
        },
        Principal::FederatedUser {
            account,
            name: "visitor".into(),
            arn: format!("arn:aws:sts::{HOME}:federated-user/visitor").into(),
            issuer: Issuer::User { arn: alice.0.into(), id: alice.1.into() },
        },
        Principal::Root { account },
        Principal::Service { name: "codebuild.amazonaws.com".into() },
        Principal::Anonymous,
    ]
});

pub(super) fn policy(case: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(case);
    let mut accepted = false;
    for kind in KINDS {
        let Ok(document) = Document::parse(&text, kind) else { continue };
        accepted = true;
        let shown = document.render(|_| None::<String>);
        let again =
            Document::parse_within(&shown, kind, usize::MAX).map_err(|e| format!("{kind:?} as shown: {e:?}"))?;
        let twice = again.render(|_| None::<String>);
        ensure(shown == twice, || format!("{kind:?} shown twice: {shown} {twice}"))?;
        let bound = document.bind(|arn| arn.contains("alice").then_some("AIDAALICE00000000001"));
        bound.render(|id| id.starts_with("AIDA").then(|| format!("arn:aws:iam::{HOME}:user/alice")));
        for document in [&document, &bound] {
            decisions(document, kind.policy_type())?;
        }
    }
    Ok(accepted)
}

/// Both ways of deciding say the same, for everybody.
fn decisions(document: &Document, policy_type: PolicyType) -> Result<(), String> {
    let named = Named { name: "fuzz".into(), policy_type, document: document.clone() };
    let (alone, session) = ([&named], [named.clone()]);
    let level = [Level { policies: &alone }];
    let mut policies = Policies { identity: &[], ..Policies::default() };
    match policy_type {
        PolicyType::Identity => policies.identity = &alone,
        PolicyType::Boundary => policies.boundary = Some(&named),
        PolicyType::Session => policies.session = Some(&session),
        PolicyType::ServiceControl => policies.service_control = &level,
        PolicyType::Endpoint => policies.endpoint = Some(&named),
        PolicyType::Resource | PolicyType::Trust | PolicyType::Key => policies.resource = Some(&named),
    }
    for principal in CALLERS.iter() {
        let context = context(principal);
        for (action, resource) in [("ecr:PutImage", REPOSITORY), ("sts:AssumeRole", "*")] {
            let resource_account = Some(AccountId::from_number(111_122_223_333));
            let request = Request { principal, action, resource, resource_account, context: &context };
            let (decided, explained) = (decide(&request, &policies).outcome, explain(&request, &policies).outcome);
            ensure(decided == explained, || format!("{decided:?} but {explained:?} for {principal:?} {action}"))?;
        }
    }
    Ok(())
}

fn context(principal: &Principal) -> Context {
    let mut context = Context::new();
    principal.context_keys(&mut context);
    context.set("aws:SourceIp", "192.0.2.7");
    context.set("aws:CurrentTime", &NOW.iso8601());
    context.set("aws:SecureTransport", "true");
    context.set("aws:MultiFactorAuthAge", "17");
    context.set_tag("aws:ResourceTag", "team", "Größe ${aws:username}*");
    context.set_all("aws:TagKeys", &["team", "cost"]);
    context
}

pub(super) fn lifecycle(case: &[u8]) -> Verdict {
    let Ok(policy) = lifecycle::LifecyclePolicy::parse(&String::from_utf8_lossy(case)) else { return Ok(false) };
    let tags: [&[&str]; 4] = [&[], &["prod-1", "latest"], &["dev"], &["prod-2", "*"]];
    let image = |(days, tags)| {
        let pushed_at = NOW.minus(std::time::Duration::from_secs(86_400 * (40 - days)));
        lifecycle::Image { tags, pushed_at, pulled_at: Some(pushed_at).filter(|_| days % 3 == 0) }
    };
    let images: Vec<lifecycle::Image<&[&str]>> = (0..40_u64).zip(tags.into_iter().cycle()).map(image).collect();
    let marked = policy.evaluate(&images, NOW);
    ensure(marked.windows(2).all(|pair| pair[0].index < pair[1].index), || "an image is marked twice".into())?;
    let known = |priority| policy.rules().iter().any(|rule| rule.priority == priority && !rule.tag_status().is_empty());
    ensure(marked.iter().all(|one| known(one.priority) && one.index < images.len()), || "marked by no rule".into())?;
    Ok(true)
}

pub(super) const MEDIA_TYPES: [&str; 7] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/json",
];

pub(super) fn manifest(case: &[u8]) -> Verdict {
    manifest::annotations(case);
    let mut accepted = false;
    for declared in [None].into_iter().chain(MEDIA_TYPES.map(Some)) {
        let Ok(found) = manifest::parse(case, declared) else { continue };
        accepted = true;
        found.image_bytes();
        let media_type = found.media_type.as_str();
        conversions(case, media_type)?;
        let same = manifest::parse(case, Some(media_type)).is_ok_and(|same| same.media_type == found.media_type);
        ensure(same, || format!("{media_type} found, then refused"))?;
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            round_trip::<Digest>(&manifest::digest(case, media_type, algorithm).to_string())?;
        }
    }
    // The case as the config of an image, too.
    Ok(is_config(case)? || accepted)
}

/// What is made of a good manifest is one, too.
fn conversions(case: &[u8], media_type: &str) -> Result<(), String> {
    let same_family = |format: &Format| Format::of(media_type) == Some(*format);
    for to in [Format::Schema2, Format::Oci].into_iter().filter(|to| !same_family(to)) {
        let Ok(made) = convert::image(case, to) else { continue };
        let good = manifest::parse(&made, Some(to.media_type())).is_ok();
        ensure(good, || format!("{media_type} was made a bad {}", to.media_type()))?;
    }
    let fates =
        convert::children(case).unwrap_or_default().into_iter().map(|child| (child.digest, Fate::Stays)).collect();
    for to in [Format::List, Format::Index].into_iter().filter(|to| !same_family(to)) {
        let Ok(made) = convert::index(case, to, &fates) else { continue };
        let good = manifest::parse(&made, Some(to.media_type())).is_ok();
        ensure(good, || format!("{media_type} was made a bad {}", to.media_type()))?;
    }
    schema1::source(case).ok();
    Ok(())
}

/// Whether it makes an image of one layer a schema 1 manifest; then that one is good.
fn is_config(case: &[u8]) -> Verdict {
    const IMAGE: &str = r#"{"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"D"},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"D"}]}"#;
    let digest = manifest::digest(b"", "", Algorithm::Sha256).to_string();
    let image =
        schema1::source(IMAGE.replace("\"D\"", &format!("\"{digest}\"")).as_bytes()).map_err(|e| e.to_string())?;
    let (Ok(name), Ok(tag)) = ("team/app".parse(), "v1".parse()) else { return Err("no name".into()) };
    let Ok(made) = schema1::convert(&image, case, &name, &tag) else { return Ok(false) };
    manifest::parse(&made, None).map_err(|error| format!("a bad schema 1 manifest was made: {error}"))?;
    Ok(true)
}

/// Reads a form as each of these requests; whether one of them takes it.
macro_rules! forms {
    ($form:expr, $($of:ident::$request:ident),* $(,)?) => {
        [$(<$of::$request as query::Request>::from_form($form).inspect_err(|fault| {
            answers(&fault.to_string()).ok();
        }).is_ok()),*].contains(&true)
    };
}

/// The body, and after a `?` the query.
pub(super) fn form(case: &[u8]) -> Verdict {
    answers(&String::from_utf8_lossy(case))?;
    let mut halves = case.splitn(2, |byte| *byte == b'?');
    let (body, query) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let Ok(form) = query::Form::parse(body, &String::from_utf8_lossy(query)) else { return Ok(false) };
    let again: String = form_text(&form);
    let same = query::Form::parse(again.as_bytes(), "").is_ok_and(|same| same.pairs().eq(form.pairs()));
    ensure(same, || format!("read otherwise the second time: {again}"))?;
    Ok(forms!(
        &form,
        iam::CreateUserRequest,
        iam::CreateRoleRequest,
        iam::CreatePolicyRequest,
        iam::CreateOpenIDConnectProviderRequest,
        iam::CreateAccountAliasRequest,
        iam::EnableMFADeviceRequest,
        iam::ListPoliciesRequest,
        iam::PutUserPolicyRequest,
        iam::SimulateCustomPolicyRequest,
        iam::UntagUserRequest,
        iam::UpdateAccountPasswordPolicyRequest,
        iam::ChangePasswordRequest,
        iam::GetAccountAuthorizationDetailsRequest,
        sts::AssumeRoleRequest,
        sts::AssumeRoleWithSAMLRequest,
        sts::AssumeRoleWithWebIdentityRequest,
        sts::GetFederationTokenRequest,
        sts::GetAccessKeyInfoRequest,
    ))
}

fn form_text(form: &query::Form) -> String {
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    form.pairs().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect::<Vec<_>>().join("&")
}

/// Any text can stand in an answer, and comes back from it.
fn answers(text: &str) -> Result<(), String> {
    let own = || text.to_owned();
    let tags = Some(vec![iam::Tag { key: own(), value: own() }]);
    let user = iam::User { user_name: own(), arn: own(), tags, ..iam::User::default() };
    let identity = sts::GetCallerIdentityResponse { user_id: Some(own()), account: None, arn: Some(own()) };
    let carried = xml::carried(text);
    for (answer, name, count) in [
        (query::Answer::to_xml(&iam::GetUserResponse { user }, text), "Key", 1),
        (query::Answer::to_xml(&identity, text), "Arn", 1),
        (query::error_xml(sts::NAMESPACE, true, text, text, text), "Message", 1),
    ] {
        let found = xml::texts(&answer, name)?;
        ensure(found == vec![carried.clone(); count], || format!("{name} came back otherwise: {found:?}"))?;
    }
    Ok(())
}

/// Reads a body as each of these requests; whether one of them takes it.
macro_rules! bodies {
    ($body:expr, $($request:ident),* $(,)?) => {
        [$(ecr::$request::from_json($body).is_ok()),*].contains(&true)
    };
}

pub(super) fn json(case: &[u8]) -> Verdict {
    Ok(bodies!(
        case,
        BatchCheckLayerAvailabilityRequest,
        BatchGetImageRequest,
        CompleteLayerUploadRequest,
        CreateRepositoryRequest,
        DescribeImagesRequest,
        DescribeRepositoriesRequest,
        GetAuthorizationTokenRequest,
        GetLifecyclePolicyPreviewRequest,
        ListImageReferrersRequest,
        PutImageRequest,
        PutLifecyclePolicyRequest,
        SetRepositoryPolicyRequest,
        TagResourceRequest,
        UntagResourceRequest,
        UploadLayerPartRequest,
    ))
}

/// Lines: method, path, query, then headers as `name: value`. Accepted is what was read, right or not.
pub(super) fn sigv4(case: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(case);
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (method, path, query) = (line(), line(), line());
    let headers: Vec<(&str, &[u8])> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name, value.as_bytes())).collect();
    let request = sigv4::Request { method, path, query, headers: &headers };
    let Ok(Some(presented)) = sigv4::parse(&request).inspect_err(|fault| drop(fault.to_string())) else {
        return Ok(false);
    };
    let key = sigv4::SigningKey::derive(&Secret::new("fuzz"), &presented.scope);
    for encoding in [sigv4::Encoding::Once, sigv4::Encoding::Twice] {
        let expected = sigv4::Expected { service: "ecr", region: &|region| region == "us-east-1", encoding, now: NOW };
        for payload in [sigv4::Payload::Unsigned, sigv4::Payload::Hash(&sigv4::payload_hash(b""))] {
            if let Err(fault) = sigv4::verify(&presented, &request, &key, payload, &expected) {
                drop((fault.to_string(), format!("{presented:?}")));
            }
        }
    }
    Ok(true)
}

pub(super) static SEALER: LazyLock<Option<Sealer>> =
    LazyLock::new(|| Sealer::new(&[7; 32], "fuzz", Arc::new(SeededRandom::new(7))));

/// Opens only what was sealed, whole and for the same purpose.
pub(super) fn token(case: &[u8]) -> Verdict {
    let sealer = SEALER.as_ref().ok_or("no sealer")?;
    let text = String::from_utf8_lossy(case);
    ensure(sealer.open(&sealer.seal(&text, BINDING), BINDING).as_deref() == Some(&*text), || "not opened".into())?;
    let Some(opened) = sealer.open(&text, BINDING) else { return Ok(false) };
    let known = super::targets::SEALED.iter().any(|(plain, sealed)| *plain == opened && *sealed == text);
    ensure(known, || format!("opened what was never sealed: {opened}"))?;
    ensure(sealer.open(&text, "another").is_none(), || "opened for another purpose".into())?;
    Ok(true)
}

pub(super) fn jwt(case: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(case);
    let provider = OidcProvider {
        url: "https://id.example.com/x".into(),
        client_ids: vec!["sts.amazonaws.com".into()],
        ..OidcProvider::default()
    };
    let account = AccountId::from_number(111_122_223_333);
    let Ok(identity) = identify(&text, account, &provider, super::targets::JWKS, NOW) else { return Ok(false) };
    let signed = |token: &str| token.rsplit_once('.').map(|(signed, _)| signed.to_owned());
    let known = super::targets::JWTS.iter().any(|token| signed(token) == signed(&text));
    ensure(known, || format!("believed what was never signed: {identity:?}"))?;
    Ok(true)
}

/// Whatever is taken is shown as it is read.
fn round_trip<T: std::str::FromStr<Err: std::fmt::Debug> + ToString + PartialEq>(text: &str) -> Result<bool, String> {
    let Ok(value) = text.parse::<T>() else { return Ok(false) };
    let shown = value.to_string();
    match shown.parse::<T>() {
        Ok(again) if again == value => Ok(true),
        Ok(_) => Err(format!("{text:?} is shown as {shown:?}, which is another")),
        Err(fault) => Err(format!("{text:?} is shown as {shown:?}, which is refused: {fault:?}")),
    }
}

pub(super) fn paths(case: &[u8]) -> Verdict {
    use funaya_types::{ImageTag, MediaType, Region, RepositoryArn, RepositoryName, ResourceTag, StorageKey, UploadId};
    let text = &*String::from_utf8_lossy(case);
    let digest = round_trip::<Digest>(text)?;
    if let Ok(digest) = text.parse::<Digest>() {
        ensure(Digest::from_bytes(&digest.to_bytes()) == Ok(digest), || "a digest of other bytes".into())?;
    }
    ensure(!digest || text.is_ascii(), || "a digest that is not ASCII".into())?;
    let mut taken = vec![
        digest,
        round_trip::<RepositoryName>(text)?,
        round_trip::<ImageTag>(text)?,
        round_trip::<MediaType>(text)?,
        round_trip::<AccountId>(text)?,
        round_trip::<Region>(text)?,
        round_trip::<RepositoryArn>(text)?,
        round_trip::<UploadId>(text)?,
        round_trip::<StorageKey>(text)?,
        text.split_once('=').is_some_and(|(key, value)| ResourceTag::new(key, value).is_ok()),
    ];
    if let Some(time) = Timestamp::parse_iso8601(text) {
        let seconds = Timestamp::from_secs(time.secs());
        ensure(Timestamp::parse_iso8601(&time.iso8601()) == Some(seconds), || format!("{time:?} is shown otherwise"))?;
        taken.push(true);
    }
    let host = match Host::parse(text) {
        Host::Registry(registry) => Some(format!("{}.dkr.ecr.{}.example.test:8443", registry.account, registry.region)),
        Host::Service(region) => Some(format!("api.ecr.{region}.example.test")),
        Host::Plain => None,
    };
    let same = host.as_deref().is_none_or(|host| Host::parse(host) == Host::parse(text));
    ensure(same, || format!("{text} and {host:?} are two hosts"))?;
    Ok(host.is_some() || taken.contains(&true))
}

/// Lines: a pattern and a text. Both matchers of the house agree with the plainest one.
pub(super) fn wildcard(case: &[u8]) -> Verdict {
    let case = String::from_utf8_lossy(case);
    let (pattern, text) = case.split_once('\n').unwrap_or((&case, ""));
    let found = Wildcard::new(pattern).matches(text);
    if pattern.len() * text.len() > 1_000_000 {
        return Ok(found);
    }
    let stars = plain(pattern, text, false);
    ensure(found == stars, || format!("{pattern:?} and {text:?}: {found}, not {stars}"))?;
    let stem = "arn:aws:ecr:us-east-1:111122223333:repository/";
    let statement = serde_json::json!({ "Effect": "Allow", "Action": "*", "Resource": format!("{stem}{pattern}") });
    let document = serde_json::json!({ "Version": "2008-10-17", "Statement": statement }).to_string();
    let Ok(document) = Document::parse(&document, Kind::Identity) else { return Ok(found) };
    let named = Named { name: "fuzz".into(), policy_type: PolicyType::Identity, document };
    let (principal, resource) = (&CALLERS[0], format!("{stem}{text}"));
    let (context, resource_account) = (Context::new(), principal.account());
    let request =
        Request { principal, action: "ecr:PutImage", resource: &resource, resource_account, context: &context };
    let allowed = decide(&request, &Policies { identity: &[&named], ..Policies::default() }).is_allowed();
    let wanted = plain(pattern, text, true);
    ensure(allowed == wanted, || format!("resource {pattern:?} and {text:?}: {allowed}, not {wanted}"))?;
    Ok(found || allowed)
}

/// Row by row: which beginnings of the text the beginning of the pattern fits.
fn plain(pattern: &str, text: &str, one: bool) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut fits = vec![false; text.len() + 1];
    fits[0] = true;
    for c in pattern.chars() {
        if c == '*' {
            (1..fits.len()).for_each(|at| fits[at] |= fits[at - 1]);
        } else {
            (1..fits.len()).rev().for_each(|at| fits[at] = fits[at - 1] && (text[at - 1] == c || (one && c == '?')));
            fits[0] = false;
        }
    }
    fits[text.len()]
}

/// The reader below SAML's assertions and metadata, as `funaya-identity` calls it.
pub(super) fn saml(case: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(case);
    let Ok(document) = bergshamra_xml::uppsala::parse(&text) else { return Ok(false) };
    let nodes = document.descendants(document.root());
    let deepest = nodes.iter().map(|node| document.ancestors(*node).len()).max();
    ensure(deepest < Some(1_000), || "nested too deeply".into())?;
    Ok(nodes.iter().any(|node| document.element(*node).is_some()))
}
