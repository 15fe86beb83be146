//! Who may do what: passwords, and rights as they stand at this moment.

pub mod password;
pub mod rights;
