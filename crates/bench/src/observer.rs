//! Whom a run tells what it is doing.

use std::time::Duration;

/// How far the load is.
#[derive(Clone, Copy, Debug)]
pub struct SoFar {
    /// Messages answered for, warm-up included.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Since the run began.
    pub elapsed: Duration,
    /// Whether counting has not begun yet.
    pub is_warm_up: bool,
}

/// Whom a run tells what it is doing. All of it comes from the thread that called; nothing is a result.
pub trait Observer {
    /// Something a person should know.
    fn remark(&self, sentence: &str);

    /// The load begins; it is over at so many messages, if that is known.
    fn begins(&self, _messages: Option<u64>) {}

    /// How far it is; some twenty times a second.
    fn goes_on(&self, _so_far: SoFar) {}

    /// It is over.
    fn ends(&self) {}
}
