//! The parts of a service model that shapes are made of.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use crate::Failure;

#[derive(Deserialize)]
pub struct Model {
    pub metadata: Metadata,
    pub operations: BTreeMap<String, Operation>,
    pub shapes: BTreeMap<String, Shape>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub protocol: String,
    pub api_version: String,
    pub xml_namespace: Option<String>,
    pub signing_name: Option<String>,
    pub endpoint_prefix: String,
    pub target_prefix: Option<String>,
}

#[derive(Deserialize)]
pub struct Operation {
    pub input: Option<Member>,
    pub output: Option<Member>,
    #[serde(default)]
    pub errors: Vec<Member>,
}

/// A reference to a shape.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    pub shape: String,
    /// The element around the members of a query service's answer.
    pub result_wrapper: Option<String>,
}

#[derive(Deserialize)]
pub struct Shape {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub required: Vec<String>,
    #[serde(default)]
    pub members: Ordered<Member>,
    pub member: Option<Member>,
    pub key: Option<Member>,
    pub value: Option<Member>,
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub pattern: Option<String>,
    #[serde(default, rename = "enum")]
    pub words: Vec<String>,
    #[serde(default)]
    pub sensitive: bool,
    pub error: Option<Error>,
}

#[derive(Deserialize)]
pub struct Error {
    pub code: Option<String>,
    #[serde(rename = "httpStatusCode")]
    pub status: Option<u16>,
}

pub fn parse(json: &str) -> Result<Model, Failure> {
    serde_json::from_str(json).map_err(|e| format!("the service model is not as expected: {e}"))
}

impl Model {
    pub fn shape(&self, name: &str) -> Result<&Shape, Failure> {
        self.shapes.get(name).ok_or_else(|| format!("the model has no shape `{name}`"))
    }
}

/// An object in the order of its text, which is the order in which members are checked.
pub struct Ordered<T>(pub Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, T: Deserialize<'a>> Deserialize<'a> for Ordered<T> {
    fn deserialize<D: Deserializer<'a>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_map(Pairs(PhantomData)).map(Self)
    }
}

struct Pairs<T>(PhantomData<T>);

impl<'a, T: Deserialize<'a>> Visitor<'a> for Pairs<T> {
    type Value = Vec<(String, T)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = object.next_entry()? {
            pairs.push(pair);
        }
        Ok(pairs)
    }
}
