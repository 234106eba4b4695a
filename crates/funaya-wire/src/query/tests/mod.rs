//! All operations' requests and answers, as botocore writes and reads them: see `tests/judge.py`.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use super::{
    Form, Request,
    sample::{Sampled, Shown},
};
use crate::{
    Blob, EpochSeconds, Hidden, iam,
    shape::{Bytes, Concealed, List, Map, Nested, Text, Time},
    sts,
};

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// What the judge wrote: operation, body, what is read from it.
fn requests(service: &str, all: &[(&str, Shown)]) {
    let text = fs::read_to_string(data(&format!("{service}.requests.jsonl"))).unwrap();
    let mut seen = 0;
    for line in text.lines() {
        let (operation, body, want): (String, String, String) = serde_json::from_str(line).unwrap();
        let (_, read) = all.iter().find(|(name, _)| *name == operation).expect("a listed operation");
        let form = Form::parse(body.as_bytes(), "").unwrap();
        assert_eq!(form.action(), Some(&*operation));
        assert_eq!(read(&form).as_ref(), Ok(&want), "{operation} {body}");
        // The same in the query string.
        assert_eq!(read(&Form::parse(b"", &body).unwrap()), Ok(want));
        seen += 1;
    }
    // Each with all members and with those required.
    assert_eq!(seen, all.len() * 2);
}

/// What the judge has seen and found right.
fn answers(service: &str, all: &[(&str, Sampled)]) {
    let lines = all.iter().map(|(name, sampled)| serde_json::to_string(&(name, sampled())).unwrap() + "\n");
    let (found, path) = (lines.collect::<String>(), data(&format!("{service}.answers.jsonl")));
    if env::var_os("FUNAYA_BLESS").is_some() {
        fs::write(&path, &found).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap(), found, "bless, and let the judge see it");
}

#[test]
fn iam_requests() {
    requests("iam", iam::all::REQUESTS);
}

#[test]
fn sts_requests() {
    requests("sts", sts::all::REQUESTS);
}

#[test]
fn iam_answers() {
    answers("iam", iam::all::ANSWERS);
}

#[test]
fn sts_answers() {
    answers("sts", sts::all::ANSWERS);
}

static SHORT: Text = Text { min: None, max: Some(3), pattern: None };
static SECRET: Concealed = Concealed(Text { min: Some(2), max: None, pattern: None });
static SECRETS: List<&Concealed> = List { min: None, max: Some(1), item: &SECRET };
static BYTES: Bytes = Bytes { min: None, max: Some(2) };
static LABELS: Map<&Text, &Text> = Map { min: None, max: Some(2), key: &SHORT, value: &SHORT };
static PARTS: List<Nested<Part>> = List { min: None, max: None, item: Nested::RULE };

super::input!(
    Part {
        optional at: Option<EpochSeconds> = "At" Time,
        optional labels: Option<BTreeMap<String, String>> = "Labels" &LABELS,
        optional parts: Option<Vec<Part>> = "Parts" &PARTS,
    }
);
super::request!(
    Whole {
        optional bytes: Option<Blob> = "Bytes" &BYTES,
        optional secrets: Option<Vec<Hidden>> = "Secrets" &SECRETS,
        optional part: Option<Part> = "Part" Nested::RULE,
    }
);

fn whole(body: &str) -> Result<Whole, String> {
    let read = Form::parse(body.as_bytes(), "").and_then(|form| Whole::from_form(&form));
    read.map_err(|fault| format!("{}: {fault}", fault.code()))
}

/// What the protocol has and no request of the listed operations.
#[test]
fn other_types() {
    assert_eq!(whole("Part=x&Bytes.1=x"), Ok(Whole::default()));
    let found = whole(
        "Bytes=%2Bw%3D%3D&Part.At=2013-06-25T13%3A45%3A00Z\
         &Part.Parts.member.1.Parts.member.3.At=1970-01-01T00:00:00.5%2B00:00",
    );
    let inner = Part { at: Some(EpochSeconds(0.5)), ..Part::default() };
    let middle = Part { parts: Some(vec![inner]), ..Part::default() };
    let part = Part { at: Some(EpochSeconds(1_372_167_900.0)), parts: Some(vec![middle]), ..Part::default() };
    assert_eq!(found, Ok(Whole { bytes: Some(Blob(vec![0xfb])), part: Some(part), ..Whole::default() }));
    let map = |body: &str| whole(body).map(|whole| whole.part.and_then(|part| part.labels).unwrap_or_default());
    let labels = BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
    for body in [
        "Part.Labels.entry.10.key=a&Part.Labels.entry.10.value=1&Part.Labels.entry.9.key=b&Part.Labels.entry.9.value=2",
        "Part.Labels.1.key=a&Part.Labels.1.value=1&Part.Labels.2.key=b&Part.Labels.2.value=2",
    ] {
        assert_eq!(map(body), Ok(labels.clone()), "{body}");
    }
}

#[test]
fn other_faults() {
    let one = |value, at, must| {
        let text = "ValidationError: 1 validation error detected: Value";
        format!("{text} '{value}' at '{at}' failed to satisfy constraint: Member must have length {must}")
    };
    let cases = [
        ("Bytes=%", "MalformedInput: 'bytes' must be base64".into()),
        ("Bytes=YWJj", one("...", "bytes", "less than or equal to 2")),
        ("Part.At=1", "MalformedInput: 'part.at' must be a time of ISO 8601".into()),
        ("Part.Labels.entry.1.key=a", "MalformedInput: 'part.labels.1.member.value' must be part of an entry".into()),
        ("Part.Labels.entry.1.value=a", "MalformedInput: 'part.labels.1.member.key' must be part of an entry".into()),
        (
            "Part.Labels.entry.1.key=a&Part.Labels.entry.1.value=b\
             &Part.Labels.entry.2.key=a&Part.Labels.entry.2.value=c",
            "MalformedInput: 'part.labels' must be a map whose keys come once".into(),
        ),
        ("Part.Labels.entry.x.key=a", "MalformedInput: 'part.labels' must be a list whose items are numbered".into()),
        ("Secrets.member.1=a", one("***", "secrets.1.member", "greater than or equal to 2")),
        ("Secrets.1=ab&Secrets.2=cd", one("[***, ***]", "secrets", "less than or equal to 1")),
    ];
    for (body, want) in cases {
        assert_eq!(whole(body), Err(want), "{body}");
    }
}
