//! Programs in jq within bounds: what a pipeline makes of a message is a program that somebody wrote, run on a value that
//! somebody sent.
//!
//! [`Program`] compiles and runs one, [`Watch`] bounds what a run uses, and [`each`] runs it on threads with a deep stack that are
//! given up when they do not come back (INV-JQ-BOUND). The library of jq is generic over what it runs on; all of that is compiled
//! here, once, and not again with each change to pipelines.
//!
//! No error tells a value: places and kinds of faults only.

mod evaluators;
mod guard;
mod program;
mod watch;

pub use evaluators::{GIVEN_UP_MAX, Lost, each, given_up};
/// Values, and what they are made of.
pub use jaq_json::{Map, Num, Rc, Val};
pub use program::{Fault, OUTPUTS_MAX, PATIENCE, Program, TIME_MAX, printed, read};
pub use watch::{TEXT_MAX, Watch};
