//! Why a text is no policy.

/// A document that was refused.
///
/// [`text`](Self::text) is what AWS answers in `MalformedPolicyDocument`, as far as that is known;
/// [`reason`](Self::reason) says in our own words what to mend. A door whose service has one text for all faults
/// (ECR: POL-14) uses its own instead of `text`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Malformed {
    text: Box<str>,
    reason: Box<str>,
    over_limit: Option<usize>,
}

impl Malformed {
    pub(crate) fn new(text: impl Into<Box<str>>, reason: impl Into<Box<str>>) -> Self {
        Self { text: text.into(), reason: reason.into(), over_limit: None }
    }

    pub(crate) fn syntax(reason: impl Into<Box<str>>) -> Self {
        Self::new("Syntax errors in policy.", reason)
    }

    pub(crate) fn legacy(reason: impl Into<Box<str>>) -> Self {
        Self::new("The policy failed legacy parsing", reason)
    }

    pub(crate) fn too_large(limit: usize, size: usize) -> Self {
        Self {
            text: format!("Cannot exceed quota for PolicySize: {limit}").into(),
            reason: format!("{size} characters are more than {limit}").into(),
            over_limit: Some(limit),
        }
    }

    /// Another text for the same fault, for services that have only one.
    pub(crate) fn with_text(self, text: &str) -> Self {
        if self.over_limit.is_some() { self } else { Self { text: text.into(), ..self } }
    }

    /// The message of AWS.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong, for whoever wrote the document.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The limit in characters, if the document is only too large; services answer `LimitExceeded` then.
    pub fn over_limit(&self) -> Option<usize> {
        self.over_limit
    }
}
