//! The query protocol of IAM and STS: a form comes in, XML goes out.

mod form;
mod read;
#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
mod xml;

pub use form::Form;
pub use xml::error_xml;

pub(crate) use read::{Members, Structure, read};
pub(crate) use xml::{Element, Xml, answer_xml};

/// Why a request could not be read. All are the sender's fault, with status 400; the text is the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The form itself: a name twice, too many of them, too long or too deep.
    #[error("{0}")]
    Form(String),
    /// A value of the wrong type, or a list whose numbers are none.
    #[error("{0}")]
    Malformed(String),
    /// Values outside their constraints, or required ones that are absent: all of them in one text.
    #[error("{0}")]
    Validation(String),
}

impl Fault {
    /// The error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Form(_) => "MalformedQueryString",
            Self::Malformed(_) => "MalformedInput",
            Self::Validation(_) => "ValidationError",
        }
    }
}

/// The members of an operation's request.
pub trait Request: Sized {
    /// Reads and checks a form.
    fn from_form(form: &Form) -> Result<Self, Fault>;
}

/// An operation's answer.
pub trait Answer {
    /// The body of the answer.
    fn to_xml(&self, request_id: &str) -> String;
}

/// Makes structures. Each member has a line: how it is read, its field, its type, its name and its rule.
macro_rules! record {
    ($name:ident { $($field:ident: $of:ty),* $(,)? }) => {
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            $(pub $field: $of,)*
        }
    };
}

/// A structure inside requests.
macro_rules! input {
    ($name:ident { $($how:ident $field:ident: $of:ty = $member:literal $rule:expr),* $(,)? }) => {
        crate::query::record!($name { $($field: $of,)* });
        crate::query::reader!($name { $($how $field $member $rule,)* });
    };
}

/// A whole request.
macro_rules! request {
    ($name:ident { $($members:tt)* }) => {
        crate::query::input!($name { $($members)* });

        impl crate::query::Request for $name {
            fn from_form(form: &crate::query::Form) -> Result<Self, crate::query::Fault> {
                crate::query::read(form)
            }
        }
    };
}

/// A structure inside answers.
macro_rules! output {
    ($name:ident { $($field:ident: $of:ty = $member:literal),* $(,)? }) => {
        crate::query::record!($name { $($field: $of,)* });
        crate::query::writer!($name { $($field $member,)* });
    };
}

/// A structure inside both.
macro_rules! shared {
    ($name:ident { $($how:ident $field:ident: $of:ty = $member:literal $rule:expr),* $(,)? }) => {
        crate::query::record!($name { $($field: $of,)* });
        crate::query::reader!($name { $($how $field $member $rule,)* });
        crate::query::writer!($name { $($field $member,)* });
    };
}

/// A whole answer, of an operation and with an element of its own if it holds anything.
macro_rules! answer {
    ($name:ident of $operation:literal $(in $wrapper:literal)? { $($members:tt)* }) => {
        crate::query::output!($name { $($members)* });

        impl crate::query::Answer for $name {
            fn to_xml(&self, request_id: &str) -> String {
                let result: Option<(&str, &dyn crate::query::Element)> = None$(.or(Some(($wrapper, self))))?;
                crate::query::answer_xml(NAMESPACE, $operation, result, request_id)
            }
        }
    };
}

macro_rules! reader {
    ($name:ident { $($how:ident $field:ident $member:literal $rule:expr),* $(,)? }) => {
        impl crate::query::Structure for $name {
            fn fill(_members: &crate::query::Members<'_>) -> Result<Self, crate::query::Fault> {
                Ok(Self { $($field: _members.$how($member, $rule)?,)* })
            }
        }
    };
}

macro_rules! writer {
    ($name:ident { $($field:ident $member:literal),* $(,)? }) => {
        impl crate::query::Element for $name {
            fn write(&self, name: &str, out: &mut crate::query::Xml) {
                out.open(name);
                $(self.$field.write($member, out);)*
                out.close(name);
            }
        }

        #[cfg(test)]
        impl crate::query::sample::Sample for $name {
            fn sample(_count: &mut i64) -> Self {
                Self { $($field: crate::query::sample::Sample::sample(_count),)* }
            }
        }
    };
}

pub(crate) use {answer, input, output, reader, record, request, shared, writer};
