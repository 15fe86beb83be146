//! The description of an entity in the making: field by field, in the order of its JSON.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Schema};

use super::Json;

/// The description of an entity in the making.
#[derive(Default)]
pub(crate) struct Description {
    object: ObjectBuilder,
    inlined: Vec<RefOr<Schema>>,
}

impl Description {
    /// Adds a field.
    pub(crate) fn field<T: Json>(&mut self, name: &str, meaning: &str) {
        let object = std::mem::take(&mut self.object);
        let object = object.property(name, described(T::shape(), meaning));
        self.object = if T::REQUIRED { object.required(name) } else { object };
    }

    /// Adds the fields of another entity.
    pub(crate) fn inline(&mut self, shape: RefOr<Schema>) {
        self.inlined.push(shape);
    }

    /// The description of the whole.
    pub(crate) fn finish(self, meaning: &str) -> RefOr<Schema> {
        let meaning = Some(meaning.trim_start());
        if self.inlined.is_empty() {
            return self.object.description(meaning).into();
        }
        let all = self.inlined.into_iter().fold(AllOfBuilder::new(), AllOfBuilder::item);
        all.item(self.object).description(meaning).into()
    }
}

fn described(shape: RefOr<Schema>, meaning: &str) -> RefOr<Schema> {
    let meaning = meaning.trim_start().to_owned();
    match shape {
        RefOr::Ref(mut to) => {
            to.description = meaning;
            RefOr::Ref(to)
        }
        RefOr::T(Schema::Object(mut object)) => {
            object.description = Some(meaning);
            RefOr::T(Schema::Object(object))
        }
        RefOr::T(Schema::Array(mut array)) => {
            array.description = Some(meaning);
            RefOr::T(Schema::Array(array))
        }
        RefOr::T(Schema::OneOf(mut one_of)) => {
            one_of.description = Some(meaning);
            RefOr::T(Schema::OneOf(one_of))
        }
        other => other,
    }
}
