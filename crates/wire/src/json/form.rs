//! Forms of single values that are not those of their types.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::ser::Serializer;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Schema, SchemaType, Type};

use super::{AsJson, Json, JsonReply, Schemas};
use crate::command::{
    CacheMetrics, OffsetCursor, ResolvedOption, StoredOffsets, StoredOffsetsPage, TopicConfig,
};
use crate::id::Life;

/// A number of bytes, shown with its unit.
#[derive(Clone, Copy, Debug)]
pub struct Size(u64);

impl From<&u64> for Size {
    fn from(bytes: &u64) -> Self {
        Self(*bytes)
    }
}

impl Json for Size {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{} B", self.0))
    }

    fn shape() -> RefOr<Schema> {
        RefOr::Ref(utoipa::openapi::Ref::from_schema_name("Size"))
    }

    fn collect(all: &mut Schemas) {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("A number of bytes, shown with its unit."))
            .examples(["138 B"])
            .pattern(Some(r"^\d+ B$"));
        all.push(("Size".to_owned(), text.into()));
    }
}

/// The version of a server, null where it is not known.
pub(crate) struct KnownVersion(Option<u32>);

impl From<&u32> for KnownVersion {
    fn from(version: &u32) -> Self {
        Self((*version != 0).then_some(*version))
    }
}

impl Json for KnownVersion {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }

    fn shape() -> RefOr<Schema> {
        Option::<u32>::shape()
    }
}

/// A life, as a text: it is a number only to be compared, and readers of JSON round large ones.
pub(crate) struct LifeText(Life);

impl From<&Life> for LifeText {
    fn from(life: &Life) -> Self {
        Self(*life)
    }
}

impl Json for LifeText {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }

    fn shape() -> RefOr<Schema> {
        String::shape()
    }
}

impl Json for OffsetCursor {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }

    fn shape() -> RefOr<Schema> {
        String::shape()
    }
}

/// Cache statistics by what they are about.
pub(crate) struct ByPartition(BTreeMap<String, CacheMetrics>);

impl From<&Vec<CacheMetrics>> for ByPartition {
    fn from(metrics: &Vec<CacheMetrics>) -> Self {
        let by_partition = metrics.iter().map(|of| {
            let place = format!("{}-{}-{}", of.stream_id, of.topic_id, of.partition_id);
            (place, of.clone())
        });
        Self(by_partition.collect())
    }
}

impl Json for ByPartition {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(place, metrics)| (place, AsJson(metrics))))
    }

    fn shape() -> RefOr<Schema> {
        let values = AdditionalProperties::RefOr(CacheMetrics::shape());
        ObjectBuilder::new()
            .property_names(names(String::shape()))
            .additional_properties(Some(values))
            .into()
    }

    fn collect(all: &mut Schemas) {
        CacheMetrics::collect(all);
    }
}

/// An empty one is null, as classic clients know it, and need not be there in a request.
impl<K: Json + Display + Ord, V: Json> Json for BTreeMap<K, V> {
    const REQUIRED: bool = false;

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_empty() {
            return serializer.serialize_none();
        }
        serializer.collect_map(self.iter().map(|(key, value)| (key.to_string(), AsJson(value))))
    }

    fn shape() -> RefOr<Schema> {
        let values = AdditionalProperties::RefOr(V::shape());
        ObjectBuilder::new()
            .schema_type(SchemaType::Array(vec![Type::Object, Type::Null]))
            .property_names(names(K::shape()))
            .additional_properties(Some(values))
            .into()
    }

    fn collect(all: &mut Schemas) {
        V::collect(all);
    }
}

/// What the names of an object's fields look like.
fn names(shape: RefOr<Schema>) -> Option<Schema> {
    match shape {
        RefOr::T(schema) => Some(schema),
        RefOr::Ref(_) => None,
    }
}

impl JsonReply for StoredOffsets {
    type Body = StoredOffsetsPage;

    fn into_body(self) -> Option<StoredOffsetsPage> {
        Some(self.into())
    }
}

impl JsonReply for TopicConfig {
    type Body = Vec<ResolvedOption>;

    fn into_body(self) -> Option<Vec<ResolvedOption>> {
        Some(self.options)
    }
}
