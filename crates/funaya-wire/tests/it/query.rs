//! IAM's and STS's requests and answers (COMP-903, COMP-904, COMP-906).

use std::{
    fmt::{Debug, Write},
    time::{Duration, Instant},
};

use funaya_wire::{
    Blob, EpochSeconds, Hidden, iam,
    query::{Answer, Fault, Form, Request, error_xml},
    sts,
};

fn read<R: Request>(body: &str) -> Result<R, Fault> {
    Form::parse(body.as_bytes(), "").and_then(|form| R::from_form(&form))
}

/// The code and the message.
fn fault<R: Request + Debug>(body: &str) -> String {
    let fault = read::<R>(body).expect_err(body);
    format!("{}: {fault}", fault.code())
}

/// `Member must …` at a place, once for each.
fn validation(faults: &[(&str, &str, &str)]) -> String {
    let texts: Vec<String> = faults
        .iter()
        .map(|(value, at, must)| format!("Value {value} at '{at}' failed to satisfy constraint: Member must {must}"))
        .collect();
    let errors = if texts.len() == 1 { "error" } else { "errors" };
    format!("ValidationError: {} validation {errors} detected: {}", texts.len(), texts.join("; "))
}

fn tags(body: &str) -> Vec<String> {
    let request: iam::CreateUserRequest = read(&format!("UserName=u&{body}")).unwrap();
    let tags = request.tags.unwrap_or_default();
    tags.into_iter().map(|tag| format!("{}={}", tag.key, tag.value)).collect()
}

const NAME: &str = r"satisfy regular expression pattern: [\w+=,.@-]+";

#[test]
fn texts() {
    assert_eq!(fault::<iam::CreateUserRequest>(""), validation(&[("null", "userName", "not be null")]));
    let long = "x".repeat(65);
    assert_eq!(
        fault::<iam::CreateUserRequest>(&format!("UserName={long}")),
        validation(&[(&format!("'{long}'"), "userName", "have length less than or equal to 64")])
    );
    assert_eq!(
        fault::<iam::CreateUserRequest>("UserName=&Path=x"),
        validation(&[
            ("'x'", "path", r"satisfy regular expression pattern: (\u002F)|(\u002F[\u0021-\u007E]+\u002F)"),
            ("''", "userName", "have length greater than or equal to 1"),
            ("''", "userName", NAME),
        ])
    );
    assert_eq!(fault::<iam::GetUserRequest>("UserName=a%0A"), validation(&[("'a\n'", "userName", NAME)]));
    assert_eq!(
        fault::<iam::UpdateAccessKeyRequest>("AccessKeyId=AKIA0000000000000000&Status=on"),
        validation(&[("'on'", "status", "satisfy enum value set: [Active, Inactive, Expired]")])
    );
    for (number, must) in [("0", "greater than or equal to 1"), ("1001", "less than or equal to 1000")] {
        let want = validation(&[(&format!("'{number}'"), "maxItems", &format!("have value {must}"))]);
        assert_eq!(fault::<iam::ListUsersRequest>(&format!("MaxItems={number}")), want);
    }
    assert_eq!(
        fault::<iam::CreateSAMLProviderRequest>("Name=n&SAMLMetadataDocument=x"),
        validation(&[("'x'", "sAMLMetadataDocument", "have length greater than or equal to 1000")])
    );
    assert_eq!(
        fault::<iam::CreateUserRequest>("UserName=u&Tags.member.1.Key=k&Tags.member.7.Value=%23"),
        validation(&[
            ("null", "tags.1.member.value", "not be null"),
            ("null", "tags.7.member.key", "not be null"),
            ("'#'", "tags.7.member.value", r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]*"),
        ])
    );
    let keys: String = (1..=51).map(|number| format!("&TagKeys.member.{number}=k")).collect();
    let quoted = format!("'[{}]'", vec!["k"; 51].join(", "));
    assert_eq!(
        fault::<iam::UntagUserRequest>(&format!("UserName=u{keys}")),
        validation(&[(&quoted, "tagKeys", "have length less than or equal to 50")])
    );
}

/// A policy of the greatest length is a text for the pattern.
#[test]
fn long_texts() {
    let policy = |text: &str| read::<iam::CreatePolicyRequest>(&format!("PolicyName=p&PolicyDocument={text}"));
    assert!(policy(&"%C3%BF".repeat(131_072)).is_ok());
    let text = policy(&"x".repeat(131_073)).unwrap_err().to_string();
    let must = "failed to satisfy constraint: Member must have length less than or equal to 131072";
    assert!(text.ends_with(&format!("...' at 'policyDocument' {must}")), "{text}");
    assert!(text.len() < 2_000);
}

/// No secret is quoted or shown.
#[test]
fn secrets() {
    let form = Form::parse(b"Action=ChangePassword&OldPassword=tiger&NewPassword=s3cret%F0%9F%98%80", "").unwrap();
    assert_eq!(format!("{form:?}"), "Form(ChangePassword of 3 parameters)");
    assert_eq!(
        fault::<iam::ChangePasswordRequest>("OldPassword=tiger&NewPassword=s3cret%F0%9F%98%80"),
        validation(&[(
            "'***'",
            "newPassword",
            r"satisfy regular expression pattern: [\u0009\u000A\u000D\u0020-\u00FF]+"
        )])
    );
    let assertion = "RoleArn=arn:aws:iam::1:role/r&PrincipalArn=arn:aws:iam::1:saml-provider/p&SAMLAssertion=";
    let must = [("'***'", "sAMLAssertion", "have length greater than or equal to 4")];
    assert_eq!(fault::<sts::AssumeRoleWithSAMLRequest>(&format!("{assertion}abc")), validation(&must));
    let read: sts::AssumeRoleWithSAMLRequest = read(&format!("{assertion}PHNhbWw%2B")).unwrap();
    assert_eq!(read.saml_assertion, Hidden("PHNhbWw+".into()));
    assert!(!format!("{read:?}").contains("PHN"));
    let secret = sts::Credentials { session_token: Hidden("token".into()), ..Default::default() };
    assert!(!format!("{secret:?}").contains("token\""));
}

#[test]
fn lists() {
    let key = |number: &str, style: &str| format!("Tags{style}.{number}.Key=k{number}&Tags{style}.{number}.Value=");
    for style in [".member", ""] {
        let body = ["10", "9", "1", "99999999999", "0"].map(|number| key(number, style)).join("&");
        assert_eq!(tags(&body), ["k0=", "k1=", "k9=", "k10=", "k99999999999="], "{style}");
    }
    let empty: iam::CreateUserRequest = read("UserName=u&Tags=").unwrap();
    assert_eq!(empty.tags, Some(vec![]));
    assert_eq!(read::<iam::CreateUserRequest>("UserName=u").unwrap().tags, None);
    let nested: iam::SimulateCustomPolicyRequest = read(concat!(
        "PolicyInputList.member.2=b&PolicyInputList.member.1=a&ActionNames.1=ecr:GetX",
        "&ContextEntries.member.1.ContextKeyName=aws%3Aname&ContextEntries.member.1.ContextKeyValues.member.2=y",
        "&ContextEntries.member.1.ContextKeyValues.member.1=x&ContextEntries.member.1.ContextKeyType=stringList",
    ))
    .unwrap();
    assert_eq!(nested.policy_input_list, ["a", "b"]);
    let entries = nested.context_entries.unwrap();
    assert_eq!(entries[0].context_key_values.as_deref(), Some(&["x".to_owned(), "y".into()][..]));
    assert_eq!(entries[0].context_key_type, Some(iam::ContextKeyTypeEnum::StringList));
}

/// What cannot be read is told, never dropped: a list of policies that limits a session must be whole.
#[test]
fn wrong_types() {
    let numbered = "MalformedInput: 'tags' must be a list whose items are numbered";
    let cases = [
        ("Tags=x", "MalformedInput: 'tags' must be a list"),
        ("Tags.member.1=x", "MalformedInput: 'tags.1.member' must be an item of the list"),
        ("Tags.member.x.Key=k", numbered),
        ("Tags.member.=k", numbered),
        ("Tags.member=k", numbered),
        ("Tags.=k", numbered),
        ("Tags.member.01.Key=k", numbered),
        ("Tags.member.%2B1.Key=k", numbered),
        ("Tags.member.-1.Key=k", numbered),
        ("Tags.member.99999999999999999999.Key=k", numbered),
        ("Tags.member.1.Key=k&Tags.2.Key=k", numbered),
        ("Tags.Key=k", numbered),
    ];
    for (body, want) in cases {
        assert_eq!(fault::<iam::CreateUserRequest>(&format!("UserName=u&{body}")), want, "{body}");
    }
    for number in ["", "x", "1.5", " 1", "1e3", "99999999999999999999"] {
        let want = "MalformedInput: 'maxItems' must be a whole number";
        assert_eq!(fault::<iam::ListUsersRequest>(&format!("MaxItems={number}")), want, "{number}");
    }
    for flag in ["", "True", "1", "yes"] {
        let want = "MalformedInput: 'setAsDefault' must be true or false";
        let body = format!("PolicyArn=arn:aws:iam::1:policy/p&PolicyDocument=x&SetAsDefault={flag}");
        assert_eq!(fault::<iam::CreatePolicyVersionRequest>(&body), want, "{flag}");
    }
    let item = "MalformedInput: 'tagKeys.1.member' must be an item of the list";
    assert_eq!(fault::<iam::UntagUserRequest>("UserName=u&TagKeys.member.1.x=k"), item);
}

#[test]
fn forms() {
    let form = Form::parse(b"Action=GetUser&&Version=2010-05-08&UserName=a%2Bb+c&Empty&X=%FF", "Y=1&Z.z=%E2%82%AC");
    let form = form.unwrap();
    assert_eq!((form.action(), form.version()), (Some("GetUser"), Some(iam::VERSION)));
    let values = ["UserName", "Empty", "X", "Y", "Z.z", "username"].map(|name| form.get(name));
    assert_eq!(values, [Some("a+b c"), Some(""), Some("\u{fffd}"), Some("1"), Some("€"), None]);
    let empty = Form::parse(b"", "").unwrap();
    assert_eq!((empty.action(), empty.version()), (None, None));
    // Two readers must not see two requests.
    for (body, query) in [("A=1&A=1", ""), ("A=1&%41=2", ""), ("A=1", "A=1"), ("", "A&A=")] {
        let fault = Form::parse(body.as_bytes(), query).unwrap_err();
        assert_eq!((fault.code(), &*fault.to_string()), ("MalformedQueryString", "the parameter 'A' appears twice"));
    }
    // Any bytes are a form or a fault.
    let bytes: Vec<u8> = (0..=255).collect();
    assert!(Form::parse(&bytes, "%%%=%&%zz").is_ok());
}

/// Forms made to hurt cost little.
#[test]
fn hostile_forms() {
    let start = Instant::now();
    let refused = |body: &str| {
        let fault = Form::parse(body.as_bytes(), "").unwrap_err();
        assert_eq!(fault.code(), "MalformedQueryString");
        fault.to_string()
    };
    let mut pairs = String::new();
    (0..1_000_000).for_each(|number| write!(pairs, "{number}&").unwrap());
    assert_eq!(refused(&pairs), "more than 10000 parameters");
    assert!(Form::parse(&b"&".repeat(10_000_000), "").is_ok());
    assert!(refused(&"a.".repeat(5_000_000)).contains("too long"));
    assert!(refused(&"a.".repeat(16)).contains("too long"));
    assert!(refused(&"a".repeat(513)).contains("too long"));
    assert!(Form::parse("a".repeat(512).as_bytes(), &"b.".repeat(15)).is_ok());
    // As many faults as there is room for.
    let mut body = "UserName=u".to_owned();
    (1..10_000).for_each(|number| write!(body, "&Tags.member.{number}.Value={}", "%23".repeat(300)).unwrap());
    let text = fault::<iam::TagUserRequest>(&body);
    assert!(text.starts_with("ValidationError: 29998 validation errors detected: Value '[...,"), "{}", &text[..200]);
    assert!(text.len() < 60_000, "{}", text.len());
    // Lists of lists.
    let mut body = "ActionNames.1=ecr:GetX&PolicyInputList.1=p".to_owned();
    for entry in 0..99 {
        write!(body, "&ContextEntries.{entry}.ContextKeyName=aws:name").unwrap();
        (0..99).for_each(|value| write!(body, "&ContextEntries.{entry}.ContextKeyValues.{value}=v").unwrap());
    }
    let read: iam::SimulateCustomPolicyRequest = read(&body).unwrap();
    assert_eq!(read.context_entries.map(|entries| entries.len()), Some(99));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

const ID: &str = "8d6a7e6c-0000-4000-8000-000000000000";

#[test]
fn answers() {
    let user = iam::User {
        path: "/".into(),
        user_name: "a&b".into(),
        user_id: "AIDA".into(),
        arn: "arn:aws:iam::1:user/a".into(),
        create_date: EpochSeconds(1_372_167_900.9),
        tags: Some(vec![]),
        ..Default::default()
    };
    assert_eq!(
        iam::CreateUserResponse { user: Some(user) }.to_xml(ID),
        format!(
            "<CreateUserResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><CreateUserResult><User>\
             <Path>/</Path><UserName>a&amp;b</UserName><UserId>AIDA</UserId><Arn>arn:aws:iam::1:user/a</Arn>\
             <CreateDate>2013-06-25T13:45:00Z</CreateDate><Tags></Tags></User></CreateUserResult>\
             <ResponseMetadata><RequestId>{ID}</RequestId></ResponseMetadata></CreateUserResponse>"
        )
    );
    assert_eq!(
        iam::DeleteUserResponse {}.to_xml(ID),
        format!(
            "<DeleteUserResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><ResponseMetadata>\
             <RequestId>{ID}</RequestId></ResponseMetadata></DeleteUserResponse>"
        )
    );
    let map = [(iam::SummaryKeyType::Users, 3), (iam::SummaryKeyType::MFADevices, 0)].into();
    let xml = iam::GetAccountSummaryResponse { summary_map: Some(map) }.to_xml(ID);
    let entries = "<SummaryMap><entry><key>Users</key><value>3</value></entry><entry><key>MFADevices</key>\
                   <value>0</value></entry></SummaryMap>";
    assert!(xml.contains(entries), "{xml}");
    let report = iam::GetCredentialReportResponse { content: Some(Blob(b"a,b".to_vec())), ..Default::default() };
    assert!(
        report.to_xml(ID).contains("<GetCredentialReportResult><Content>YSxi</Content></GetCredentialReportResult>")
    );
    // One shape, two operations.
    assert!(iam::SimulateCustomPolicyResponse::default().to_xml(ID).contains("<SimulateCustomPolicyResult></Sim"));
    assert!(
        iam::SimulatePrincipalPolicyResponse::default().to_xml(ID).contains("<SimulatePrincipalPolicyResult></Sim")
    );
    let caller = sts::GetCallerIdentityResponse { account: Some("1".into()), ..Default::default() }.to_xml("<id>");
    assert!(caller.contains("<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"));
    assert!(caller.contains("<Account>1</Account></GetCallerIdentityResult>"), "{caller}");
    assert!(caller.contains("<RequestId>&lt;id&gt;</RequestId>"), "{caller}");
}

#[test]
fn errors() {
    assert_eq!(
        error_xml(iam::NAMESPACE, true, "NoSuchEntity", "The user with name a<b\0 cannot be found.", ID),
        format!(
            "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender</Type>\
             <Code>NoSuchEntity</Code><Message>The user with name a&lt;b\u{fffd} cannot be found.</Message></Error>\
             <RequestId>{ID}</RequestId></ErrorResponse>"
        )
    );
    assert!(error_xml(sts::NAMESPACE, false, "X", "", "").contains("<Type>Receiver</Type>"));
}

/// Every character is written, escaped or replaced.
#[test]
fn escapes() {
    let text: String = ('\0'..='\u{ffff}').chain(['\u{10000}', '\u{10ffff}']).collect();
    let xml = error_xml("n", true, "c", &text, "r");
    let (_, message) = xml.split_once("<Message>").unwrap();
    let (message, _) = message.split_once("</Message>").unwrap();
    assert!(!message.contains(|c: char| c.is_ascii_control() && !"\t\n\u{7f}".contains(c)));
    assert!(!message.contains(['<', '>', '"', '\'', '\u{fffe}', '\u{ffff}']));
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&#13;", "\r"), ("&amp;", "&")];
    let back = entities.iter().fold(message.to_owned(), |text, (entity, c)| text.replace(entity, c));
    let forbidden = |c: char| (c < ' ' && !"\t\n\r".contains(c)) || c == '\u{fffe}' || c == '\u{ffff}';
    assert_eq!(back, text.replace(forbidden, "\u{fffd}"));
}

#[test]
fn operations() {
    assert_eq!((iam::Operation::ALL.len(), sts::Operation::ALL.len()), (131, 8));
    for operation in iam::Operation::ALL {
        assert_eq!(iam::Operation::parse(operation.name()), Some(*operation));
        assert!(operation.errors().iter().all(|code| iam::status(code).is_some()), "{operation:?}");
    }
    for name in ["UploadSSHPublicKey", "createUser", ""] {
        assert_eq!(iam::Operation::parse(name), None, "{name}");
    }
    assert!(iam::Operation::CreateUser.allows("EntityAlreadyExists"));
    assert!(!iam::Operation::CreateUser.allows("EntityAlreadyExistsException"));
    let statuses =
        ["NoSuchEntity", "EntityAlreadyExists", "DeleteConflict", "MalformedPolicyDocument", "ServiceFailure"];
    assert_eq!(statuses.map(iam::status), [404, 409, 409, 400, 500].map(Some));
    assert_eq!(iam::status("AccessDenied"), None);
    assert_eq!((iam::SIGNING_NAME, sts::SIGNING_NAME, sts::VERSION), ("iam", "sts", "2011-06-15"));
}
