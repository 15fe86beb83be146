//! How a struct's fields lie on the wire: one after the other, in the order of the declaration.
//!
//! Part of INV-ONCE: [`layout!`] and [`command!`] take the one field list and make the struct, its encoder,
//! its decoder, where it says `json` its JSON and the description of that, and, in tests, its random values from it.
//!
//! A field that has another form than its type's own says so: `field: Type as codec`, where `codec`
//! is a type with two functions, `encode(&Type, &mut Vec<u8>)` and `decode(&mut Reader)`. `field: Type => form` is
//! another one in JSON, a type that is made of `&Type`. What can stand behind the fields is told at
//! [`crate::json::entity!`].

/// Declares a struct whose wire form is its fields in order.
macro_rules! layout {
    ($(#[$($meta:tt)*])* pub struct $name:ident { $($fields:tt)* } json $($json:tt)*) => {
        $crate::layout::layout! { $(#[$($meta)*])* pub struct $name { $($fields)* } }
        $crate::json::entity! { $(#[$($meta)*])* $name { $($fields)* } json $($json)* }
    };
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(
                $(#[$field_meta:meta])*
                $field:ident: $type:ty $(as $codec:ident)? $(=> $form:ident)?,
            )*
        }
    ) => {
        $(#[$meta])*
        pub struct $name {
            $(
                $(#[$field_meta])*
                pub $field: $type,
            )*
        }

        impl $crate::primitive::Payload for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                $( $crate::layout::encode_field!(out, &self.$field, $type $(, $codec)?); )*
            }

            fn decode(
                reader: &mut $crate::primitive::Reader<'_>,
            ) -> Result<Self, $crate::error_code::ErrorCode> {
                $( let $field = $crate::layout::decode_field!(reader, $type $(, $codec)?); )*
                Ok(Self { $($field,)* })
            }
        }

        #[cfg(test)]
        impl $crate::sample::Sample for $name {
            fn sample(source: &mut $crate::sample::Draws) -> Self {
                Self { $($field: $crate::sample::Sample::sample(source),)* }
            }
        }
    };
}

/// Declares a struct that has a JSON, and whose bytes are no matter of its fields' order.
macro_rules! shown {
    (
        $(#[$($meta:tt)*])*
        pub struct $name:ident {
            $(
                $(#[$($field_meta:tt)*])*
                $field:ident: $type:ty $(=> $form:ident)?,
            )*
        }
        json $($json:tt)*
    ) => {
        $(#[$($meta)*])*
        pub struct $name {
            $(
                $(#[$($field_meta)*])*
                pub $field: $type,
            )*
        }

        $crate::json::entity! {
            $(#[$($meta)*])*
            $name { $( $(#[$($field_meta)*])* $field: $type $(=> $form)?, )* }
            json $($json)*
        }
    };
}

macro_rules! encode_field {
    ($out:ident, $value:expr, $type:ty) => {
        <$type as $crate::primitive::Payload>::encode($value, $out)
    };
    ($out:ident, $value:expr, $type:ty, $codec:ident) => {
        $codec::encode($value, $out)
    };
}

macro_rules! decode_field {
    ($reader:ident, $type:ty) => {
        <$type as $crate::primitive::Payload>::decode($reader)?
    };
    ($reader:ident, $type:ty, $codec:ident) => {
        $codec::decode($reader)?
    };
}

/// Declares a command: its fields, its reply, and the right it needs.
macro_rules! command {
    (
        $(#[$($meta:tt)*])*
        pub struct $name:ident -> $reply:ty;
        right: $right:expr;
    ) => {
        $(#[$($meta)*])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name;

        #[cfg(test)]
        impl $crate::sample::Sample for $name {
            fn sample(_: &mut $crate::sample::Draws) -> Self {
                Self
            }
        }

        impl $crate::primitive::Payload for $name {
            fn encode(&self, _: &mut Vec<u8>) {}

            fn decode(
                _: &mut $crate::primitive::Reader<'_>,
            ) -> Result<Self, $crate::error_code::ErrorCode> {
                Ok(Self)
            }
        }

        $crate::parameter::parameters! { $(#[$($meta)*])* $name }

        $crate::layout::command!(@trait $name, $reply, |_| $right);
    };
    (
        $(#[$($meta:tt)*])*
        pub struct $name:ident -> $reply:ty { $($fields:tt)* }
        right: |$this:ident| $right:expr;
    ) => {
        $crate::parameter::parameters! { $(#[$($meta)*])* $name { $($fields)* } }

        $crate::layout::layout! {
            $(#[$($meta)*])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $name { $($fields)* }
        }

        $crate::layout::command!(@trait $name, $reply, |$this| $right);
    };
    (@trait $name:ident, $reply:ty, |$this:pat_param| $right:expr) => {
        impl $crate::command::Command for $name {
            const CODE: $crate::command::CommandCode = $crate::command::CommandCode::$name;
            type Reply = $reply;

            fn right(&self) -> $crate::permission::Right<'_> {
                let $this = self;
                $right
            }
        }
    };
}

/// Declares an enum that is one byte on the wire and a word in JSON; the description of the API may call it
/// otherwise.
macro_rules! byte_enum {
    (
        $(#[$($meta:tt)*])*
        pub enum $name:ident {
            $(
                $(#[$variant_meta:meta])*
                $variant:ident = $number:literal $word:literal,
            )*
        }
        $(json $shown:literal;)?
    ) => {
        $crate::json::words! { [$(#[$($meta)*])*] $name $($shown)? }

        $(#[$($meta)*])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[cfg_attr(feature = "json", derive(serde::Deserialize))]
        #[repr(u8)]
        pub enum $name {
            $(
                $(#[$variant_meta])*
                #[serde(rename = $word)]
                $variant = $number,
            )*
        }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The byte on the wire.
            #[must_use]
            pub fn as_u8(self) -> u8 {
                self as u8
            }

            /// The value of a byte from the wire.
            #[must_use]
            pub fn from_u8(byte: u8) -> Option<Self> {
                match byte {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The word for it, as in JSON.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl $crate::primitive::Payload for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.push(self.as_u8());
            }

            fn decode(
                reader: &mut $crate::primitive::Reader<'_>,
            ) -> Result<Self, $crate::error_code::ErrorCode> {
                let byte = reader.u8()?;
                Self::from_u8(byte).ok_or($crate::primitive::DecodeError::Unknown(byte).into())
            }
        }

        #[cfg(test)]
        impl $crate::sample::Sample for $name {
            fn sample(source: &mut $crate::sample::Draws) -> Self {
                Self::ALL[source.below(Self::ALL.len())]
            }
        }
    };
}

pub(crate) use {byte_enum, command, decode_field, encode_field, layout, shown};
