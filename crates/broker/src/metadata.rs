//! Streams, topics, partitions, users and tokens as one deterministic state machine.
//!
//! A command is *prepared* (time, ids, hashes and names decided), written to the metadata log, and
//! then *applied*. [`State::apply`] reads no clock, no random number and no disk, so the same
//! records always give the same state; a replicated log can stand in the place of the local one
//! without touching it.
//!
//! INV-META-ORDER: a record is applied only after it is durable in the metadata log.
//! INV-META-UID: a [`PartitionUid`] is given once and never again, not even after a purge.
//! INV-META-SERIAL: a [`UserSerial`] is given once and never again, while user ids are reused. A user gets
//! another one when its logins end, so that a login is good exactly while its serial is its user's.
//! INV-META-GROUP: a [`GroupSerial`] is given once and never again, while group ids are reused.
//! INV-META-REMOVAL: files of a partition are removed only while its uid stands in
//! [`State::removals`], which only a record puts there.

pub(crate) mod act;
pub mod groups;
pub mod jwts;
pub mod options;
pub mod prepare;
pub mod record;
pub mod snapshot;
mod streams;
pub mod tokens;
mod topics;
pub mod users;

use std::collections::{BTreeMap, BTreeSet};

use galgo_wire::command::Compression;
use galgo_wire::command::UserStatus;
use galgo_wire::command::{Deduplication, Durability};
use galgo_wire::id::{GroupId, PartitionUid, ShardId, StreamId, Timestamp, TopicId, UserId};
use galgo_wire::name::{StreamName, TokenName, TopicName, Username};
use galgo_wire::options::OptionChoices;
use galgo_wire::permission::{Permissions, Scope};

use crate::partition::IdKey;
pub use groups::{GroupMetadata, GroupSerial};
use record::{CreatedTopic, Record};
pub use tokens::{HashedToken, TokenHash};
pub use users::{UserMark, UserSerial};

/// Everything the server knows besides messages and consumer offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Streams by id.
    pub streams: BTreeMap<StreamId, StreamMetadata>,
    /// Users by id; the root user is 0.
    pub users: BTreeMap<UserId, UserMetadata>,
    /// Partitions whose files are still to be removed.
    pub removals: BTreeSet<PartitionUid>,
    /// The next uid to give to a partition.
    pub next_uid: u64,
    /// The next serial to give to a consumer group.
    pub next_group_serial: u32,
    /// The next serial to give to a user.
    pub next_user_serial: u64,
    /// The key that ids of messages are derived with; `None` until the first start that knows of it.
    pub id_key: Option<IdKey>,
    /// HTTP logins that were ended before their time, by account, and when they would have ended by
    /// themselves.
    pub revoked_jwts: BTreeMap<(UserSerial, u128), Timestamp>,
    /// Accounts whose HTTP logins up to an id, which tells when it was issued, have all ended.
    pub void_jwts: BTreeMap<UserSerial, u128>,
    stream_names: BTreeMap<Box<str>, StreamId>,
    user_names: BTreeMap<Username, UserId>,
    /// The tokens of each user that has any.
    tokens: BTreeMap<UserId, BTreeMap<TokenName, HashedToken>>,
    token_owners: BTreeMap<TokenHash, (UserId, TokenName)>,
}

/// A stream: a namespace of topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamMetadata {
    /// Unique among the streams.
    pub name: StreamName,
    /// When it was created.
    pub created_at: Timestamp,
    /// Topics by id.
    pub topics: BTreeMap<TopicId, TopicMetadata>,
    topic_names: BTreeMap<Box<str>, TopicId>,
}

/// Where a topic is. Both ids are given again once what has them is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPlace {
    /// Its stream.
    pub stream: StreamId,
    /// The topic itself.
    pub topic: TopicId,
}

/// A topic: a named set of partitions with common settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMetadata {
    /// When it was created.
    pub created_at: Timestamp,
    /// What can be changed later.
    pub settings: ResolvedSettings,
    /// Partition 0 first.
    pub partitions: Vec<PartitionMetadata>,
    /// Consumer groups by id.
    pub groups: BTreeMap<GroupId, GroupMetadata>,
    group_names: BTreeMap<Box<str>, GroupId>,
}

/// The settings of a topic; sentinels of the protocol are resolved before they come here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedSettings {
    /// Unique within the stream.
    pub name: TopicName,
    /// What clients say they compress with; the server does not look at it.
    pub compression: Compression,
    /// Microseconds after which a message may go; `u64::MAX` never.
    pub message_expiry_us: u64,
    /// Bytes above which the oldest segments may go; `u64::MAX` unlimited.
    pub size_bytes_max: u64,
    /// Stored for clients; one machine keeps one copy.
    pub replication_factor: u8,
    /// What an acknowledgement of this topic survives.
    pub durability: Durability,
    /// Whether a message with an id that its partition stored lately is dropped.
    pub deduplication: Deduplication,
    /// What else is set, by name.
    pub options: OptionChoices,
}

/// A partition as the metadata knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// Names its log on disk; changes when the partition is purged.
    pub uid: PartitionUid,
    /// When it was created.
    pub created_at: Timestamp,
    /// The shard whose journal its writes go through; a purge does not change it.
    pub shard: ShardId,
}

/// Someone who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserMetadata {
    /// Tells the user from those that had its id before and will have it later, and its logins from those
    /// that ended.
    pub serial: UserSerial,
    /// Unique among the users.
    pub name: Username,
    /// The password in PHC string form (argon2id); the password itself never gets here.
    pub password_hash: String,
    /// Whether logging in is allowed.
    pub status: UserStatus,
    /// When it was created.
    pub created_at: Timestamp,
    /// What the user may do, if anything beyond its own affairs.
    pub permissions: Option<Permissions>,
}

/// What the shell must do after a record was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// Partitions or groups of this topic came, went or were replaced, or its settings changed.
    TopicChanged(TopicPlace),
    /// The topic is gone.
    TopicGone(TopicPlace),
    /// The user is gone.
    UserGone(UserId),
    /// All logins of the user ended.
    LoginsEnded(UserId),
}

/// A record that does not fit the state: the log and the program disagree.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the record names {what} {id}, which the state does not have or already has")]
pub struct ApplyError {
    what: &'static str,
    id: u64,
}

impl TopicPlace {
    /// The topic `topic` of the stream `stream`.
    #[must_use]
    pub const fn new(stream: StreamId, topic: TopicId) -> Self {
        Self { stream, topic }
    }

    /// What is allowed there.
    #[must_use]
    pub fn scope(self) -> Scope {
        Scope::Topic(self.stream, self.topic)
    }
}

impl State {
    /// Changes the state as `record` says and tells what must follow in the world.
    ///
    /// # Errors
    /// [`ApplyError`] when the record names something that is missing, or creates something that
    /// exists; the state is unchanged then.
    pub fn apply(&mut self, record: &Record) -> Result<Vec<Consequence>, ApplyError> {
        match record {
            Record::CreateStream { id, name, created_at } => {
                self.create_stream(*id, name, *created_at)
            }
            Record::RenameStream { id, name } => self.rename_stream(*id, name),
            Record::DeleteStream { id } => self.delete_stream(*id),
            Record::CreateTopic(created) => self.create_topic(created),
            Record::UpdateTopic { stream, topic, settings } => {
                self.update_topic(*stream, *topic, settings)
            }
            Record::DeleteTopic { stream, topic } => self.delete_topic(*stream, *topic),
            Record::PurgeTopics { stream, topics, first_uid } => {
                self.purge_topics(*stream, topics, *first_uid)
            }
            Record::AddPartitions { stream, topic, partitions, created_at } => {
                self.add_partitions(*stream, *topic, partitions, *created_at)
            }
            Record::RemovePartitions { stream, topic, count } => {
                self.remove_partitions(*stream, *topic, *count)
            }
            Record::FilesRemoved { uids } => {
                // Also one that is not there: a crash between removal and record repeats both.
                for uid in uids {
                    self.removals.remove(uid);
                }
                Ok(Vec::new())
            }
            Record::CreateUser { id, user } => self.create_user(*id, user),
            Record::UpdateUser { id, name, status } => self.update_user(*id, name, *status),
            Record::SetPermissions { id, permissions } => self.set_permissions(*id, permissions),
            Record::SetPassword { id, hash } => self.set_password(*id, hash),
            Record::ReplacePassword { id, hash, serial, ends_tokens } => {
                self.replace_password(*id, hash, *serial, *ends_tokens)
            }
            Record::DeactivateUser { id, name, serial } => self.deactivate_user(*id, name, *serial),
            Record::DeleteUser { id } => self.delete_user(*id),
            Record::CreateToken { user, name, token } => self.create_token(*user, name, *token),
            Record::DeleteToken { user, name } => self.delete_token(*user, name),
            Record::CreateGroup { place, group } => self.create_group(*place, group),
            Record::DeleteGroup { place } => self.delete_group(*place),
            Record::SkipGiven { next_uid, next_group_serial } => {
                // Never back: what was given since is given (INV-META-UID).
                self.next_uid = self.next_uid.max(*next_uid);
                self.next_group_serial = self.next_group_serial.max(*next_group_serial);
                Ok(Vec::new())
            }
            Record::SetIdKey { key } => {
                // Given once: ids that were derived have to come out the same again.
                let other = self.id_key.is_some_and(|known| known != *key);
                if other {
                    return Err(ApplyError { what: "the key of ids", id: 0 });
                }
                self.id_key = Some(*key);
                Ok(Vec::new())
            }
            Record::RevokeJwt { serial, jti, expires_at } => {
                self.revoked_jwts.insert((*serial, *jti), *expires_at);
                Ok(Vec::new())
            }
            Record::VoidJwts { serial, last } => {
                self.void_jwts(*serial, *last);
                Ok(Vec::new())
            }
            Record::ForgetExpired { until } => {
                self.forget_expired(*until);
                Ok(Vec::new())
            }
        }
    }

    /// The shards that partitions are on.
    #[must_use]
    pub fn shards(&self) -> BTreeSet<ShardId> {
        self.all_partitions().map(|partition| partition.shard).collect()
    }

    /// The uids of all partitions.
    #[must_use]
    pub fn live_uids(&self) -> BTreeSet<PartitionUid> {
        self.all_partitions().map(|partition| partition.uid).collect()
    }

    /// All partitions, in the order of their streams and topics.
    fn all_partitions(&self) -> impl Iterator<Item = &PartitionMetadata> {
        let topics = self.streams.values().flat_map(|stream| stream.topics.values());
        topics.flat_map(|topic| &topic.partitions)
    }

    /// The uids that applying `record` gives to new partitions.
    #[must_use]
    pub fn uids_given(&self, record: &Record) -> std::ops::Range<u64> {
        let (first, count) = match record {
            Record::CreateTopic(CreatedTopic { partitions, .. })
            | Record::AddPartitions { partitions, .. } => {
                (partitions.first_uid, u64::from(partitions.count))
            }
            Record::PurgeTopics { stream, topics, first_uid } => {
                // Every partition of a purged topic gets a new uid; counted from the state of before the record, as the record
                // names topics only.
                let stored = self.streams.get(stream).map(|stream| &stream.topics);
                let purged = topics.iter().filter_map(|id| stored.and_then(|all| all.get(id)));
                (*first_uid, purged.map(|topic| topic.partitions.len() as u64).sum())
            }
            _ => (PartitionUid::new(0), 0),
        };
        first.get()..first.get().saturating_add(count)
    }

    fn take_uids(&mut self, first: PartitionUid, count: u64) {
        // The largest and not the last: records of a repair skip numbers.
        self.next_uid = self.next_uid.max(first.get().saturating_add(count));
    }
}

fn missing<T>(what: &'static str, id: u32) -> Result<T, ApplyError> {
    Err(ApplyError { what, id: u64::from(id) })
}

#[cfg(test)]
pub(crate) mod tests;
