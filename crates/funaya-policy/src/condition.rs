//! The `Condition` element: operators, their values, and what an absent key means.
//!
//! Source: IAM user guide, "IAM JSON policy elements: Condition operators" and "Multivalued context keys" (IAM-45,
//! IAM-52).

use std::{
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    context::{Context, Key},
    template::{ArnLike, Exact, Like, Template},
};

/// One operator applied to one key.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    /// As written: `ForAnyValue:StringLikeIfExists`.
    pub(crate) operator: Box<str>,
    pub(crate) key: Key,
    /// The values as written.
    pub(crate) wanted: Box<[Box<str>]>,
    quantifier: Quantifier,
    negated: bool,
    if_exists: bool,
    test: Test,
}

/// How the several values of a key are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    Plain,
    All,
    Any,
}

/// The values of a policy, compiled for their operator.
#[derive(Clone, Debug)]
enum Test {
    Equals(Box<[Exact]>),
    EqualsIgnoreCase(Box<[Exact]>),
    Like(Box<[Like]>),
    Numeric(Order, Box<[f64]>),
    Date(Order, Box<[i128]>),
    Bool(Box<[bool]>),
    Binary(Box<[Box<[u8]>]>),
    Ip(Box<[Network]>),
    Arn(Box<[ArnLike]>),
    Null(Box<[bool]>),
}

/// How a request's value must stand to the policy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// Compiles one operator, key and values; the error says what is wrong with them.
    pub(crate) fn new(operator: &str, key: &str, wanted: Vec<Box<str>>, variables: bool) -> Result<Self, String> {
        let (quantifier, rest) = Quantifier::strip(operator);
        let (base, if_exists) = match rest.strip_suffix("IfExists") {
            Some(base) => (base, true),
            None => (rest, false),
        };
        let (test, negated) = Test::new(base, &wanted, variables)?;
        if if_exists && matches!(test, Test::Null(_)) {
            return Err(format!("`{operator}` is no operator"));
        }
        let (operator, wanted) = (operator.into(), wanted.into());
        Ok(Self { operator, key: Key::new(key), wanted, quantifier, negated, if_exists, test })
    }

    pub(crate) fn holds(&self, context: &Context) -> bool {
        let values = context.values(&self.key);
        if let Test::Null(wanted) = &self.test {
            return wanted.contains(&values.is_none());
        }
        let Some(mut values) = values else { return self.holds_without_key() };
        let fits = |value: &str| self.test.fits(value, context);
        match self.quantifier {
            // A list under a plain operator: one value that fits is enough, and a negated operator wants none.
            Quantifier::Plain => values.any(fits) != self.negated,
            Quantifier::All => values.all(|value| fits(value) != self.negated),
            Quantifier::Any => values.any(|value| fits(value) != self.negated),
        }
    }

    fn holds_without_key(&self) -> bool {
        match self.quantifier {
            Quantifier::All => true,
            Quantifier::Any => self.if_exists,
            Quantifier::Plain => self.if_exists || self.negated,
        }
    }

    /// The keys that its variables name.
    pub(crate) fn variable_keys(&self) -> Vec<&Key> {
        match &self.test {
            Test::Equals(values) | Test::EqualsIgnoreCase(values) => values.iter().flat_map(|v| v.0.keys()).collect(),
            Test::Like(values) => values.iter().flat_map(|v| v.template.keys()).collect(),
            Test::Arn(values) => values.iter().flat_map(|v| v.template.keys()).collect(),
            _ => Vec::new(),
        }
    }
}

impl Quantifier {
    fn strip(operator: &str) -> (Self, &str) {
        if let Some(rest) = operator.strip_prefix("ForAllValues:") {
            (Self::All, rest)
        } else if let Some(rest) = operator.strip_prefix("ForAnyValue:") {
            (Self::Any, rest)
        } else {
            (Self::Plain, operator)
        }
    }
}

impl Test {
    /// The compiled values, and whether the operator is the negated one.
    fn new(base: &str, wanted: &[Box<str>], variables: bool) -> Result<(Self, bool), String> {
        let template = |text: &str| Template::parse(text, variables);
        let exact = || each(wanted, |text| template(text).map(Exact));
        let like = || each(wanted, |text| template(text).map(Like::new));
        let arn = || each(wanted, |text| ArnLike::new(template(text)?).ok_or_else(|| format!("`{text}` is no ARN")));
        let numbers = || each(wanted, |text| number(text).ok_or_else(|| format!("`{text}` is no number")));
        let dates = || each(wanted, |text| instant(text).ok_or_else(|| format!("`{text}` is no date")));
        let bools = || each(wanted, |text| boolean(text).ok_or_else(|| format!("`{text}` is neither true nor false")));
        Ok(match base {
            "StringEquals" => (Self::Equals(exact()?), false),
            "StringNotEquals" => (Self::Equals(exact()?), true),
            "StringEqualsIgnoreCase" => (Self::EqualsIgnoreCase(exact()?), false),
            "StringNotEqualsIgnoreCase" => (Self::EqualsIgnoreCase(exact()?), true),
            "StringLike" => (Self::Like(like()?), false),
            "StringNotLike" => (Self::Like(like()?), true),
            "NumericEquals" => (Self::Numeric(Order::Equal, numbers()?), false),
            "NumericNotEquals" => (Self::Numeric(Order::Equal, numbers()?), true),
            "NumericLessThan" => (Self::Numeric(Order::Less, numbers()?), false),
            "NumericLessThanEquals" => (Self::Numeric(Order::LessOrEqual, numbers()?), false),
            "NumericGreaterThan" => (Self::Numeric(Order::Greater, numbers()?), false),
            "NumericGreaterThanEquals" => (Self::Numeric(Order::GreaterOrEqual, numbers()?), false),
            "DateEquals" => (Self::Date(Order::Equal, dates()?), false),
            "DateNotEquals" => (Self::Date(Order::Equal, dates()?), true),
            "DateLessThan" => (Self::Date(Order::Less, dates()?), false),
            "DateLessThanEquals" => (Self::Date(Order::LessOrEqual, dates()?), false),
            "DateGreaterThan" => (Self::Date(Order::Greater, dates()?), false),
            "DateGreaterThanEquals" => (Self::Date(Order::GreaterOrEqual, dates()?), false),
            "Bool" => (Self::Bool(bools()?), false),
            "BinaryEquals" => (Self::Binary(each(wanted, binary)?), false),
            "IpAddress" => (Self::Ip(each(wanted, str::parse)?), false),
            "NotIpAddress" => (Self::Ip(each(wanted, str::parse)?), true),
            "ArnEquals" | "ArnLike" => (Self::Arn(arn()?), false),
            "ArnNotEquals" | "ArnNotLike" => (Self::Arn(arn()?), true),
            "Null" => (Self::Null(bools()?), false),
            _ => return Err(format!("`{base}` is no operator")),
        })
    }

    /// Whether one value of the request fits one of the policy's.
    fn fits(&self, value: &str, context: &Context) -> bool {
        match self {
            Self::Equals(wanted) => wanted.iter().any(|w| w.matches(value, context)),
            Self::EqualsIgnoreCase(wanted) => wanted.iter().any(|w| w.matches_ignoring_case(value, context)),
            Self::Like(wanted) => wanted.iter().any(|w| w.matches(value, context)),
            Self::Numeric(order, wanted) => {
                number(value).is_some_and(|value| wanted.iter().any(|w| order.holds(&value, w)))
            }
            Self::Date(order, wanted) => {
                instant(value).is_some_and(|value| wanted.iter().any(|w| order.holds(&value, w)))
            }
            Self::Bool(wanted) => boolean(value).is_some_and(|value| wanted.contains(&value)),
            Self::Binary(wanted) => binary(value).is_ok_and(|value| wanted.contains(&value)),
            Self::Ip(wanted) => {
                value.parse().is_ok_and(|address: IpAddr| wanted.iter().any(|w| w.contains(address.to_canonical())))
            }
            Self::Arn(wanted) => wanted.iter().any(|w| w.matches(value, context)),
            // Decided by the key's presence alone.
            Self::Null(_) => false,
        }
    }
}

fn each<T>(wanted: &[Box<str>], compile: impl Fn(&str) -> Result<T, String>) -> Result<Box<[T]>, String> {
    wanted.iter().map(|text| compile(text)).collect()
}

impl Order {
    fn holds<T: PartialOrd>(self, value: &T, wanted: &T) -> bool {
        match self {
            Self::Equal => value == wanted,
            Self::Less => value < wanted,
            Self::LessOrEqual => value <= wanted,
            Self::Greater => value > wanted,
            Self::GreaterOrEqual => value >= wanted,
        }
    }
}

/// An integer or decimal. Rust's parser would also take `inf` and `nan`.
fn number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|c| c.is_ascii_digit() || b"+-.eE".contains(&c));
    plain.then(|| text.parse().ok()).flatten().filter(|number: &f64| number.is_finite())
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn binary(text: &str) -> Result<Box<[u8]>, String> {
    STANDARD.decode(text).map(Into::into).map_err(|_| format!("`{text}` is not base64"))
}

/// Nanoseconds since the epoch, from ISO 8601 (`2020-04-01T00:00:00Z`, `2020-04-01T00:00+02:00`, `2020-04-01`) or
/// seconds since the epoch.
fn instant(text: &str) -> Option<i128> {
    const NANOS: f64 = 1e9;
    if text.bytes().all(|c| c.is_ascii_digit() || c == b'.') {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let part: f64 = if part.is_empty() { 0.0 } else { format!("0.{part}").parse().ok()? };
        return Some(i128::from(whole.parse::<i64>().ok()?) * 1_000_000_000 + (part * NANOS) as i128);
    }
    if !text.get(..4).is_some_and(|year| year.bytes().all(|c| c.is_ascii_digit())) {
        return None;
    }
    if let Ok(moment) = jiff::Timestamp::from_str(text) {
        return Some(moment.as_nanosecond());
    }
    if text.len() != "2020-04-01".len() {
        return None;
    }
    let midnight = jiff::Timestamp::from_str(&format!("{text}T00:00:00Z")).ok()?;
    Some(midnight.as_nanosecond())
}

/// A CIDR block. An IPv4 block holds no IPv6 address, save those that only wrap an IPv4 address (`::ffff:a.b.c.d`).
#[derive(Clone, Copy, Debug)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }

    /// A block of wrapped IPv4 addresses as IPv4.
    fn canonical(address: Ipv6Addr, prefix: u8) -> Self {
        match (address.to_ipv4_mapped(), prefix.checked_sub(96)) {
            (Some(v4), Some(prefix)) => Self { address: v4.into(), prefix },
            _ => Self { address: address.into(), prefix },
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no IP address or CIDR block");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) if !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= longest).ok_or_else(bad)?
            }
            Some(_) => return Err(bad()),
        };
        Ok(match address {
            IpAddr::V4(_) => Self { address, prefix },
            IpAddr::V6(v6) => Self::canonical(v6, prefix),
        })
    }
}
