//! The macros that make JSON of declarations.

/// Gives a type that wraps another one the JSON of that.
macro_rules! as_inner {
    ($name:ident, $inner:ty) => {
        impl $crate::json::Json for $name {
            fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serde::Serialize::serialize(&self.0, serializer)
            }

            fn shape() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                <$inner as $crate::json::Json>::shape()
            }
        }
    };
}

/// Gives an enum of words its JSON; a text is another name in the description of the API.
macro_rules! words {
    ([$($meta:tt)*] $name:ident $($shown:literal)?) => {
        impl $crate::json::Json for $name {
            fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }

            fn shape() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let name = <Self as utoipa::ToSchema>::name();
                utoipa::openapi::RefOr::Ref(utoipa::openapi::Ref::from_schema_name(name))
            }

            fn collect(all: &mut $crate::json::Schemas) {
                let schema = <Self as utoipa::PartialSchema>::schema();
                all.push((<Self as utoipa::ToSchema>::name().into(), schema));
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::Type::String)
                    .description(Some($crate::json::docs!([$($meta)*]).trim_start()))
                    .enum_values(Some(Self::ALL.iter().map(|value| value.word())))
                    .into()
            }
        }

        impl utoipa::ToSchema for $name {
            fn name() -> std::borrow::Cow<'static, str> {
                $crate::json::either!($($shown)? or stringify!($name)).into()
            }
        }
    };
}

/// What the documentation comments among these attributes say, each line with a space in front.
macro_rules! docs {
    ([#[doc = $doc:literal] $($rest:tt)*] $($before:literal)*) => {
        $crate::json::docs!([$($rest)*] $($before)* $doc)
    };
    ([#[$($other:tt)*] $($rest:tt)*] $($before:literal)*) => {
        $crate::json::docs!([$($rest)*] $($before)*)
    };
    ([] $($doc:literal)*) => { concat!($($doc),*) };
}

/// The name of a field in JSON: its own, unless an attribute of serde says otherwise.
macro_rules! field_name {
    ($field:ident #[serde(rename = $name:literal)] $($rest:tt)*) => { $name };
    ($field:ident #[$($other:tt)*] $($rest:tt)*) => {
        $crate::json::field_name!($field $($rest)*)
    };
    ($field:ident) => { stringify!($field) };
}

/// A literal if there is one, else the expression.
macro_rules! either {
    ($literal:literal or $other:expr) => {
        $literal
    };
    (or $other:expr) => {
        $other
    };
}

/// The type that is shown: the form if there is one, else the type of the field.
macro_rules! shown_type {
    ($type:ty, $form:ident) => {
        $form
    };
    ($type:ty,) => {
        $type
    };
}

/// Writes one field: `[form] [attributes yet to be looked at] [all attributes]`.
macro_rules! write_field {
    ($map:ident, $value:expr, $field:ident, [$($form:ident)?] [#[serde(flatten)] $($rest:tt)*] [$($all:tt)*]) => {
        $crate::json::Entity::write_fields($value, $map)
    };
    ($map:ident, $value:expr, $field:ident, [$($form:ident)?] [#[$($other:tt)*] $($rest:tt)*] [$($all:tt)*]) => {
        $crate::json::write_field!($map, $value, $field, [$($form)?] [$($rest)*] [$($all)*])
    };
    ($map:ident, $value:expr, $field:ident, [$form:ident] [] [$($all:tt)*]) => {
        $map.serialize_entry(
            $crate::json::field_name!($field $($all)*),
            &$crate::json::AsJson(&$form::from($value)),
        )
    };
    ($map:ident, $value:expr, $field:ident, [] [] [$($all:tt)*]) => {
        $map.serialize_entry(
            $crate::json::field_name!($field $($all)*),
            &$crate::json::AsJson($value),
        )
    };
}

/// Describes one field, in the same way.
macro_rules! describe_field {
    ($whole:ident, $field:ident, [$($type:tt)*] [#[serde(flatten)] $($rest:tt)*] [$($all:tt)*]) => {
        $whole.inline(<$($type)* as $crate::json::Json>::shape())
    };
    ($whole:ident, $field:ident, [$($type:tt)*] [#[$($other:tt)*] $($rest:tt)*] [$($all:tt)*]) => {
        $crate::json::describe_field!($whole, $field, [$($type)*] [$($rest)*] [$($all)*])
    };
    ($whole:ident, $field:ident, [$($type:tt)*] [] [$($all:tt)*]) => {
        $whole.field::<$($type)*>(
            $crate::json::field_name!($field $($all)*),
            $crate::json::docs!([$($all)*]),
        )
    };
}

/// Gives a struct its JSON: `json;` in the order of its fields, `json: name id / reserved;` in this one, without what
/// comes behind the stroke; a text behind `json` is another name in the description of the API.
macro_rules! entity {
    (
        $(#[$($meta:tt)*])*
        $name:ident {
            $(
                $(#[$($field_meta:tt)*])*
                $field:ident: $type:ty $(as $codec:ident)? $(=> $form:ident)?,
            )*
        }
        json $($shown:literal)?;
    ) => {
        $crate::json::entity! {
            @make $name [$($shown)?] [$(#[$($meta)*])*]
            { $( [$(#[$($field_meta)*])*] $field: $type => [$($form)?], )* }
            [$($field)*] []
        }
    };
    (
        $(#[$($meta:tt)*])*
        $name:ident {
            $(
                $(#[$($field_meta:tt)*])*
                $field:ident: $type:ty $(as $codec:ident)? $(=> $form:ident)?,
            )*
        }
        json $($shown:literal)?: $($order:ident)* $(/ $($left_out:ident)*)?;
    ) => {
        $crate::json::entity! {
            @make $name [$($shown)?] [$(#[$($meta)*])*]
            { $( [$(#[$($field_meta)*])*] $field: $type => [$($form)?], )* }
            [$($order)*] [$($($left_out)*)?]
        }
    };
    (
        @make $name:ident [$($shown:literal)?] [$($meta:tt)*]
        { $( [$($field_meta:tt)*] $field:ident: $type:ty => [$($form:ident)?], )* }
        [$($order:ident)*] [$($left_out:ident)*]
    ) => {
        const _: () = {
            use utoipa::PartialSchema as _;
            use $crate::json::{JsonReply, Description, Entity, Json, Schemas};

            /// Writes each field, by its name.
            struct Writes;

            impl Writes {
                $(
                    fn $field<M: serde::ser::SerializeMap>(
                        it: &$name,
                        map: &mut M,
                    ) -> Result<(), M::Error> {
                        let value: &$type = &it.$field;
                        $crate::json::write_field!(map, value, $field, [$($form)?] [$($field_meta)*] [$($field_meta)*])
                    }
                )*
            }

            /// Describes each field, by its name.
            struct Describes;

            impl Describes {
                $(
                    fn $field(whole: &mut Description) {
                        $crate::json::describe_field!(
                            whole, $field, [$crate::json::shown_type!($type, $($form)?)]
                            [$($field_meta)*] [$($field_meta)*]
                        );
                    }
                )*
            }

            impl Json for $name {
                fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let mut map = serializer.serialize_map(None)?;
                    self.write_fields(&mut map)?;
                    serde::ser::SerializeMap::end(map)
                }

                fn shape() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                    let name = <Self as utoipa::ToSchema>::name();
                    utoipa::openapi::RefOr::Ref(utoipa::openapi::Ref::from_schema_name(name))
                }

                fn collect(all: &mut Schemas) {
                    all.push((<Self as utoipa::ToSchema>::name().into(), Self::schema()));
                    <Self as utoipa::ToSchema>::schemas(all);
                }
            }

            impl Entity for $name {
                fn write_fields<M: serde::ser::SerializeMap>(
                    &self,
                    map: &mut M,
                ) -> Result<(), M::Error> {
                    // Each field once, or this does not compile.
                    let Self { $($order: _,)* $($left_out: _,)* } = self;
                    $( let _ = Writes::$left_out::<M>; )*
                    $( Writes::$order(self, map)?; )*
                    Ok(())
                }
            }

            impl utoipa::PartialSchema for $name {
                fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                    let mut whole = Description::default();
                    $( let _ = Describes::$left_out; )*
                    $( Describes::$order(&mut whole); )*
                    whole.finish($crate::json::docs!([$($meta)*]))
                }
            }

            impl utoipa::ToSchema for $name {
                fn name() -> std::borrow::Cow<'static, str> {
                    $crate::json::either!($($shown)? or stringify!($name)).into()
                }

                fn schemas(all: &mut Schemas) {
                    $( <$crate::json::shown_type!($type, $($form)?) as Json>::collect(all); )*
                }
            }

            impl JsonReply for $name {
                type Body = Self;

                fn into_body(self) -> Option<Self> {
                    Some(self)
                }
            }
        };
    };
}

pub(crate) use {
    as_inner, describe_field, docs, either, entity, field_name, shown_type, words, write_field,
};
