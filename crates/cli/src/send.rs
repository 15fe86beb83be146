//! The parts of `galgo send`: lines in, batches out, acknowledgements counted.

pub(crate) mod feed;
pub(crate) mod headers;
pub(crate) mod id;
pub(crate) mod key;
pub(crate) mod ledger;
pub(crate) mod line;
pub(crate) mod memory;
pub(crate) mod report;
