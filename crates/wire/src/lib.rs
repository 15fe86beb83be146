//! What the bytes of the Galgo protocol mean: frames, commands, messages.
//!
//! The crate has no sockets, files, clock or async: bytes go in, values come out, and back.
//!
//! INV-BOUND: every length read from outside is checked against a limit of [`limits`] and against
//! the bytes that are really there before anything is allocated for it.
//! INV-EXACT: any bytes from outside give a value or the one [`ErrorCode`] the protocol asks for,
//! never a panic.
//! Part of INV-ONCE: a command, its fields, its code and its right are written down in one place.
#![deny(clippy::indexing_slicing)]

pub mod batch;
pub mod command;
pub mod consumer;
pub mod error_code;
pub mod frame;
pub mod id;
pub mod identifier;
pub mod index;
#[cfg(feature = "json")]
pub mod json;
mod layout;
pub mod limits;
pub mod measure;
pub mod name;
pub mod options;
#[cfg(feature = "json")]
pub mod parameter;
pub mod permission;
pub mod primitive;
pub mod reference;

/// Without the feature no type has a JSON of the API, and no command is read from a URL.
#[cfg(not(feature = "json"))]
mod json {
    macro_rules! nothing {
        ($($any:tt)*) => {};
    }
    pub(crate) use {nothing as as_inner, nothing as entity, nothing as words};
}

#[cfg(not(feature = "json"))]
mod parameter {
    macro_rules! nothing {
        ($($any:tt)*) => {};
    }
    pub(crate) use nothing as parameters;
}

#[cfg(test)]
mod sample;

pub use consumer::{
    ConsumerIdentity, ConsumerKind, Partitioning, PartitioningRef, PollingStrategy, key_partition,
};
pub use error_code::ErrorCode;
pub use id::{
    ClientId, ConsumerId, Epoch, GroupId, Life, Offset, PartitionId, PartitionUid, StreamId,
    Timestamp, TopicId, UserId,
};
pub use identifier::{Identifier, IdentifierRef};
pub use name::{GroupName, Name, NameError, Password, Secret, StreamName, TopicName, Username};
pub use permission::{Action, Permissions, Right, Scope};
pub use primitive::{DecodeError, Payload, Reader};
