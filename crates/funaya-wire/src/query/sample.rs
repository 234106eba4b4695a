//! Answers with a value in every member, for botocore to judge. `tests/judge.py` makes the same ones.

use std::{collections::BTreeMap, fmt::Debug};

use super::{Answer, Fault, Form, Request};
use crate::{Blob, EpochSeconds, Hidden, shape::Words};

/// Reads a form and shows what was read.
pub(crate) type Shown = fn(&Form) -> Result<String, Fault>;
/// The XML of a sample.
pub(crate) type Sampled = fn() -> String;

pub(crate) fn shown<R: Request + Debug>(form: &Form) -> Result<String, Fault> {
    R::from_form(form).map(|request| format!("{request:?}"))
}

pub(crate) fn sampled<A: Answer + Sample>() -> String {
    A::sample(&mut 0).to_xml("8d6a7e6c-0000-4000-8000-000000000000")
}

/// A value that no other member has, as far as its type allows. All but structures and lists count on by one.
pub(crate) trait Sample {
    fn sample(count: &mut i64) -> Self;
}

fn next(count: &mut i64) -> i64 {
    *count += 1;
    *count
}

/// The first is hard to escape, the others are short.
fn text(count: &mut i64) -> String {
    match next(count) {
        1 => "<1 & \"ü\">\r\n\t'😀' ]]>".into(),
        number => format!("s{number}"),
    }
}

impl Sample for String {
    fn sample(count: &mut i64) -> Self {
        text(count)
    }
}

impl Sample for Hidden {
    fn sample(count: &mut i64) -> Self {
        Self(text(count))
    }
}

impl Sample for i64 {
    fn sample(count: &mut i64) -> Self {
        next(count)
    }
}

impl Sample for bool {
    fn sample(count: &mut i64) -> Self {
        next(count) % 2 == 1
    }
}

impl Sample for Blob {
    fn sample(count: &mut i64) -> Self {
        Self(text(count).into_bytes())
    }
}

impl Sample for EpochSeconds {
    fn sample(count: &mut i64) -> Self {
        Self(next(count) as f64 * 1_000_000.0)
    }
}

impl<W: Words> Sample for W {
    fn sample(count: &mut i64) -> Self {
        let index = next(count) as usize % W::SET.len();
        W::parse_word(W::SET[index]).unwrap_or_default()
    }
}

impl<S: Sample> Sample for Option<S> {
    fn sample(count: &mut i64) -> Self {
        Some(S::sample(count))
    }
}

impl<S: Sample> Sample for Vec<S> {
    fn sample(count: &mut i64) -> Self {
        vec![S::sample(count), S::sample(count)]
    }
}

impl<K: Sample + Ord, V: Sample> Sample for BTreeMap<K, V> {
    fn sample(count: &mut i64) -> Self {
        [(K::sample(count), V::sample(count)), (K::sample(count), V::sample(count))].into()
    }
}
