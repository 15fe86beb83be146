//! What a log is called in lines for the operator, who knows topics and not directories.

use crate::lock::{RankedRw, rank};
use std::sync::Arc;

/// The name of a log: whoever opens it gives it, and gives it anew when it changes.
#[derive(Debug, Default)]
pub struct LogName(RankedRw<{ rank::LOG_NAME }, Arc<PartitionName>>);

/// A partition by the names of its stream and topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionName {
    /// The name of the stream.
    pub stream: String,
    /// The name of the topic.
    pub topic: String,
    /// The number of the partition.
    pub partition: u32,
}

impl LogName {
    /// Starts with a name.
    #[must_use]
    pub fn new(name: PartitionName) -> Self {
        Self(RankedRw::new(Arc::new(name)))
    }

    /// The name as it is now.
    #[must_use]
    pub fn get(&self) -> Arc<PartitionName> {
        Arc::clone(&self.0.read())
    }

    /// Gives another name.
    pub fn set(&self, name: PartitionName) {
        *self.0.write() = Arc::new(name);
    }
}

/// A line for the operator about the log of a reader, by its name.
macro_rules! tell {
    ($level:ident, $reader:expr, $($rest:tt)+) => {{
        let name = $reader.name().get();
        let (stream, topic) = (name.stream.as_str(), name.topic.as_str());
        tracing::$level!(stream, topic, partition = name.partition, $($rest)+);
    }};
}

pub(super) use tell;
