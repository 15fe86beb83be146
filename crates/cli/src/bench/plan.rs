//! What is compared with what, and how well the server is meant to do.

/// Payload of the large requests: 1,000 messages of 1,000 bytes.
const LARGE: Batch = Batch { messages: 1000, message_bytes: 1000 };

/// Payload of the small requests.
pub(crate) const SMALL: Batch = Batch { messages: 1, message_bytes: 100 };

/// Requests stored in each partition before it is read; they fit the page cache.
pub(crate) const PRELOADED_REQUESTS: u32 = 128;

/// What a request carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    /// Messages in a request.
    pub(crate) messages: u32,
    /// Bytes of payload in a message.
    pub(crate) message_bytes: u32,
}

impl Batch {
    /// Bytes of payload in a request.
    pub(crate) fn bytes(self) -> u64 {
        u64::from(self.messages) * u64::from(self.message_bytes)
    }
}

/// What a run asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Messages are sent.
    Produce {
        /// Connections.
        producers: u32,
        /// Partitions they are spread over.
        partitions: u32,
        /// Each request.
        batch: Batch,
    },
    /// Messages are read.
    Consume {
        /// Connections, each with a partition of its own.
        consumers: u32,
        /// Each request.
        batch: Batch,
    },
}

impl Load {
    /// What a request carries.
    pub(crate) fn batch(self) -> Batch {
        match self {
            Self::Produce { batch, .. } | Self::Consume { batch, .. } => batch,
        }
    }
}

/// Who takes the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The server, with this default durability.
    Server(&'static str),
    /// The bare sink, syncing each frame or not.
    Sink {
        /// Whether each frame is synced before it is answered.
        sync: bool,
    },
    /// The bare `sendfile` server.
    Source,
}

/// The unit in which two sides are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes of payload.
    BytesPerSecond,
    /// Requests.
    RequestsPerSecond,
}

/// One row of the comparison.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    /// What is measured, and against what.
    pub(crate) what: String,
    /// The load.
    pub(crate) load: Load,
    /// The server.
    pub(crate) measured: Side,
    /// What it is held against.
    pub(crate) against: Side,
    /// What is divided by what.
    pub(crate) unit: Unit,
    /// The least ratio.
    pub(crate) goal: f64,
}

/// Every row of `galgo bench compare`, in order.
pub(crate) fn comparisons() -> Vec<Comparison> {
    let mut rows: Vec<Comparison> =
        [1, 2, 8].map(|producers| large_writes(producers, "os", Side::Sink { sync: false })).into();
    rows.push(large_writes(8, "fsync", Side::Sink { sync: true }));
    rows.extend([1, 64].map(small_writes));
    rows.push(Comparison {
        what: "read 1 MB, 2 consumers / bare sendfile".to_owned(),
        load: Load::Consume { consumers: 2, batch: LARGE },
        measured: Side::Server("os"),
        against: Side::Source,
        unit: Unit::BytesPerSecond,
        goal: 0.8,
    });
    rows
}

fn large_writes(producers: u32, durability: &'static str, against: Side) -> Comparison {
    let plural = if producers == 1 { "" } else { "s" };
    Comparison {
        what: format!("write 1 MB, {durability}, {producers} producer{plural} / bare sink"),
        load: Load::Produce { producers, partitions: producers, batch: LARGE },
        measured: Side::Server(durability),
        against,
        unit: Unit::BytesPerSecond,
        goal: 0.7,
    }
}

fn small_writes(partitions: u32) -> Comparison {
    let plural = if partitions == 1 { "" } else { "s" };
    Comparison {
        what: format!("write 100 B, 64 producers, {partitions} partition{plural}: fsync / os"),
        load: Load::Produce { producers: 64, partitions, batch: SMALL },
        measured: Side::Server("fsync"),
        against: Side::Server("os"),
        unit: Unit::RequestsPerSecond,
        goal: 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let rows = comparisons();
        let mut names: Vec<_> = rows.iter().map(|row| row.what.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), rows.len());
    }
}
