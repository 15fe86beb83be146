//! What the server says about itself: logs now, metrics and traces beside them.

pub(crate) mod log;
mod outlet;
pub(crate) mod recent;
pub(crate) mod streams;
