//! What happens in a round, and what may be missing afterwards.

use std::fmt;
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use galgo::{CallError, ErrorCode};
use galgo::{GlobalPermissions, Permissions};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::sleep;

use crate::round::{PARTITIONS, Place, TOPIC, named, persist, topic_options};
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

    /// Lets it happen, and be over.
    pub(crate) async fn happen(
        self,
        server: &Mutex<Server>,
        place: &Place,
        random: &mut StdRng,
    ) -> Result<(), String> {
        let admin = &place.admin;
        let (stream, topic) = (&place.stream, &named(TOPIC));
        let pause = Duration::from_millis(random.random_range(5..120));
        match self {
            Self::Purge => persist("purge", || admin.purge_topic(stream, topic)).await,
            Self::MadeAgain => {
                let delete = || admin.delete_topic(stream, topic);
                persist("delete", || unless(delete(), ErrorCode::TopicIdNotFound)).await?;
                sleep(pause).await;
                let again = || admin.create_topic(stream, TOPIC, topic_options(place.course));
                persist("make again", || unless(again(), ErrorCode::TopicNameAlreadyExists)).await
            }
            Self::Retention => {
                let small = topic_options(place.course).max_size(SIZE_KEPT);
                persist("update", || admin.update_topic(stream, topic, TOPIC, small.clone()))
                    .await?;
                // The upkeep comes by once a second.
                sleep(Duration::from_millis(1_500)).await;
                Ok(())
            }
            Self::SegmentDelete => {
                for partition in 0..PARTITIONS {
                    persist("delete segments", || {
                        admin.delete_segments(stream, topic, partition, 2)
                    })
                    .await?;
                }
                Ok(())
            }
            Self::Partitions => {
                persist("add", || have_partitions(place, PARTITIONS + 1)).await?;
                sleep(pause).await;
                persist("remove", || have_partitions(place, PARTITIONS)).await
            }
            Self::DiskFull => {
                server.lock().unwrap().limit_files(Some(random.random_range(1..64 << 10)));
                sleep(pause * 4).await;
                server.lock().unwrap().limit_files(None);
                Ok(())
            }
            Self::Kill => {
                server.lock().unwrap().kill_and_restart();
                Ok(())
            }
            Self::LogGone => {
                let stuck: bool = random.random();
                server.lock().unwrap().lose_log(if stuck {
                    LogFate::Stuck
                } else {
                    LogFate::Closed
                });
                sleep(pause).await;
                Ok(())
            }
            Self::Clock => {
                server.lock().unwrap().set_clock(40 * 24 * 3600);
                sleep(pause * 8).await;
                server.lock().unwrap().set_clock(0);
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

/// Does what `act` does, unless it is done: the answer to it may have been lost.
pub(crate) async fn unless<T>(
    act: impl Future<Output = Result<T, CallError>>,
    done: ErrorCode,
) -> Result<(), CallError> {
    match act.await {
        Err(error) if error.code() == Some(done) => Ok(()),
        result => result.map(drop),
    }
}

/// Lets the topic have so many partitions, however many it has.
async fn have_partitions(place: &Place, wanted: u32) -> Result<(), CallError> {
    let (admin, stream, topic) = (&place.admin, &place.stream, &named(TOPIC));
    let found = admin.topic(stream, topic).await?;
    let count = found.map_or(wanted, |found| found.topic.partitions_count);
    match wanted.checked_sub(count) {
        Some(0) => Ok(()),
        Some(missing) => admin.create_partitions(stream, topic, missing).await,
        None => admin.delete_partitions(stream, topic, count - wanted).await,
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
