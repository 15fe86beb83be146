//! A lane: one partition of a topic on its way into a target, in order.

pub mod deliver;

pub use deliver::{Delivery, DeliveryEnd, OnBad};
