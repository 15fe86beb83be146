//! What happens in a round, and what may be missing afterwards.

use std::fmt;
use std::time::Duration;

use galgo::wire::permission::{GlobalPermissions, Permissions};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::sleep;

use crate::round::{Place, TOPIC, named, persist, topic_options};
use crate::server::{LogFate, Server};

/// Something that happens while messages are written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The topic is purged.
    Purge,
    /// The topic is deleted and made again.
    MadeAgain,
    /// Retention removes what is over the size of the topic.
    Retention,
    /// Segments are deleted by hand.
    SegmentDelete,
    /// A partition is added and removed.
    Partitions,
    /// Files can't grow for a while.
    DiskFull,
    /// `kill -9` and a start.
    Kill,
    /// The log is stuck or closed.
    LogGone,
    /// The clock jumps by forty days, and back.
    Clock,
    /// The user may do nothing for a while.
    Rights,
}

/// What a reader may find gone at the end, of what was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// Nothing.
    Nothing,
    /// The oldest of each partition.
    Oldest,
    /// Everything from before, and maybe what was on its way.
    Before,
    /// What was on its way, if it went to the partition that was removed.
    Meanwhile,
}

impl Event {
    /// All of them.
    pub(crate) const ALL: [Self; 10] = [
        Self::Purge,
        Self::MadeAgain,
        Self::Retention,
        Self::SegmentDelete,
        Self::Partitions,
        Self::DiskFull,
        Self::Kill,
        Self::LogGone,
        Self::Clock,
        Self::Rights,
    ];

    /// What it may take.
    pub(crate) fn takes(self) -> Gone {
        match self {
            Self::Purge | Self::MadeAgain => Gone::Before,
            Self::Retention | Self::SegmentDelete => Gone::Oldest,
            Self::Partitions => Gone::Meanwhile,
            Self::DiskFull | Self::Kill | Self::LogGone | Self::Clock | Self::Rights => {
                Gone::Nothing
            }
        }
    }

    /// Whether a tool may end with this: one that follows waits for all that passes by itself, not for rights.
    pub(crate) fn may_end_a_tool(self, complaint: &str) -> bool {
        self == Self::Rights && complaint.contains("permission denied (error 41)")
    }

    /// Lets it happen, and be over.
    pub(crate) async fn happen(
        self,
        server: &mut Server,
        place: &Place,
        random: &mut StdRng,
    ) -> Result<(), String> {
        let admin = &place.admin;
        let (stream, topic) = (&place.stream, &named(TOPIC));
        let pause = Duration::from_millis(random.random_range(5..120));
        match self {
            Self::Purge => persist("purge", || admin.purge_topic(stream, topic)).await,
            Self::MadeAgain => {
                persist("delete", || admin.delete_topic(stream, topic)).await?;
                sleep(pause).await;
                let again = || admin.create_topic(stream, TOPIC, topic_options(place.course));
                persist("make again", again).await.map(drop)
            }
            Self::Retention => {
                let small = topic_options(place.course).max_size(SIZE_KEPT);
                persist("update", || admin.update_topic(stream, topic, TOPIC, small)).await?;
                // The upkeep comes by once a second.
                sleep(Duration::from_millis(1_500)).await;
                Ok(())
            }
            Self::SegmentDelete => {
                for partition in 0..crate::round::PARTITIONS {
                    persist("delete segments", || {
                        admin.delete_segments(stream, topic, partition, 2)
                    })
                    .await?;
                }
                Ok(())
            }
            Self::Partitions => {
                persist("add", || admin.create_partitions(stream, topic, 1)).await?;
                sleep(pause).await;
                persist("remove", || admin.delete_partitions(stream, topic, 1)).await
            }
            Self::DiskFull => {
                server.limit_files(Some(random.random_range(1..64 << 10)));
                sleep(pause * 4).await;
                server.limit_files(None);
                Ok(())
            }
            Self::Kill => {
                server.kill_and_restart();
                Ok(())
            }
            Self::LogGone => {
                let stuck: bool = random.random();
                server.lose_log(if stuck { LogFate::Stuck } else { LogFate::Closed });
                sleep(pause).await;
                Ok(())
            }
            Self::Clock => {
                server.set_clock(40 * 24 * 3600);
                sleep(pause * 8).await;
                server.set_clock(0);
                Ok(())
            }
            Self::Rights => {
                let user = &place.user;
                persist("take rights", || admin.update_permissions(user, None)).await?;
                sleep(pause).await;
                persist("give rights", || admin.update_permissions(user, Some(all_rights()))).await
            }
        }
    }
}

/// Small enough that a round passes it.
const SIZE_KEPT: u64 = 64 << 10;

/// What the user of a round may do.
pub(crate) fn all_rights() -> Permissions {
    Permissions { global: GlobalPermissions::ALL, ..Permissions::default() }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Purge => "purge",
            Self::MadeAgain => "made again",
            Self::Retention => "retention",
            Self::SegmentDelete => "segment delete",
            Self::Partitions => "partition added and removed",
            Self::DiskFull => "disk full and freed",
            Self::Kill => "kill -9",
            Self::LogGone => "log gone",
            Self::Clock => "clock step",
            Self::Rights => "rights removed",
        })
    }
}
