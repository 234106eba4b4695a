//! The IAM policy language: reading documents, checking them, and deciding requests.
//!
//! Pure: no I/O, no clock, no async. Whoever uses it loads the policies that apply, fills a [`Context`] with the
//! condition keys of the request (the time among them), and asks [`decide`].
//!
//! ```
//! use funaya_policy::{Context, Document, Kind, Named, Policies, PolicyType, Principal, Request, decide};
//!
//! let text = r#"{
//!     "Version": "2012-10-17",
//!     "Statement": {
//!         "Effect": "Allow",
//!         "Action": "ecr:*",
//!         "Resource": "arn:aws:ecr:*:111122223333:repository/${aws:username}/*"
//!     }
//! }"#;
//! let policy = Named {
//!     name: "inline policy Own of user alice".into(),
//!     policy_type: PolicyType::Identity,
//!     document: Document::parse(text, Kind::Identity)?,
//! };
//! let account = "111122223333".parse()?;
//! let alice = Principal::User {
//!     account,
//!     name: "alice".into(),
//!     arn: "arn:aws:iam::111122223333:user/alice".into(),
//!     id: "AIDAEXAMPLEALICE0001".into(),
//! };
//! let mut context = Context::new();
//! alice.context_keys(&mut context);
//! let request = Request {
//!     principal: &alice,
//!     action: "ecr:PutImage",
//!     resource: "arn:aws:ecr:us-east-1:111122223333:repository/alice/app",
//!     resource_account: Some(account),
//!     context: &context,
//! };
//! let policies = Policies { identity: &[&policy], ..Policies::default() };
//! assert!(decide(&request, &policies).is_allowed());
//!
//! let elsewhere = Request { resource: "arn:aws:ecr:us-east-1:111122223333:repository/bob/app", ..request };
//! assert!(!decide(&elsewhere, &policies).is_allowed());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it is built
//!
//! A text becomes a [`Document`] in three steps: `json` reads it without losing anything (duplicate keys, order),
//! `parse` checks it for its [`Kind`] as AWS would and gives AWS's text for the first fault ([`Malformed`]), and the
//! elements are compiled: `principals`, `pattern` (wildcards), `template` (variables), `condition` (operators).
//!
//! [`decide`] asks every document for its verdict (denies? allows, and by which principal?) and weighs the verdicts by
//! the steps of the specification (IAM-30). [`explain`] does the same and keeps the reasons.
//!
//! # Choices where AWS is silent
//!
//! - `*` as principal grants to every caller with an account and to services, never to strangers; it denies everyone.
//! - `NotPrincipal` spares a caller only if its account, its user or role, and its session are all listed.
//! - A text whose variable has no value fits nothing; so a negated operator with it holds.
//! - A key with several values under an operator without `ForAllValues` or `ForAnyValue` fits if one value does.
//! - A key with an empty list counts as absent.
//!
//! Source: IAM user guide, "Policy evaluation logic" and "IAM JSON policy element reference"; specification chapters
//! 03, 09 and 10.

mod caller;
mod condition;
mod context;
mod decide;
mod document;
mod explain;
mod json;
mod kind;
mod locate;
mod malformed;
pub mod managed;
mod parse;
mod pattern;
mod principals;
mod template;

pub use caller::{Issuer, Principal};
pub use context::Context;
pub use decide::{Decision, Level, Named, Outcome, Policies, PolicyType, Request, SourceName, decide};
pub use document::{Document, Effect};
pub use explain::{Explanation, Grant, Mismatch, PolicyReport, SmallestGrant, StatementRef, StatementReport, explain};
pub use kind::Kind;
pub use locate::{Span, locate};
pub use malformed::Malformed;
