//! How a record is declared: one list of fields makes the variant, its bytes both ways, and its row in the page of the
//! format.
//!
//! Fields lie in the order of the declaration. A field that is more than a primitive of the protocol says `as part`, a
//! long text `as text`.

/// Declares the records: kind, name, what happened, fields; first the one whose fields are a structure of their own.
macro_rules! records {
    (
        $(#[$whole_meta:meta])*
        whole $whole_kind:literal $whole_name:ident($whole:ident) $whole_title:literal;
        $(
            $(#[$meta:meta])*
            $kind:literal $name:ident $title:literal {
                $(
                    $(#[$field_meta:meta])*
                    $field:ident: $type:ty $(as $codec:ident)?,
                )*
            }
        )*
    ) => {
        /// One change of the metadata.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Record {
            $(#[$whole_meta])*
            $whole_name($whole),
            $(
                $(#[$meta])*
                $name {
                    $(
                        $(#[$field_meta])*
                        $field: $type,
                    )*
                },
            )*
        }

        impl Record {
            /// Every kind: its number, what happened, and the names and types of its fields in the order of their bytes.
            pub const KINDS: &'static [(u8, &'static str, FieldNames)] = &[
                ($whole_kind, $whole_title, $whole::FIELDS),
                $(($kind, $title, &[$((stringify!($field), stringify!($type)),)*]),)*
            ];

            fn kind(&self) -> u8 {
                match self {
                    Self::$whole_name(_) => $whole_kind,
                    $(Self::$name { .. } => $kind,)*
                }
            }

            fn put_fields(&self, out: &mut Vec<u8>) {
                match self {
                    Self::$whole_name(whole) => whole.put(out),
                    $(Self::$name { $($field,)* } => {
                        $($crate::metadata::record::layout::put!(out, $field $(, $codec)?);)*
                    })*
                }
            }

            fn take_fields(kind: u8, from: &mut Reader<'_>) -> Result<Self, ErrorCode> {
                Ok(match kind {
                    $whole_kind => Self::$whole_name($whole::take(from)?),
                    $($kind => Self::$name {
                        $($field: $crate::metadata::record::layout::take!(from $(, $codec)?),)*
                    },)*
                    _ => return Err(ErrorCode::InvalidCommand),
                })
            }
        }
    };
}

/// Declares a structure that is the fields of a record.
macro_rules! structure {
    (
        $(#[$meta:meta])*
        $name:ident {
            $(
                $(#[$field_meta:meta])*
                $field:ident: $type:ty $(as $codec:ident)?,
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                pub $field: $type,
            )*
        }

        impl $name {
            const FIELDS: FieldNames = &[$((stringify!($field), stringify!($type)),)*];

            fn put(&self, out: &mut Vec<u8>) {
                $($crate::metadata::record::layout::put!(out, &self.$field $(, $codec)?);)*
            }

            fn take(from: &mut Reader<'_>) -> Result<Self, ErrorCode> {
                Ok(Self { $($field: $crate::metadata::record::layout::take!(from $(, $codec)?),)* })
            }
        }
    };
}

macro_rules! put {
    ($out:ident, $field:expr) => {
        galgo_wire::primitive::Payload::encode($field, $out)
    };
    ($out:ident, $field:expr, part) => {
        $crate::metadata::record::Part::put($field, $out)
    };
    ($out:ident, $field:expr, text) => {
        galgo_wire::primitive::put_str32($out, $field)
    };
}

macro_rules! take {
    ($from:ident) => {
        galgo_wire::primitive::Payload::decode($from)?
    };
    ($from:ident, part) => {
        $crate::metadata::record::Part::take($from)?
    };
    ($from:ident, text) => {
        $from.str32()?.to_owned()
    };
}

pub(super) use {put, records, structure, take};
