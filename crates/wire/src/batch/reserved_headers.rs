//! Names of user headers that mean something. All text keys that begin with [`PREFIX`] are reserved: those
//! below have a meaning, the others are to get one.

/// How reserved names begin.
pub const PREFIX: &str = "galgo.";
/// The key of a message.
pub const KEY: &str = "galgo.key";
/// A boolean: what was stored under the key is gone.
pub const DELETE: &str = "galgo.delete";
/// A `u64`: microseconds after which the message may go.
pub const TTL: &str = "galgo.ttl";
/// How the names begin that say where a message came from that could not be processed.
pub const DEAD_PREFIX: &str = "galgo.dead.";

/// Whether `name` is reserved and has no meaning, so that nobody is to use it.
#[must_use]
pub fn is_unknown(name: &str) -> bool {
    let known = [KEY, DELETE, TTL].contains(&name) || name.starts_with(DEAD_PREFIX);
    name.starts_with(PREFIX) && !known
}
