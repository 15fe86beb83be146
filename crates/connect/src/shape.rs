//! What is made of a message before it is delivered.

use std::sync::Arc;

use bytes::Bytes;

use crate::batch::Form;
use crate::log::LogMessage;
use crate::place::LaneName;

/// Decoding and transforms of a pipeline.
pub trait Shape: Send + Sync {
    /// What is delivered of a message: nothing, one row or several.
    ///
    /// # Errors
    /// What is wrong with the message, without any value of it (INV-MUTE).
    fn shape(&self, lane: &LaneName, message: &LogMessage) -> Result<Vec<(Form, Bytes)>, String>;

    /// Whether it takes so long that it must not hold up others.
    fn is_slow(&self) -> bool;
}

/// What was made of a message.
pub(crate) enum Shaped {
    Rows(Vec<(Form, Bytes)>),
    Bad(String),
}

/// A message and what was made of it.
pub(crate) type ShapedMessage = (LogMessage, Shaped);

/// Shapes messages; on a thread of its own when that takes long.
pub(crate) async fn shape_all(
    shape: Arc<dyn Shape>,
    lane: &LaneName,
    messages: Vec<LogMessage>,
) -> Vec<ShapedMessage> {
    let each = |shape: &dyn Shape, lane: &LaneName, message: LogMessage| {
        let shaped = match shape.shape(lane, &message) {
            Ok(rows) => Shaped::Rows(rows),
            Err(reason) => Shaped::Bad(reason),
        };
        (message, shaped)
    };
    if !shape.is_slow() {
        return messages.into_iter().map(|message| each(&*shape, lane, message)).collect();
    }
    let lane = lane.clone();
    let work = move || messages.into_iter().map(|message| each(&*shape, &lane, message)).collect();
    match tokio::task::spawn_blocking(work).await {
        Ok(shaped) => shaped,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and so does this task.
            Err(_) => std::future::pending().await,
        },
    }
}
