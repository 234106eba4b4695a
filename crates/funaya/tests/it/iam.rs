//! Forms that no honest client of IAM sends, and the shape of every answer (COMP-903).

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use funaya_testkit::{ACCESS_KEY, Answer, Client, Key, SECRET_KEY};

use crate::House;

const IAM: &str = "iam";
const VERSION: &str = "Version=2010-05-08";
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

pub fn call(client: &Client, form: &str) -> Answer {
    client.form(IAM, &format!("{VERSION}&{form}")).unwrap()
}

/// The text of the first element of this name.
fn element(text: &str, name: &str) -> String {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let rest = text.split_once(&open).map_or("", |(_, rest)| rest);
    rest.split_once(&close).map_or("", |(inner, _)| inner).to_owned()
}

fn refused(answer: &Answer, status: u16, code: &str) -> String {
    let text = answer.text();
    assert_eq!((answer.status, element(&text, "Code").as_str()), (status, code), "{text}");
    element(&text, "Message")
}

/// Sends raw bytes and reads until the server closes.
fn raw(house: &House, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(house.server.url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let host = house.server.url.trim_start_matches("http://");
    let request = format!("POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{head}\r\n{body}");
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn user_count(house: &House) -> usize {
    call(&house.client, "Action=ListUsers").text().matches("<UserId>").count()
}

/// A client with another key.
fn client(house: &House, id: &str, secret: &str) -> Client {
    house.client.of(Key { id: id.into(), secret: secret.into(), token: None }).unwrap()
}

/// A user with a key and this inline policy.
fn user(house: &House, name: &str, policy: &str) -> Client {
    let (id, secret) = user_key(&house.client, name, policy);
    client(house, &id, &secret)
}

/// The key of a new user with this inline policy.
pub fn user_key(root: &Client, name: &str, policy: &str) -> (String, String) {
    assert_eq!(call(root, &format!("Action=CreateUser&UserName={name}")).status, 200);
    let put = format!("Action=PutUserPolicy&UserName={name}&PolicyName=p&PolicyDocument={}", escaped(policy));
    assert_eq!(call(root, &put).status, 200);
    let made = call(root, &format!("Action=CreateAccessKey&UserName={name}")).text();
    (element(&made, "AccessKeyId"), element(&made, "SecretAccessKey"))
}

pub fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// COMP-903: answers and errors, byte for byte.
#[test]
fn the_shape_of_answers() {
    let house = House::new("iam-shape", &[]);
    let made = call(&house.client, "Action=CreateUser&UserName=alice&Path=%2Fteam%2F");
    let (text, id) = (made.text(), made.header("x-amzn-requestid").to_owned());
    assert_eq!((made.status, made.header("content-type")), (200, "text/xml"));
    let (user, at) = (element(&text, "UserId"), element(&text, "CreateDate"));
    let want = format!(
        "<CreateUserResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><CreateUserResult><User>\
         <Path>/team/</Path><UserName>alice</UserName><UserId>{user}</UserId>\
         <Arn>arn:aws:iam::123456789012:user/team/alice</Arn><CreateDate>{at}</CreateDate></User></CreateUserResult>\
         <ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></CreateUserResponse>"
    );
    assert_eq!(text, want);
    assert_eq!((at.len(), &at[19..]), (20, "Z"), "{at}");

    let missing = call(&house.client, "Action=GetUser&UserName=bob");
    let id = missing.header("x-amzn-requestid").to_owned();
    let want = format!(
        "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender</Type>\
         <Code>NoSuchEntity</Code><Message>The user with name bob cannot be found.</Message></Error>\
         <RequestId>{id}</RequestId></ErrorResponse>"
    );
    assert_eq!((missing.status, missing.text()), (404, want));

    // A document is escaped as in a URL, and then as in XML.
    let policy = r#"{"Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"*"}}"#;
    let put = format!("Action=PutUserPolicy&UserName=alice&PolicyName=p&PolicyDocument={}", escaped(policy));
    assert_eq!(call(&house.client, &put).status, 200);
    let found = call(&house.client, "Action=GetUserPolicy&UserName=alice&PolicyName=p").text();
    assert_eq!(
        element(&found, "PolicyDocument"),
        "%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22ecr%3A%2A%22%2C%22Resource%22%3A%22\
         %2A%22%7D%7D"
    );
}

/// Every fault of a form is named, and nothing happens.
#[test]
fn hostile_forms() {
    let house = House::new("iam-forms", &[]);
    let many: String = (0..10_001).map(|number| format!("&p{number}=")).collect();
    let long = format!("&{}=1", "a".repeat(513));
    let deep = format!("&{}=1", "a.".repeat(20));
    let cases = [
        ("Action=CreateUser&UserName=a&UserName=b", "MalformedQueryString"),
        ("Action=CreateUser&Action=GetUser&UserName=a", "MalformedQueryString"),
        (&format!("Action=CreateUser&UserName=a{many}"), "MalformedQueryString"),
        (&format!("Action=CreateUser&UserName=a{long}"), "MalformedQueryString"),
        (&format!("Action=CreateUser&UserName=a{deep}"), "MalformedQueryString"),
        ("Action=CreateUser&UserName=a&Tags.member.x.Key=b", "MalformedInput"),
        ("Action=CreateUser&UserName=a&Tags.member.1.Key=b&Tags.1.Key=c", "MalformedInput"),
        ("Action=ListUsers&MaxItems=many", "MalformedInput"),
        ("Action=CreateUser", "ValidationError"),
        ("Action=CreateUser&UserName=", "ValidationError"),
        ("Action=CreateUser&UserName=%00", "ValidationError"),
        ("Action=CreateUser&UserName=%FF%FE", "ValidationError"),
        ("Action=CreateUser&UserName=a%0Ab", "ValidationError"),
        ("Action=CreateUser&UserName=a&Path=%2Fa", "ValidationError"),
        ("Action=CreateUser&UserName=a&Tags.member.1.Value=b", "ValidationError"),
        ("Action=ListUsers&Marker=%20", "ValidationError"),
        ("Action=createuser&UserName=a", "InvalidAction"),
        ("Action=%3Cscript%3E", "InvalidAction"),
        ("Action=", "InvalidAction"),
        ("UserName=a", "MissingAction"),
        ("", "MissingAction"),
        ("Action=EnableMFADevice1&UserName=a", "InvalidAction"),
    ];
    for (form, code) in cases {
        let message = refused(&call(&house.client, form), 400, code);
        assert!(!message.contains('<'), "{message}");
    }
    assert_eq!(user_count(&house), 0);
    let message = refused(&house.client.form(IAM, "Action=GetUser").unwrap(), 400, "InvalidAction");
    assert_eq!(message, "Could not find operation GetUser for version NO_VERSION_SPECIFIED");
    let message = refused(&house.client.form(IAM, "Action=GetUser&Version=2009-01-01").unwrap(), 400, "InvalidAction");
    assert_eq!(message, "Could not find operation GetUser for version 2009-01-01");
}

/// COMP-902: whoever can't prove who they are learns only that.
#[test]
fn wrong_signatures() {
    let house = House::new("iam-signatures", &[]);
    let form = format!("{VERSION}&Action=CreateUser&UserName=mallory");
    let query = |id, secret, service| client(&house, id, secret).form(service, &form).unwrap();
    refused(&query(ACCESS_KEY, "wrong", IAM), 403, "SignatureDoesNotMatch");
    refused(&query("AKIANOBODYNOBODYNOBO", SECRET_KEY, IAM), 403, "InvalidClientTokenId");
    refused(&query(ACCESS_KEY, SECRET_KEY, "ecr"), 403, "SignatureDoesNotMatch");
    refused(&query(ACCESS_KEY, SECRET_KEY, "sts"), 403, "SignatureDoesNotMatch");

    let length = format!("Content-Length: {}\r\n", form.len());
    let answer = raw(&house, &format!("{FORM}{length}"), &form);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    assert_eq!(element(&answer, "Code"), "MissingAuthenticationToken", "{answer}");
    let cut = "Authorization: AWS4-HMAC-SHA256 Credential=AKIA\r\n";
    let answer = raw(&house, &format!("{FORM}{length}{cut}"), &form);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(element(&answer, "Code"), "IncompleteSignature", "{answer}");

    // Another body than the signed one, of the same length.
    let head = head(&house, &form);
    let other = form.replace("mallory", "trudy00");
    let answer = raw(&house, &format!("{head}{length}"), &other);
    assert_eq!(element(&answer, "Code"), "SignatureDoesNotMatch", "{answer}");
    // What stands in the URL is signed, too.
    let url = format!("POST /?UserName=trudy HTTP/1.1\r\nHost: {}\r\n", house.server.url.trim_start_matches("http://"));
    let mut stream = TcpStream::connect(house.server.url.trim_start_matches("http://")).unwrap();
    let body = form.replace("&UserName=mallory", "");
    let smuggled = format!("{url}Connection: close\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(smuggled.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(element(&answer, "Code"), "SignatureDoesNotMatch", "{answer}");
    assert_eq!(user_count(&house), 0);
}

/// The headers of a form that the root has signed.
fn head(house: &House, form: &str) -> String {
    let headers = house.client.form_headers(IAM, form);
    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

/// A form of 10 MB is refused by its announced length, without being waited for.
#[test]
fn huge_forms_are_not_read() {
    let house = House::new("iam-huge", &[]);
    let head = head(&house, "");
    let began = Instant::now();
    let answer = raw(&house, &format!("{head}Content-Length: 10000000\r\n"), "Action=GetUser");
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(element(&answer, "Code"), "RequestEntityTooLarge", "{answer}");
    let answer = raw(&house, &format!("{FORM}Content-Length: 10000000\r\n"), "Action=GetUser");
    assert_eq!(element(&answer, "Code"), "MissingAuthenticationToken", "{answer}");
    assert!(began.elapsed() < Duration::from_secs(10));
    // Without a length it is read up to the limit.
    let chunk = format!("40000\r\n{}\r\n", "a".repeat(0x40000)).repeat(5);
    let answer = raw(&house, &format!("{head}Transfer-Encoding: chunked\r\n"), &format!("{chunk}0\r\n\r\n"));
    assert!(answer.is_empty() || element(&answer, "Code") == "RequestEntityTooLarge", "{answer}");
    // A large one within the limit is only wrong.
    let long = format!("Action=CreateUser&UserName={}", "a".repeat(1_000_000));
    refused(&call(&house.client, &long), 400, "ValidationError");
}

/// Members that an operation does not have change nothing, for policies either.
#[test]
fn foreign_members_mean_nothing() {
    let house = House::new("iam-foreign", &[]);
    let approved = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly";
    let policy = format!(
        r#"{{"Statement":[{{"Effect":"Allow","Action":["iam:AttachUserPolicy","iam:PutUserPolicy"],"Resource":"*",
            "Condition":{{"StringEquals":{{"iam:PermissionsBoundary":"{approved}"}}}}}},
            {{"Effect":"Allow","Action":"iam:PutUserPolicy","Resource":"*",
            "Condition":{{"StringEquals":{{"iam:PolicyARN":"{approved}"}}}}}},
            {{"Effect":"Allow","Action":"iam:ChangePassword","Resource":"arn:aws:iam::123456789012:user/victim"}}]}}"#
    );
    let mallory = user(&house, "mallory", &policy);
    user(&house, "victim", r#"{"Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"*"}}"#);
    let boundary = format!("&PermissionsBoundary={}&PolicyArn={}", escaped(approved), escaped(approved));
    let document = escaped(r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#);
    for form in [
        format!("Action=AttachUserPolicy&UserName=mallory{boundary}"),
        format!("Action=PutUserPolicy&UserName=mallory&PolicyName=p&PolicyDocument={document}{boundary}"),
        "Action=ChangePassword&UserName=victim&OldPassword=x&NewPassword=y".into(),
    ] {
        let answer = call(&mallory, &form);
        refused(&answer, 403, "AccessDenied");
        assert!(!answer.header("x-funaya-decision").is_empty());
    }
}

/// Labels count for conditions in whichever way a list is written.
#[test]
fn lists_are_read_once() {
    let house = House::new("iam-lists", &[]);
    let policy = r#"{"Statement":[{"Effect":"Allow","Action":"iam:CreateUser","Resource":"*"},
        {"Effect":"Deny","Action":"iam:CreateUser","Resource":"*",
         "Condition":{"StringEquals":{"aws:RequestTag/team":"red"}}}]}"#;
    let mallory = user(&house, "mallory", policy);
    let query = |form: &str| call(&mallory, form);
    for list in ["Tags.member.1", "Tags.1", "Tags.member.77", "Tags.0"] {
        let form = format!("Action=CreateUser&UserName=x&{list}.Key=team&{list}.Value=red");
        refused(&query(&form), 403, "AccessDenied");
    }
    assert_eq!(query("Action=CreateUser&UserName=x&Tags.1.Key=team&Tags.1.Value=blue").status, 200);
    // ERR-22: of wrong parameters only those learn who may call.
    refused(&query("Action=DeleteUser&UserName=no%20name"), 403, "AccessDenied");
    refused(&query("Action=EnableMFADeviceNow"), 400, "InvalidAction");
}
