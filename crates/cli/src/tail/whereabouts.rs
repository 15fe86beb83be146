//! Where the partitions of a topic begin and end, and the lives they are in.

use futures_util::future::try_join_all;
use galgo::model::FeatureFlags;
use galgo::{Client, Life, PollRequest};

use crate::failure::Outcome;
use crate::noun::extent::Extent;
use crate::noun::topic::TopicPath;

/// What is known of a partition before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    /// Its offsets.
    pub(crate) extent: Extent,
    /// The life they are of, if the server tells.
    pub(crate) life: Life,
}

impl Whereabouts {
    /// Those of all partitions. A server that knows of lives tells offsets and life in one answer, so that
    /// no purge comes between.
    pub(crate) async fn of_all(client: &Client, path: &TopicPath) -> Outcome<Vec<Self>> {
        let partitions = path.partitions(client).await?;
        let extents = partitions.iter().map(Extent::of);
        let plain = extents.map(|extent| Self { extent, life: Life::UNKNOWN });
        if !client.features().await?.contains(FeatureFlags::LIVES) {
            return Ok(plain.collect());
        }
        let asked = (0..).zip(plain).map(|(partition, plain): (u32, Self)| async move {
            let none = PollRequest::new(&path.stream, &path.topic, partition).count(0);
            let told = client.poll(none).await?;
            Ok(match told.extent() {
                Some(extent) => Self {
                    extent: Extent { start: extent.start, end: extent.end },
                    life: told.life(),
                },
                None => plain,
            })
        });
        try_join_all(asked).await
    }
}
