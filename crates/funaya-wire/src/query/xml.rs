//! Answers and errors as XML.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{Blob, EpochSeconds, Hidden, shape::Words};

/// The body of an error. `sender` says whose fault it is: the caller's, or the service's own.
pub fn error_xml(namespace: &str, sender: bool, code: &str, message: &str, request_id: &str) -> String {
    let mut out = Xml::default();
    out.root("ErrorResponse", namespace);
    out.open("Error");
    out.leaf("Type", if sender { "Sender" } else { "Receiver" });
    out.leaf("Code", code);
    out.leaf("Message", message);
    out.close("Error");
    out.leaf("RequestId", request_id);
    out.close("ErrorResponse");
    out.text
}

/// The body of an answer: the result inside its own element, if there is one.
pub(crate) fn answer_xml(
    namespace: &str,
    operation: &str,
    result: Option<(&str, &dyn Element)>,
    request_id: &str,
) -> String {
    let (mut out, root) = (Xml::default(), format!("{operation}Response"));
    out.root(&root, namespace);
    if let Some((wrapper, result)) = result {
        result.write(wrapper, &mut out);
    }
    out.open("ResponseMetadata");
    out.leaf("RequestId", request_id);
    out.close("ResponseMetadata");
    out.close(&root);
    out.text
}

/// XML in the making. Names come from the models and need no escapes.
#[derive(Default)]
pub(crate) struct Xml {
    text: String,
}

impl Xml {
    fn root(&mut self, name: &str, namespace: &str) {
        self.push(&["<", name, " xmlns=\""]);
        self.escape(namespace);
        self.push(&["\">"]);
    }

    pub(crate) fn open(&mut self, name: &str) {
        self.push(&["<", name, ">"]);
    }

    pub(crate) fn close(&mut self, name: &str) {
        self.push(&["</", name, ">"]);
    }

    fn leaf(&mut self, name: &str, text: &str) {
        self.open(name);
        self.escape(text);
        self.close(name);
    }

    fn push(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.text.push_str(part));
    }

    /// A carriage return must not become a line feed on the way, and what XML 1.0 forbids becomes U+FFFD.
    fn escape(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                '\'' => self.text.push_str("&#39;"),
                '\r' => self.text.push_str("&#13;"),
                '\t' | '\n' => self.text.push(c),
                '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => self.text.push('\u{fffd}'),
                _ => self.text.push(c),
            }
        }
    }
}

/// What stands between two tags.
pub(crate) trait Element {
    fn write(&self, name: &str, out: &mut Xml);
}

impl Element for String {
    fn write(&self, name: &str, out: &mut Xml) {
        out.leaf(name, self);
    }
}

impl Element for Hidden {
    fn write(&self, name: &str, out: &mut Xml) {
        out.leaf(name, &self.0);
    }
}

impl Element for i64 {
    fn write(&self, name: &str, out: &mut Xml) {
        out.leaf(name, &self.to_string());
    }
}

impl Element for bool {
    fn write(&self, name: &str, out: &mut Xml) {
        out.leaf(name, if *self { "true" } else { "false" });
    }
}

impl Element for Blob {
    fn write(&self, name: &str, out: &mut Xml) {
        out.leaf(name, &STANDARD.encode(&self.0));
    }
}

impl Element for EpochSeconds {
    fn write(&self, name: &str, out: &mut Xml) {
        out.leaf(name, &self.iso());
    }
}

impl<W: Words> Element for W {
    fn write(&self, name: &str, out: &mut Xml) {
        out.leaf(name, self.word());
    }
}

impl<E: Element> Element for Option<E> {
    fn write(&self, name: &str, out: &mut Xml) {
        if let Some(element) = self {
            element.write(name, out);
        }
    }
}

impl<E: Element> Element for Vec<E> {
    fn write(&self, name: &str, out: &mut Xml) {
        out.open(name);
        self.iter().for_each(|item| item.write("member", out));
        out.close(name);
    }
}

impl<K: Element, V: Element> Element for BTreeMap<K, V> {
    fn write(&self, name: &str, out: &mut Xml) {
        out.open(name);
        for (key, value) in self {
            out.open("entry");
            key.write("key", out);
            value.write("value", out);
            out.close("entry");
        }
        out.close(name);
    }
}
