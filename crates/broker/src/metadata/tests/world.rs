//! A metadata state under random commands, watched by a model that knows only names and uids.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use galgo_wire::command::{
    AskedOptions, Compression, CreateTopic, Deduplication, Durability, MaxTopicSize, MessageExpiry,
    UpdateTopic, UserStatus,
};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{PartitionUid, ShardId, Timestamp};
use galgo_wire::identifier::{Identifier, IdentifierRef};
use galgo_wire::name::{StreamName, TopicName, Username};
use galgo_wire::options::{Expiry, OptionChoices, SizeLimit};
use galgo_wire::permission::Permissions;
use proptest::prelude::*;

use super::{groups, users};
use crate::metadata::prepare::{ChangedTopic, NewTopic, TopicDefaults};
use crate::metadata::record::Record;
use crate::metadata::users::NewUser;
use crate::metadata::{GroupSerial, State, TopicPlace, UserSerial};

/// What topics get in these tests where a command leaves the choice; none of it is a sentinel.
pub(super) static DEFAULTS: LazyLock<TopicDefaults> = LazyLock::new(|| TopicDefaults {
    options: OptionChoices {
        message_expiry: Some(Expiry::from_us(7_000_000)),
        max_size: Some(SizeLimit::from_bytes(1 << 40)),
        ..OptionChoices::of_servers()
    },
    segment_bytes: 1 << 20,
});

/// A command with small numbers in the place of ids and names, so that they often meet.
#[derive(Clone, Debug)]
pub(super) enum Step {
    CreateStream { name: u8 },
    RenameStream { stream: u8, name: u8 },
    DeleteStream { stream: u8 },
    CreateTopic { stream: u8, topic: TopicStep, partitions: u32 },
    UpdateTopic { stream: u8, id: u8, topic: TopicStep },
    DeleteTopic { stream: u8, id: u8 },
    PurgeTopic { stream: u8, id: u8 },
    PurgeStream { stream: u8 },
    AddPartitions { stream: u8, id: u8, count: u32 },
    RemovePartitions { stream: u8, id: u8, count: u32 },
    FilesRemoved { most: usize },
    CreateUser { name: u8, permissions: bool },
    UpdateUser { id: u8, name: Option<u8>, active: Option<bool> },
    SetPermissions { id: u8, on: Option<(u8, u8)> },
    SetPassword { id: u8 },
    DeleteUser { id: u8 },
    CreateToken { user: u8, name: u8, lives_us: Option<u64> },
    DeleteToken { user: u8, name: u8 },
    RevokeJwt { user: u8, jti: u8, lives_us: u64, void: bool },
    ForgetExpired,
    CreateGroup { stream: u8, topic: u8, name: u8 },
    DeleteGroup { stream: u8, topic: u8, id: u8 },
}

/// The settings in a topic command.
#[derive(Clone, Debug)]
pub(super) struct TopicStep {
    name: u8,
    expiry: u64,
    size: u64,
    replication: u8,
    gzip: bool,
    /// `Some` with the command that can say, and then what it says.
    durability: Option<Option<Durability>>,
}

impl TopicStep {
    fn asked(&self) -> Option<AskedOptions> {
        let deduplication = self.gzip.then_some(Deduplication::On);
        self.durability.map(|durability| AskedOptions {
            durability,
            deduplication,
            ..AskedOptions::default()
        })
    }
}

fn topic_step() -> impl Strategy<Value = TopicStep> {
    let durability = prop::option::of(prop::sample::select(vec![
        None,
        Some(Durability::Os),
        Some(Durability::Fsync),
    ]));
    let expiry = prop::sample::select(vec![0, 1, 5_000_000, u64::MAX]);
    let size = prop::sample::select(vec![0, 1, 1 << 20, 1 << 30, u64::MAX]);
    (0u8..4, expiry, size, 0u8..3, any::<bool>(), durability).prop_map(
        |(name, expiry, size, replication, gzip, durability)| TopicStep {
            name,
            expiry,
            size,
            replication,
            gzip,
            durability,
        },
    )
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let place = || (0u8..3, 0u8..4);
    prop_oneof![
        4 => (0u8..5).prop_map(|name| Step::CreateStream { name }),
        1 => (0u8..3, 0u8..5).prop_map(|(stream, name)| Step::RenameStream { stream, name }),
        1 => (0u8..3).prop_map(|stream| Step::DeleteStream { stream }),
        6 => (0u8..3, topic_step(), 0u32..5).prop_map(|(stream, topic, partitions)| {
            Step::CreateTopic { stream, topic, partitions }
        }),
        2 => (place(), topic_step()).prop_map(|((stream, id), topic)| {
            Step::UpdateTopic { stream, id, topic }
        }),
        1 => place().prop_map(|(stream, id)| Step::DeleteTopic { stream, id }),
        2 => place().prop_map(|(stream, id)| Step::PurgeTopic { stream, id }),
        1 => (0u8..3).prop_map(|stream| Step::PurgeStream { stream }),
        2 => (place(), 0u32..4).prop_map(|((stream, id), count)| {
            Step::AddPartitions { stream, id, count }
        }),
        2 => (place(), 0u32..4).prop_map(|((stream, id), count)| {
            Step::RemovePartitions { stream, id, count }
        }),
        1 => (0usize..6).prop_map(|most| Step::FilesRemoved { most }),
        1 => (0u8..4, any::<bool>()).prop_map(|(name, permissions)| {
            Step::CreateUser { name, permissions }
        }),
        4 => users::step(),
        4 => groups::step(),
    ]
}

/// The state, the records that made it, and every uid there ever was.
#[derive(Default)]
pub(super) struct World {
    pub(super) state: State,
    pub(super) records: Vec<Record>,
    uids_ever: BTreeSet<PartitionUid>,
    serials_ever: BTreeSet<UserSerial>,
    group_serials_ever: BTreeSet<GroupSerial>,
    now_us: u64,
}

impl World {
    pub(super) fn run(steps: &[Step]) -> Self {
        let mut world = Self::default();
        for step in steps {
            world.take(step);
        }
        world
    }

    /// Prepares and applies one command, and checks what must hold before and after.
    fn take(&mut self, step: &Step) {
        self.now_us += 1;
        let before = self.state.clone();
        match self.prepare(step) {
            Ok(mut record) => {
                // As another node's controller would: on shards that this one does not have.
                if let Some(made) =
                    record.partitions_mut().filter(|_| self.now_us.is_multiple_of(3))
                {
                    made.shards = (0..made.count).map(|number| ShardId::new(number % 2)).collect();
                }
                self.state.apply(&record).unwrap_or_else(|e| panic!("{step:?}: {e}"));
                self.check_uids(&before, &record);
                self.records.push(record);
            }
            Err(_) => assert_eq!(before, self.state, "{step:?}: preparing changed the state"),
        }
        check_names(&self.state);
        check_settings(&self.state);
        self.check_users(&before);
        groups::check(&before, &self.state, &mut self.group_serials_ever);
    }

    fn prepare(&self, step: &Step) -> Result<Record, ErrorCode> {
        let now = Timestamp::new(self.now_us);
        match *step {
            Step::CreateStream { name } => self.create_stream(name, now),
            Step::RenameStream { stream, name } => {
                let id = self.state.existing_stream(&number(stream))?;
                self.state.prepare_rename_stream(id, &stream_name(name))
            }
            Step::DeleteStream { stream } => {
                let id = self.state.existing_stream(&number(stream))?;
                Ok(Record::DeleteStream { id })
            }
            Step::CreateTopic { stream, ref topic, partitions } => {
                self.create_topic(stream, topic, partitions, now)
            }
            Step::UpdateTopic { stream, id, ref topic } => self.update_topic(stream, id, topic),
            Step::DeleteTopic { stream, id } => {
                let TopicPlace { stream, topic } = self.place(stream, id)?;
                Ok(Record::DeleteTopic { stream, topic })
            }
            Step::PurgeTopic { stream, id } => {
                let TopicPlace { stream, topic } = self.place(stream, id)?;
                Ok(self.state.prepare_purge(stream, vec![topic]))
            }
            Step::PurgeStream { stream } => {
                let id = self.state.existing_stream(&number(stream))?;
                let topics = self.state.streams[&id].topics.keys().copied().collect();
                Ok(self.state.prepare_purge(id, topics))
            }
            Step::AddPartitions { stream, id, count } => {
                self.state.prepare_add_partitions(self.place(stream, id)?, count, now)
            }
            Step::RemovePartitions { stream, id, count } => {
                self.state.prepare_remove_partitions(self.place(stream, id)?, count)
            }
            Step::FilesRemoved { most } => {
                let uids = self.state.removals.iter().copied().take(most).collect();
                Ok(Record::FilesRemoved { uids })
            }
            Step::CreateUser { name, permissions } => self.create_user(name, permissions),
            Step::CreateGroup { .. } | Step::DeleteGroup { .. } => {
                groups::prepare(&self.state, step)
            }
            ref step => users::prepare(&self.state, step, now),
        }
    }

    fn create_stream(&self, name: u8, now: Timestamp) -> Result<Record, ErrorCode> {
        let taken = self.state.streams.values().any(|s| s.name == stream_name(name));
        let prepared = self.state.prepare_create_stream(&stream_name(name), now);
        assert_eq!(taken, prepared == Err(ErrorCode::StreamNameAlreadyExists));
        let (id, record) = prepared?;
        assert_lowest_free(id.get(), self.state.streams.keys().map(|id| id.get()));
        Ok(record)
    }

    fn create_topic(
        &self,
        stream: u8,
        topic: &TopicStep,
        partitions_count: u32,
        now: Timestamp,
    ) -> Result<Record, ErrorCode> {
        let id = self.state.existing_stream(&number(stream))?;
        let stored = &self.state.streams[&id];
        let command = CreateTopic {
            stream: number(stream),
            partitions_count,
            compression: topic.compression(),
            message_expiry: MessageExpiry::new(topic.expiry),
            max_topic_size: MaxTopicSize::new(topic.size),
            replication_factor: topic.replication,
            name: topic_name(topic.name),
        };
        let asked = topic.asked();
        let request = NewTopic { command: &command, asked, now, defaults: &DEFAULTS };
        let prepared = self.state.prepare_create_topic(id, stored, request);
        let small = topic.size != 0 && topic.size < DEFAULTS.segment_bytes;
        let taken = stored.topics.values().any(|t| t.settings.name == topic_name(topic.name));
        let expected = match (small, taken) {
            (true, _) => Some(ErrorCode::InvalidTopicSize),
            (false, true) => Some(ErrorCode::TopicNameAlreadyExists),
            (false, false) => None,
        };
        assert_eq!(prepared.as_ref().err(), expected.as_ref());
        let (topic_id, record) = prepared?;
        assert_lowest_free(topic_id.get(), stored.topics.keys().map(|id| id.get()));
        Ok(record)
    }

    fn update_topic(&self, stream: u8, id: u8, topic: &TopicStep) -> Result<Record, ErrorCode> {
        let place = self.place(stream, id)?;
        let stored = &self.state.streams[&place.stream];
        let command = UpdateTopic {
            stream: number(stream),
            topic: number(id),
            compression: topic.compression(),
            message_expiry: MessageExpiry::new(topic.expiry),
            max_topic_size: MaxTopicSize::new(topic.size),
            replication_factor: topic.replication,
            name: topic_name(topic.name),
        };
        let asked = topic.asked();
        let request = ChangedTopic { command: &command, asked, defaults: &DEFAULTS };
        let prepared = self.state.prepare_update_topic(request);
        let others = stored.topics.iter().filter(|(id, _)| **id != place.topic);
        let taken = others.map(|(_, t)| &t.settings.name).any(|n| *n == topic_name(topic.name));
        assert_eq!(taken, prepared == Err(ErrorCode::TopicNameAlreadyExists));
        prepared
    }

    fn create_user(&self, name: u8, permissions: bool) -> Result<Record, ErrorCode> {
        let name = user_name(name);
        let taken = self.state.users.values().any(|user| user.name == name);
        let user = NewUser {
            name,
            password_hash: "$argon2id$not-a-real-one".to_owned(),
            status: if permissions { UserStatus::Active } else { UserStatus::Inactive },
            permissions: permissions.then(Permissions::root),
            now: Timestamp::new(self.now_us),
        };
        let prepared = self.state.prepare_create_user(user);
        assert_eq!(taken, prepared == Err(ErrorCode::UserAlreadyExists));
        let (id, record) = prepared?;
        assert_lowest_free(id.get(), self.state.users.keys().map(|id| id.get()));
        Ok(record)
    }

    fn place(&self, stream: u8, topic: u8) -> Result<TopicPlace, ErrorCode> {
        self.state.existing_topic(&number(stream), &number(topic))
    }

    /// INV-META-SERIAL, and that nothing of what is gone is left to whoever comes next.
    fn check_users(&mut self, before: &State) {
        for (id, user) in &self.state.users {
            let same = before.users.get(id).is_some_and(|was| was.serial == user.serial);
            assert!(same || self.serials_ever.insert(user.serial), "INV-META-SERIAL");
        }
        users::check(before, &self.state);
    }

    /// INV-META-UID and INV-META-REMOVAL.
    fn check_uids(&mut self, before: &State, record: &Record) {
        let (was, is) = (before.live_uids(), self.state.live_uids());
        let partitions = topics(&self.state).map(|topic| topic.partitions.len()).sum::<usize>();
        assert_eq!(is.len(), partitions, "INV-META-UID: two partitions share a uid");
        for uid in is.difference(&was) {
            assert!(self.uids_ever.insert(*uid), "INV-META-UID: {uid:?} was given again");
        }
        assert!(self.uids_ever.iter().all(|uid| uid.get() < self.state.next_uid));
        assert!(is.is_disjoint(&self.state.removals), "INV-META-REMOVAL: a live log is removed");
        let gone = was.difference(&is).chain(&before.removals);
        for uid in gone {
            let removed = matches!(record, Record::FilesRemoved { uids } if uids.contains(uid));
            assert_eq!(self.state.removals.contains(uid), !removed, "INV-META-REMOVAL");
        }
    }
}

impl TopicStep {
    fn compression(&self) -> Compression {
        if self.gzip { Compression::Gzip } else { Compression::None }
    }
}

fn topics(state: &State) -> impl Iterator<Item = &crate::metadata::TopicMetadata> {
    state.streams.values().flat_map(|stream| stream.topics.values())
}

/// Every entity is found by its name and its id, and no two share a name.
fn check_names(state: &State) {
    let names: BTreeMap<_, _> = state.streams.iter().map(|(id, s)| (s.name.as_str(), id)).collect();
    assert_eq!(names.len(), state.streams.len(), "two streams share a name");
    assert_eq!(names.len(), state.stream_names.len(), "an old name is still known");
    for (name, id) in names {
        let stream = &state.streams[id];
        assert_eq!(state.stream(IdentifierRef::Named(name)), Some((*id, stream)));
        assert_eq!(state.stream(IdentifierRef::Numeric(id.get())), Some((*id, stream)));
        let names: BTreeMap<_, _> =
            stream.topics.iter().map(|(id, t)| (t.settings.name.as_str(), id)).collect();
        assert_eq!(names.len(), stream.topics.len(), "two topics share a name");
        assert_eq!(names.len(), stream.topic_names.len(), "an old name is still known");
        for (name, id) in names {
            let found = stream.topic(IdentifierRef::Named(name));
            assert_eq!(found, Some((*id, &stream.topics[id])));
            assert_eq!(found, stream.topic(IdentifierRef::Numeric(id.get())));
        }
    }
}

/// No sentinel of the protocol is ever stored.
fn check_settings(state: &State) {
    for topic in topics(state) {
        assert_ne!(topic.settings.message_expiry_us, 0);
        assert_ne!(topic.settings.size_bytes_max, 0);
        assert_ne!(topic.settings.replication_factor, 0);
    }
}

fn assert_lowest_free(id: u32, taken: impl Iterator<Item = u32>) {
    let taken: BTreeSet<u32> = taken.collect();
    let free = (0..).find(|id| !taken.contains(id));
    assert_eq!(Some(id), free, "the lowest free id is given");
}

pub(super) fn number(id: u8) -> Identifier {
    Identifier::Numeric(u32::from(id))
}

pub(super) fn stream_name(number: u8) -> StreamName {
    StreamName::parse(&format!("stream {number}")).unwrap()
}

pub(super) fn user_name(number: u8) -> Username {
    Username::parse(&format!("user{number}")).unwrap()
}

pub(super) fn topic_name(number: u8) -> TopicName {
    TopicName::parse(&format!("topic {number}")).unwrap()
}
