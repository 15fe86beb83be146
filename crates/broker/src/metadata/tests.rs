//! The metadata state machine: rules of its commands one by one, and, under random sequences of
//! commands, that records, snapshots and the live state always say the same.

mod groups;
mod jwts;
mod properties;
pub(crate) mod records;
mod rules;
mod users;
mod world;
