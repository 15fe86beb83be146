//! Tells an error with everything that led to it, in one line.
//!
//! An error that has a source does not repeat it in its own message, so that the line says
//! each thing once.

use std::error::Error;
use std::fmt;
use std::io;

/// An error and its sources, the outermost first, divided by colons.
#[derive(Clone, Copy, Debug)]
pub struct Causes<'a>(pub &'a dyn Error);

impl<'a> Causes<'a> {
    /// What may be told to clients, who are to see no files: what the system said, or that the log of the server tells.
    pub(crate) fn for_clients(self) -> String {
        let mut said = self.sources().filter_map(|error| error.downcast_ref::<io::Error>());
        said.find_map(system_said).unwrap_or_else(|| SEE_LOG.to_owned())
    }

    /// What is below the error, the nearest first.
    pub fn sources(self) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
        std::iter::successors(self.0.source(), |error| (*error).source())
    }
}

/// What clients are told of an error that may name files.
const SEE_LOG: &str = "the log of the server says why";

/// As [`Causes::for_clients`] for an error of the disk itself.
pub(crate) fn disk_error_for_clients(error: &io::Error) -> String {
    system_said(error).unwrap_or_else(|| SEE_LOG.to_owned())
}

/// The words of the system, in which there are no names; one of our own may have some.
fn system_said(error: &io::Error) -> Option<String> {
    error.raw_os_error().map(|_| error.to_string())
}

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        self.sources().try_for_each(|source| write!(f, ": {source}"))
    }
}
