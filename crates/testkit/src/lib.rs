//! What the tests of several crates share. No product code uses it.
//!
//! A helper whose crate would have to be built for everybody is behind a feature of that crate's name.

pub mod docs;
pub mod fuzz;
