//! What the server says about itself: logs now, metrics and traces beside them.

pub(crate) mod log;
pub(crate) mod recent;
