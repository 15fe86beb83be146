//! Who may do what: passwords and tokens, guessing at them, and rights as they stand at this moment.

pub mod guard;
pub mod password;
pub mod rights;
pub mod throttle;
pub(crate) mod token;
