//! Measures the server against what the machine itself can do.
//!
//! The server and the bare program it is compared with get the same bytes from the
//! same load generator, in alternating runs of one session. The generator is blocking threads
//! with frames built in advance, so that it costs little next to what it measures.

pub(crate) mod compare;
pub(crate) mod connections;
pub(crate) mod echo;
pub(crate) mod follow;
pub(crate) mod footprints;
pub(crate) mod frame;
pub(crate) mod goal;
pub(crate) mod histogram;
pub(crate) mod html;
pub(crate) mod load;
pub(crate) mod measurement;
pub(crate) mod pipeline;
pub(crate) mod plan;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod runs;
pub(crate) mod scratch;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod steady;
pub(crate) mod tail;
pub(crate) mod worker;
