//! Tells an error with everything that led to it, in one line.
//!
//! An error that has a source does not repeat it in its own message, so that the line says
//! each thing once.

use std::error::Error;
use std::fmt;

/// An error and its sources, the outermost first, divided by colons.
#[derive(Clone, Copy, Debug)]
pub struct Causes<'a>(pub &'a dyn Error);

impl<'a> Causes<'a> {
    /// What is below the error, the nearest first.
    pub fn sources(self) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
        std::iter::successors(self.0.source(), |error| (*error).source())
    }
}

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.sources().try_for_each(|source| write!(f, ": {source}"))
    }
}
