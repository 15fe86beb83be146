//! Requests whose fields all stand in the path and the query of a URL, read by the names of the fields.
//!
//! Part of INV-ONCE: names, types and meanings are those of the command's declaration.
//!
//! A command has [`FromParameters`] where each of its fields is a [`Parameter`]. Both are generic over what they
//! read only so that commands with other fields need not say that they have none.

use std::str::FromStr;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use crate::command::{Command, MaxTopicSize, MessageExpiry, OffsetCursor, Request, RetentionRules};
use crate::error_code::ErrorCode;
use crate::id::PartitionId;
use crate::identifier::Identifier;
use crate::json::{Json, JsonReply};

/// The names and values of a path and a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pairs: Vec<(String, String)>,
}

/// Why a request cannot be made of what was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadParameter {
    /// The protocol has a code for it.
    #[error("{0}")]
    Code(ErrorCode),
    /// It has none.
    #[error("`{name}` {reason}")]
    Value {
        /// The parameter.
        name: String,
        /// What is wrong with it, and what it takes.
        reason: String,
    },
}

/// A parameter as the description of the API shows it.
#[derive(Clone)]
pub struct ParameterDescription {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub meaning: String,
    /// Whether there is no request without it.
    pub required: bool,
    /// What it looks like.
    pub shape: RefOr<Schema>,
}

/// A field that can be read from a URL.
pub trait Parameter<S = Given>: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// [`BadParameter`], which names it.
    fn take(given: &S, name: &'static str) -> Result<Self, BadParameter>;

    /// Describes it, and what else it is read from.
    fn describe(name: &'static str, meaning: &str, out: &mut Vec<ParameterDescription>);
}

/// A request that can be read from a URL.
pub trait FromParameters<S = Given>: Sized {
    /// What it does.
    const MEANING: &'static str;

    /// Reads it.
    ///
    /// # Errors
    /// [`BadParameter`] for the first field that is missing or has no such value.
    fn from_parameters(given: &S) -> Result<Self, BadParameter>;

    /// What it is read from.
    fn parameters() -> Vec<ParameterDescription>;
}

/// Somebody who wants to know of each command that HTTP reads from a URL alone: those of the table that are marked
/// `plain`.
pub trait PlainVisitor {
    /// Is told of one.
    fn visit<C>(&mut self)
    where
        C: Command + FromParameters + Clone + Into<Request> + Send + 'static,
        C::Reply: JsonReply;
}

impl Given {
    /// The parts of a path and behind them the pairs of a query.
    #[must_use]
    pub fn new(path: Vec<(String, String)>, query: Vec<(String, String)>) -> Self {
        let mut pairs = path;
        pairs.extend(query);
        Self { pairs }
    }

    /// The value of a name; an empty one is none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.pairs.iter().find(|(given, _)| given == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// Refuses names that are none of `known`, and those that are given twice.
    ///
    /// # Errors
    /// [`BadParameter`] for the first of them.
    pub fn check_names(&self, known: &[&str]) -> Result<(), BadParameter> {
        let bad =
            |name: &str, reason: String| BadParameter::Value { name: name.to_owned(), reason };
        for (place, (name, _)) in self.pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let names = known.join(", ");
                return Err(bad(
                    name,
                    format!("is no parameter of this route, which takes {names}"),
                ));
            }
            if self.pairs.iter().take(place).any(|(other, _)| other == name) {
                return Err(bad(name, "is given more than once".to_owned()));
            }
        }
        Ok(())
    }

    fn required<T: Expected>(&self, name: &'static str) -> Result<T, BadParameter> {
        self.optional(name)?.ok_or_else(|| BadParameter::Value {
            name: name.to_owned(),
            reason: format!("is missing; it takes {}", T::expected()),
        })
    }

    fn optional<T: Expected>(&self, name: &'static str) -> Result<Option<T>, BadParameter> {
        let Some(text) = self.get(name) else { return Ok(None) };
        T::read(text).map(Some).ok_or_else(|| BadParameter::Value {
            name: name.to_owned(),
            reason: format!("is `{}`, not {}", excerpt(text), T::expected()),
        })
    }
}

/// So much of a text that a line with it stays readable.
fn excerpt(text: &str) -> &str {
    text.get(..text.floor_char_boundary(80)).unwrap_or(text)
}

/// A value whose text is looked at.
trait Expected: Sized {
    fn read(text: &str) -> Option<Self>;
    fn expected() -> String;
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Expected for $type {
            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn expected() -> String {
                format!("a number from 0 to {}", <$type>::MAX)
            }
        }
    )*};
}

numbers! { u32 u64 }

impl Expected for OffsetCursor {
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn expected() -> String {
        "what a page before called `next`, such as `0-1-77`".to_owned()
    }
}

impl Expected for PartitionId {
    fn read(text: &str) -> Option<Self> {
        u32::read(text).map(Self::new)
    }

    fn expected() -> String {
        u32::expected()
    }
}

impl<T: Expected + Json> Parameter for Option<T> {
    fn take(given: &Given, name: &'static str) -> Result<Self, BadParameter> {
        given.optional(name)
    }

    fn describe(name: &'static str, meaning: &str, out: &mut Vec<ParameterDescription>) {
        let (meaning, shape) = (meaning.to_owned(), T::shape());
        out.push(ParameterDescription { name, meaning, required: false, shape });
    }
}

impl Parameter for Identifier {
    fn take(given: &Given, name: &'static str) -> Result<Self, BadParameter> {
        // One that is missing is told as one that is empty: in a path both are the same.
        let named = given.get(name).and_then(|text| Self::from_str(text).ok());
        named.ok_or(BadParameter::Code(ErrorCode::InvalidIdentifier))
    }

    fn describe(name: &'static str, _: &str, out: &mut Vec<ParameterDescription>) {
        let meaning = format!("Id or name of the {name}.");
        let shape = <String as Json>::shape();
        out.push(ParameterDescription { name, meaning, required: true, shape });
    }
}

/// Values without which there is no request.
macro_rules! required {
    ($($type:ty)*) => {$(
        impl Parameter for $type {
            fn take(given: &Given, name: &'static str) -> Result<Self, BadParameter> {
                given.required(name)
            }

            fn describe(name: &'static str, meaning: &str, out: &mut Vec<ParameterDescription>) {
                let (meaning, shape) = (meaning.to_owned(), <Self as Json>::shape());
                out.push(ParameterDescription { name, meaning, required: true, shape });
            }
        }
    )*};
}

required! { u32 PartitionId }

impl Parameter for OffsetCursor {
    fn take(given: &Given, name: &'static str) -> Result<Self, BadParameter> {
        Ok(given.optional(name)?.unwrap_or_default())
    }

    fn describe(name: &'static str, meaning: &str, out: &mut Vec<ParameterDescription>) {
        let (meaning, shape) = (meaning.to_owned(), <String as Json>::shape());
        out.push(ParameterDescription { name, meaning, required: false, shape });
    }
}

/// Both rules or none, each by its own name.
impl Parameter for Option<RetentionRules> {
    fn take(given: &Given, _: &'static str) -> Result<Self, BadParameter> {
        let missing = |name: &str, other: &str| BadParameter::Value {
            name: name.to_owned(),
            reason: format!(
                "is missing; with `{other}` it is needed, too, and 0 is the server's default"
            ),
        };
        let expiry = given.optional::<u64>("message_expiry")?;
        let size = given.optional::<u64>("max_topic_size")?;
        match (expiry, size) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(missing("max_topic_size", "message_expiry")),
            (None, Some(_)) => Err(missing("message_expiry", "max_topic_size")),
            (Some(expiry), Some(size)) => Ok(Some(RetentionRules {
                message_expiry: MessageExpiry::new(expiry),
                max_topic_size: MaxTopicSize::new(size),
            })),
        }
    }

    fn describe(_: &'static str, _: &str, out: &mut Vec<ParameterDescription>) {
        let rules = [
            ("message_expiry", "Microseconds messages are kept, in place of the topic's own rule"),
            ("max_topic_size", "Bytes the topic may grow to, in place of the topic's own rule"),
        ];
        for (name, meaning) in rules {
            let meaning = format!("{meaning}; 0 for the server's default, 2^64-1 for no limit.");
            <Option<u64> as Parameter>::describe(name, &meaning, out);
        }
    }
}

/// Makes a command one that can be read from a URL, if its fields can.
macro_rules! parameters {
    ($(#[$($meta:tt)*])* $name:ident) => {
        impl<S> $crate::parameter::FromParameters<S> for $name {
            const MEANING: &'static str = $crate::json::docs!([$(#[$($meta)*])*]);

            fn from_parameters(_: &S) -> Result<Self, $crate::parameter::BadParameter> {
                Ok(Self)
            }

            fn parameters() -> Vec<$crate::parameter::ParameterDescription> {
                Vec::new()
            }
        }
    };
    (
        $(#[$($meta:tt)*])*
        $name:ident {
            $( $(#[$($field_meta:tt)*])* $field:ident: $type:ty $(as $codec:ident)?, )*
        }
    ) => {
        impl<S> $crate::parameter::FromParameters<S> for $name
        where
            $( $type: $crate::parameter::Parameter<S>, )*
        {
            const MEANING: &'static str = $crate::json::docs!([$(#[$($meta)*])*]);

            fn from_parameters(given: &S) -> Result<Self, $crate::parameter::BadParameter> {
                use $crate::parameter::Parameter;
                $( let $field = <$type as Parameter<S>>::take(given, stringify!($field))?; )*
                Ok(Self { $($field,)* })
            }

            fn parameters() -> Vec<$crate::parameter::ParameterDescription> {
                use $crate::parameter::Parameter;
                let mut out = Vec::new();
                $(
                    let meaning = $crate::json::docs!([$(#[$($field_meta)*])*]).trim_start();
                    <$type as Parameter<S>>::describe(stringify!($field), meaning, &mut out);
                )*
                out
            }
        }
    };
}

pub(crate) use parameters;
