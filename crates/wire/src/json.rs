//! The JSON of the HTTP API and its description, made of the declarations that make the frames.
//!
//! Part of INV-ONCE: [`entity!`] takes the fields that [`crate::layout::layout!`] puts on the wire. What JSON has otherwise,
//! an order of its own and another form for single values, is said beside them, and an order that misses a field,
//! or has one twice, does not compile.
//! Sizes in answers are texts with a unit, `"<n> B"`; everything else is a plain number.

mod derive;
mod description;
mod form;

use serde::ser::{Serialize, SerializeSeq as _, Serializer};
use utoipa::PartialSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, Schema, SchemaType, Type,
};

pub(crate) use derive::{
    as_inner, describe_field, docs, either, entity, field_name, shown_type, words, write_field,
};
pub(crate) use description::Description;
pub use form::Size;
pub(crate) use form::{ByPartition, KnownVersion, LifeText};

/// Descriptions by name.
pub type Schemas = Vec<(String, RefOr<Schema>)>;

/// A value with a form in JSON.
pub trait Json {
    /// Writes it.
    ///
    /// # Errors
    /// Those of the serializer.
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// What it looks like; a reference where the description has a name.
    fn shape() -> RefOr<Schema>;

    /// Adds the descriptions with a name that the shape refers to.
    fn collect(_all: &mut Schemas) {}

    /// Whether it is always there, in requests too.
    const REQUIRED: bool = true;
}

/// A value with named fields.
pub trait Entity: Json {
    /// Adds its fields to an object.
    ///
    /// # Errors
    /// Those of the serializer.
    fn write_fields<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;
}

/// What a command is answered with, as HTTP shows it.
pub trait JsonReply {
    /// What is shown.
    type Body: Json;

    /// Whether a success shows anything.
    const HAS_BODY: bool = true;

    /// What there is to show; nothing when the thing asked for is not there.
    fn into_body(self) -> Option<Self::Body>;
}

/// A value that is written as JSON.
#[derive(Clone, Copy, Debug)]
pub struct AsJson<'a, T: ?Sized>(pub &'a T);

impl<T: Json + ?Sized> Serialize for AsJson<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

macro_rules! as_serialized {
    ($($type:ty)*) => {$(
        impl Json for $type {
            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.serialize(serializer)
            }

            fn shape() -> RefOr<Schema> {
                <$type as PartialSchema>::schema()
            }
        }
    )*};
}

as_serialized! { bool u8 u16 u32 u64 f32 String }

impl<T: Json> Json for Vec<T> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        for item in self {
            list.serialize_element(&AsJson(item))?;
        }
        list.end()
    }

    fn shape() -> RefOr<Schema> {
        ArrayBuilder::new().items(T::shape()).into()
    }

    fn collect(all: &mut Schemas) {
        T::collect(all);
    }
}

impl<T: Json> Json for Option<T> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => value.write(serializer),
            None => serializer.serialize_none(),
        }
    }

    fn shape() -> RefOr<Schema> {
        match T::shape() {
            RefOr::T(Schema::Object(object)) => RefOr::T(Schema::Object(nullable(object))),
            other => {
                let null = ObjectBuilder::new().schema_type(Type::Null);
                OneOfBuilder::new().item(null).item(other).into()
            }
        }
    }

    fn collect(all: &mut Schemas) {
        T::collect(all);
    }
}

fn nullable(mut object: Object) -> Object {
    if let SchemaType::Type(kind) = object.schema_type {
        object.schema_type = SchemaType::Array(vec![kind, Type::Null]);
    }
    object
}

impl Json for () {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }

    fn shape() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::Null).into()
    }
}

impl JsonReply for () {
    type Body = ();

    const HAS_BODY: bool = false;

    fn into_body(self) -> Option<()> {
        Some(())
    }
}

impl<T: Entity> JsonReply for Vec<T> {
    type Body = Self;

    fn into_body(self) -> Option<Self> {
        Some(self)
    }
}

impl<T: Entity> JsonReply for Option<T> {
    type Body = T;

    fn into_body(self) -> Self {
        self
    }
}
