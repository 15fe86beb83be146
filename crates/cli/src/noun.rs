//! The things of a server that commands work on: how each is meant on the command line, looked up, and called in a
//! sentence. Commands, and what runs below them, share this; nothing here knows a command.

pub(crate) mod extent;
pub(crate) mod group;
pub(crate) mod holder;
pub(crate) mod settings;
pub(crate) mod stream;
pub(crate) mod topic;
pub(crate) mod user;
