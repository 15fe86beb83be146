//! What the small server knows: one topic, its messages and offsets.

use std::collections::{HashMap, HashSet};

use galgo_wire::batch::{MessagesView, StampOptions, stamp};
use galgo_wire::command::{
    CommandCode, Compression, ConsumerGroup, ConsumerGroupDetails, ConsumerOffset, CreateTopic,
    FeatureFlags, Features, GroupMember, LifeHeader, LoggedIn, MaxTopicSize, MessageExpiry,
    Partition, PollFlags, PollMessages, PolledHeader, Request, SendHeader, SendOutcome, SendReply,
    SendWithHeader, StoreConsumerOffset, StoredInLife, Stream, StreamDetails, Topic, TopicDetails,
    TopicOutline, TopicSettings,
};
use galgo_wire::consumer::{PartitioningRef, PollingStrategy};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{GroupId, Life, Offset, PartitionId, StreamId, Timestamp, TopicId, UserId};
use galgo_wire::identifier::Identifier;
use galgo_wire::primitive::Payload;

/// Who a connection belongs to.
#[derive(Default)]
pub(crate) struct Session {
    user: Option<String>,
    /// The position each chain goes on at.
    chains: HashMap<u32, u64>,
}

/// One partition.
#[derive(Default)]
pub(crate) struct Log {
    /// Each message as it is stored.
    messages: Vec<Vec<u8>>,
    /// Messages before these are gone.
    first: u64,
    /// The ids of all messages that were ever stored.
    ids: HashSet<u128>,
    /// How often it was purged.
    purges: u64,
    /// What a server that checks what it reads finds damaged.
    known_damage: Option<std::ops::Range<u64>>,
}

impl Log {
    fn life(&self, partition: u32) -> Life {
        Life::new(1_000 * (1 + u64::from(partition)) + self.purges)
    }
}

pub(crate) struct World {
    pub(crate) password: String,
    pub(crate) logs: Vec<Log>,
    pub(crate) offsets: HashMap<(String, u32), u64>,
    /// Every command that came, pings not counted.
    pub(crate) log: Vec<CommandCode>,
    /// Whether the extensions are known.
    pub(crate) is_classic: bool,
    /// Whether lives are told, by one that knows the extensions.
    pub(crate) tells_lives: bool,
    /// Most messages of an answer that tells of lives.
    pub(crate) answer_max: u32,
    pub(crate) polls: usize,
    /// The partitions of each member of the one group; the caller is the first of them.
    pub(crate) group_lists: Vec<Vec<u32>>,
    /// Which of the caller's partitions has its turn.
    group_turn: usize,
    balance: usize,
    created: Vec<String>,
    durability: Option<galgo::Durability>,
    /// Whether a batch whose messages a partition has stored is not stored again.
    pub(crate) deduplicates: bool,
}

impl World {
    pub(crate) fn new(partitions: u32) -> Self {
        Self {
            password: "galgo".into(),
            logs: (0..partitions).map(|_| Log::default()).collect(),
            offsets: HashMap::new(),
            log: Vec::new(),
            is_classic: false,
            tells_lives: false,
            answer_max: u32::MAX,
            polls: 0,
            group_lists: Vec::new(),
            group_turn: 0,
            balance: 0,
            created: Vec::new(),
            durability: None,
            deduplicates: false,
        }
    }

    pub(crate) fn texts(&self, partition: u32) -> Vec<String> {
        let bytes: Vec<u8> = self.logs[partition as usize].messages.concat();
        MessagesView::new(&bytes)
            .map(|message| String::from_utf8(message.unwrap().payload.to_vec()).unwrap())
            .collect()
    }

    /// Forgets the messages before `offset`.
    pub(crate) fn forget_before(&mut self, partition: u32, offset: u64) {
        let log = &mut self.logs[partition as usize];
        log.messages.drain(..usize::try_from(offset - log.first).unwrap());
        log.first = offset;
    }

    /// Forgets everything; offsets begin anew.
    pub(crate) fn purge(&mut self, partition: u32) {
        let log = &mut self.logs[partition as usize];
        *log = Log { purges: log.purges + 1, ..Log::default() };
        self.offsets.retain(|(_, of), _| *of != partition);
    }

    /// Lets the server find these messages damaged.
    pub(crate) fn lose(&mut self, partition: u32, offsets: std::ops::Range<u64>) {
        self.logs[partition as usize].known_damage = Some(offsets);
    }

    /// Turns a bit of a stored message.
    pub(crate) fn damage(&mut self, partition: u32, offset: u64) {
        let log = &mut self.logs[partition as usize];
        let message = &mut log.messages[usize::try_from(offset - log.first).unwrap()];
        *message.last_mut().unwrap() ^= 1;
    }

    pub(crate) fn carry_out(
        &mut self,
        session: &mut Session,
        code: u32,
        mut payload: Vec<u8>,
    ) -> Result<Vec<u8>, ErrorCode> {
        if code >= 10_000 && self.is_classic {
            return Err(ErrorCode::InvalidCommand);
        }
        let needs_login = ![1, 38, 44].contains(&code);
        if needs_login && session.user.is_none() {
            return Err(ErrorCode::Unauthenticated);
        }
        if code == CommandCode::SendMessages.as_u32() {
            return self.send(&mut payload).map(|_| Vec::new());
        }
        if code == CommandCode::SendWith.as_u32() {
            return self.send_with(session, &mut payload);
        }
        match Request::decode(code, &payload)? {
            Request::Ping(_) => Ok(Vec::new()),
            Request::LoginUser(login) => {
                let expected = galgo_wire::name::Password::parse(&self.password).unwrap();
                if login.password != expected {
                    return Err(ErrorCode::InvalidCredentials);
                }
                session.user = Some(login.username.to_string());
                Ok(LoggedIn { user_id: UserId::ROOT }.to_bytes())
            }
            Request::LogoutUser(_) => {
                session.user = None;
                Ok(Vec::new())
            }
            Request::GetFeatures(_) => Ok(Features {
                flags: FeatureFlags::new(
                    FeatureFlags::ALL.get()
                        & !FeatureFlags::WAITING_POLLS.get()
                        & !(if self.tells_lives { 0 } else { FeatureFlags::LIVES.get() }),
                ),
                server_name: "small".into(),
                server_version: "0".into(),
            }
            .to_bytes()),
            request => self.carry_out_rest(request),
        }
    }

    fn carry_out_rest(&mut self, request: Request) -> Result<Vec<u8>, ErrorCode> {
        match request {
            Request::CreateStream(create) => {
                let name = create.name.to_string();
                if self.created.contains(&name) {
                    return Err(ErrorCode::StreamNameAlreadyExists);
                }
                self.created.push(name);
                let stream = Stream {
                    id: StreamId::new(0),
                    created_at: Timestamp::ZERO,
                    topics_count: 0,
                    size: 0,
                    messages_count: 0,
                    name: create.name,
                };
                Ok(StreamDetails { stream, topics: Vec::new() }.to_bytes())
            }
            Request::GetTopic(get) => match get.topic == Identifier::named("t").unwrap() {
                true => Ok(self.topic().to_bytes()),
                false => Ok(Vec::new()),
            },
            Request::CreateTopic(CreateTopic { .. }) => Ok(self.topic().to_bytes()),
            Request::CreateTopicWith(create) => {
                self.durability = create.asked.durability;
                Ok(self.topic().to_bytes())
            }
            Request::GetTopicSettings(_) => Ok(Some(self.settings()).to_bytes()),
            Request::GetTopicOutline(get) => {
                let is_there = get.topic == Identifier::named("t").unwrap();
                let TopicDetails { topic, partitions } = self.topic();
                let partitions_count = topic.partitions_count;
                let settings = self.settings();
                let outline = TopicOutline { partitions_count, settings, partitions };
                Ok(is_there.then_some(outline).to_bytes())
            }
            Request::PollMessages(poll) => {
                self.polls += 1;
                let partition = poll.partition_id.unwrap_or_else(|| self.next_turn());
                let consumer = poll.consumer.id.to_string();
                let (payload, last) = self.poll(partition, poll.strategy, poll.count, &consumer)?;
                if let (true, Some(last)) = (poll.auto_commit, last) {
                    self.offsets.insert((consumer, partition.get()), last);
                }
                Ok(payload)
            }
            Request::PollInLife(poll) => self.poll_in_life(&poll.poll, poll.life),
            Request::StoreOffsetInLife(command) => {
                let partition = command.store.partition_id.unwrap_or_default().get();
                let life = self.logs[partition as usize].life(partition);
                let stored = !command.life.differs_from(life);
                if stored {
                    self.store(&command.store);
                }
                Ok(StoredInLife { life, stored }.to_bytes())
            }
            Request::StoreConsumerOffset(store) => {
                self.store(&store);
                Ok(Vec::new())
            }
            Request::GetConsumerOffset(get) => {
                let partition_id = get.partition_id.unwrap_or_default();
                let key = (get.consumer.id.to_string(), partition_id.get());
                let found = self.offsets.get(&key).map(|stored| ConsumerOffset {
                    partition_id,
                    current_offset: Offset::ZERO,
                    stored_offset: Offset::new(*stored),
                });
                Ok(found.to_bytes())
            }
            Request::GetConsumerGroup(_) => Ok(Some(self.group()).to_bytes()),
            Request::JoinConsumerGroup(_)
            | Request::LeaveConsumerGroup(_)
            | Request::GetStreams(_)
            | Request::DeleteStream(_) => Ok(Vec::new()),
            other => panic!("the small server does not know {other:?}"),
        }
    }

    /// The partition of a poll that names none.
    fn next_turn(&mut self) -> PartitionId {
        let Some(own) = self.group_lists.first().filter(|own| !own.is_empty()) else {
            return PartitionId::default();
        };
        self.group_turn += 1;
        PartitionId::new(own[self.group_turn % own.len()])
    }

    fn group(&self) -> ConsumerGroupDetails {
        let members = (0..).zip(&self.group_lists).map(|(id, list)| {
            GroupMember::new(id, list.iter().copied().map(PartitionId::new).collect())
        });
        let members: Vec<_> = members.collect();
        let group = ConsumerGroup {
            id: GroupId::new(0),
            partitions_count: u32::try_from(self.logs.len()).unwrap(),
            members_count: u32::try_from(members.len()).unwrap(),
            name: "g".parse().unwrap(),
        };
        ConsumerGroupDetails { group, members }
    }

    fn store(&mut self, store: &StoreConsumerOffset) {
        let partition = store.partition_id.unwrap_or_default();
        let key = (store.consumer.id.to_string(), partition.get());
        self.offsets.insert(key, store.offset.get());
    }

    fn poll_in_life(&mut self, poll: &PollMessages, life: Life) -> Result<Vec<u8>, ErrorCode> {
        self.polls += 1;
        let partition = poll.partition_id.unwrap_or_default();
        let consumer = poll.consumer.id.to_string();
        let log = &self.logs[partition.get() as usize];
        let mut count = poll.count.min(self.answer_max);
        let (payload, _) = self.poll(partition, poll.strategy, 1, &consumer)?;
        let found = MessagesView::new(&payload[16..]).next();
        let end = log.first + log.messages.len() as u64;
        let next = match (poll.strategy, found) {
            (PollingStrategy::Offset(offset), None) => offset.get(),
            (_, Some(Ok(message))) => message.header.offset.get(),
            _ => end,
        };
        let mut flags = PollFlags::default();
        let damage = log.known_damage.clone().filter(|damage| next < damage.end);
        if life.differs_from(log.life(partition.get())) {
            (flags, count) = (PollFlags::OTHER_LIFE, 0);
        } else if let Some(damage) = &damage {
            count = count.min(u32::try_from(damage.start.saturating_sub(next)).unwrap());
            flags = if count == 0 && poll.count > 0 { PollFlags::DAMAGED } else { flags };
        }
        let (payload, last) = match count {
            0 => (payload[..16].to_vec(), None),
            _ => self.poll(partition, poll.strategy, count, &consumer)?,
        };
        let log = &self.logs[partition.get() as usize];
        let next = last.map_or(next, |last| last + 1);
        let returned = MessagesView::new(&payload[16..]).count();
        if returned > 0 && returned < poll.count as usize && next < end {
            flags = PollFlags::CUT;
        }
        let damaged = damage.filter(|_| flags == PollFlags::DAMAGED).unwrap_or_default();
        let header = LifeHeader {
            polled: PolledHeader {
                count: u32::try_from(returned).unwrap(),
                ..PolledHeader::from_bytes(&payload).unwrap()
            },
            life: log.life(partition.get()),
            start: Offset::new(log.first),
            end: Offset::new(end),
            next: Offset::new(next),
            damaged_from: Offset::new(damaged.start),
            damaged_to: Offset::new(damaged.end),
            flags,
        };
        Ok([&header.to_array()[..], &payload[16..]].concat())
    }

    fn send_with(
        &mut self,
        session: &mut Session,
        payload: &mut [u8],
    ) -> Result<Vec<u8>, ErrorCode> {
        let parts = SendWithHeader::parse(payload)?;
        let link = parts.chain.unwrap();
        if !link.begins && session.chains.get(&link.lane) != Some(&link.position) {
            return Ok(SendReply::EARLIER_MISSING.to_bytes());
        }
        let reply = self.send(parts.send)?;
        session.chains.insert(link.lane, link.position + 1);
        Ok(reply.to_bytes())
    }

    fn send(&mut self, payload: &mut [u8]) -> Result<SendReply, ErrorCode> {
        let parts = SendHeader::parse(payload)?;
        let partition = match parts.partitioning {
            PartitioningRef::Balanced => {
                self.balance += 1;
                (self.balance - 1) % self.logs.len()
            }
            PartitioningRef::PartitionId(id) => id.get() as usize,
            PartitioningRef::Key(key) => {
                let count = u32::try_from(self.logs.len()).unwrap();
                galgo_wire::consumer::key_partition(key, count).unwrap().get() as usize
            }
        };
        let log = self.logs.get_mut(partition).ok_or(ErrorCode::PartitionNotFound)?;
        let first_offset = Offset::new(log.first + log.messages.len() as u64);
        // A clock that ticks once per message.
        let timestamp = Timestamp::new(1_000 + first_offset.get());
        let options = StampOptions { first_offset, timestamp, new_id: &mut |_| 7 };
        stamp(parts.indexes, parts.messages, parts.count, options)?;
        let ids = MessagesView::new(parts.messages).map(|message| message.unwrap().header.id);
        let news = ids.filter(|id| log.ids.insert(*id)).count();
        let mut reply = SendReply {
            outcome: SendOutcome::StoredBefore,
            partition_id: PartitionId::new(u32::try_from(partition).unwrap()),
            first_offset,
            stored: 0,
            timestamp,
            end: first_offset,
            throttle_us: 0,
        };
        if self.deduplicates && news == 0 {
            return Ok(reply);
        }
        for message in MessagesView::new(parts.messages) {
            log.messages.push(message.unwrap().bytes.to_vec());
        }
        reply.end = Offset::new(log.first + log.messages.len() as u64);
        Ok(SendReply { outcome: SendOutcome::Stored, stored: parts.count, ..reply })
    }

    fn poll(
        &self,
        partition: PartitionId,
        strategy: PollingStrategy,
        count: u32,
        consumer: &str,
    ) -> Result<(Vec<u8>, Option<u64>), ErrorCode> {
        let log = self.logs.get(partition.get() as usize).ok_or(ErrorCode::PartitionNotFound)?;
        let end = log.first + log.messages.len() as u64;
        let from = match strategy {
            PollingStrategy::Offset(offset) => offset.get(),
            PollingStrategy::Timestamp(time) => time.get().saturating_sub(1_000),
            PollingStrategy::First => 0,
            PollingStrategy::Last => end.saturating_sub(u64::from(count)),
            PollingStrategy::Next => {
                let stored = self.offsets.get(&(consumer.to_owned(), partition.get()));
                stored.map_or(0, |stored| stored + 1)
            }
        }
        .max(log.first);
        let skip = usize::try_from(from - log.first).unwrap();
        let messages: Vec<_> = log.messages.iter().skip(skip).take(count as usize).collect();
        let returned = u32::try_from(messages.len()).unwrap();
        let head = PolledHeader {
            partition_id: partition,
            current_offset: Offset::new(end.saturating_sub(1)),
            count: returned,
        };
        let mut payload = head.to_bytes();
        for message in messages {
            payload.extend_from_slice(message);
        }
        let last = (returned > 0).then(|| from + u64::from(returned) - 1);
        Ok((payload, last))
    }

    fn settings(&self) -> TopicSettings {
        let deduplication = match self.deduplicates {
            true => galgo::Deduplication::On,
            false => galgo::Deduplication::Off,
        };
        let durability = self.durability.unwrap_or(galgo::Durability::Os);
        let (durability, deduplication) = (Some(durability), Some(deduplication));
        TopicSettings { durability, deduplication, ..TopicSettings::default() }
    }

    fn topic(&self) -> TopicDetails {
        let partitions_count = u32::try_from(self.logs.len()).unwrap();
        let topic = Topic {
            id: TopicId::new(0),
            created_at: Timestamp::ZERO,
            partitions_count,
            message_expiry: MessageExpiry::NEVER,
            compression: Compression::None,
            max_topic_size: MaxTopicSize::UNLIMITED,
            replication_factor: 1,
            size: 0,
            messages_count: 0,
            name: "t".parse().unwrap(),
        };
        let partitions = (0..partitions_count).map(|id| Partition {
            id: PartitionId::new(id),
            created_at: Timestamp::ZERO,
            segments_count: 1,
            current_offset: Offset::ZERO,
            size: 0,
            messages_count: 0,
        });
        TopicDetails { topic, partitions: partitions.collect() }
    }
}
