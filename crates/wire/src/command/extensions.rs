//! Galgo's own commands, codes 10,000 and up: never needed by a classic client, and refused as
//! unknown by a classic server.

use crate::error_code::ErrorCode;
use crate::id::{Offset, PartitionId, Timestamp};
use crate::identifier::Identifier;
#[cfg(feature = "json")]
use crate::json::Size;
use crate::layout::{byte_enum, command, layout, shown};
use crate::permission::{Action, Right};
use crate::primitive::{Payload, Reader};
use serde::Serialize;

use super::messages::{PollMessages, PollReply};
use super::topic_options::{List16, TopicOption};
use super::topics::{
    CreateTopic, MaxTopicSize, MessageExpiry, Partition, TopicDetails, UpdateTopic,
};

command! {
    /// Tells which extensions the server has.
    pub struct GetFeatures -> Features;
    right: Right::LoggedIn;
}

command! {
    /// Creates a topic with settings classic clients do not know.
    pub struct CreateTopicWith -> TopicDetails {
        /// What every client can ask for.
        topic: CreateTopic,
        /// What is asked for that they cannot.
        asked: AskedOptions,
    }
    right: |this| Right::stream(Action::CreateTopic, &this.topic.stream);
}

command! {
    /// Replaces all settings of a topic, those classic clients do not know included.
    pub struct UpdateTopicWith -> () {
        /// What every client can ask for.
        topic: UpdateTopic,
        /// What is asked for that they cannot.
        asked: AskedOptions,
    }
    right: |this| Right::topic(Action::ManageTopic, &this.topic.stream, &this.topic.topic);
}

command! {
    /// Tells the settings of a topic that classic clients do not know.
    pub struct GetTopicSettings -> Option<TopicSettings> {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
    }
    right: |this| Right::topic(Action::ReadTopic, &this.stream, &this.topic);
}

command! {
    /// Tells what a sender or a reader has to know of a topic. Who may only send or only poll may ask.
    pub struct GetTopicOutline -> Option<TopicOutline> {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
    }
    right: |this| Right::topic(Action::UseTopic, &this.stream, &this.topic);
}

command! {
    /// Tells what retention would remove from a topic now; nothing is removed.
    pub struct PlanRetention -> RetentionPlan {
        /// The stream.
        stream: Identifier,
        /// The topic.
        topic: Identifier,
        /// What to go by in place of the topic's own rules.
        rules: Option<RetentionRules> as RulesChoice,
    }
    right: |this| Right::topic(Action::ReadTopic, &this.stream, &this.topic);
}

command! {
    /// Reads messages of a partition; waits for them when there are too few.
    pub struct PollWaiting -> PollReply {
        /// What to read.
        poll: PollMessages,
        /// At most how long to wait, in microseconds; the server has a limit of its own.
        wait: u64,
        /// How many messages there have to be before the wait is over; 0 is as good as 1.
        count_min: u32,
    }
    right: |this| this.poll.right();
}

layout! {
    /// The extensions of a server.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct Features {
        /// One bit each.
        flags: FeatureFlags,
        /// Name of the server.
        server_name: String,
        /// Version of the server.
        server_version: String,
    }
    json;
}

/// Extensions, one bit each; unknown bits are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct FeatureFlags(u64);

impl FeatureFlags {
    /// Topics have a durability of their own: codes 10,001 to 10,003.
    pub const TOPIC_DURABILITY: Self = Self(1);
    /// Requests of one connection may be sent without waiting for the replies.
    pub const PIPELINING: Self = Self(2);
    /// What retention would remove can be asked for: code 10,004.
    pub const RETENTION_PLAN: Self = Self(4);
    /// Topics may store each message id once: the second byte of their settings.
    pub const DEDUPLICATION: Self = Self(8);
    /// Polls may wait for messages: code 10,005.
    pub const WAITING_POLLS: Self = Self(16);
    /// Sends tell what became of them and may be chained: code 10,100.
    pub const SEND_WITH: Self = Self(256);
    /// Administrators may reset passwords, and senders and readers may ask what they need to know of a
    /// topic: codes 10,012 and 10,013.
    pub const ACCESS: Self = Self(1024);
    /// Stored offsets can be listed, and what holds retention back be asked for: codes 10,010 and 10,011.
    pub const STORED_OFFSETS: Self = Self(128);

    /// Topics have options by name: codes 10,110 and 10,111.
    pub const TOPIC_OPTIONS: Self = Self(512);

    /// Polls and offsets say which life of a partition they are about: codes 10,006 and 10,007.
    pub const LIVES: Self = Self(32);

    /// Memberships of groups end with the silence of a member, and tell what it holds: code 10,009.
    pub const GROUP_SESSIONS: Self = Self(64);

    /// A partition that takes no writes can be tried again at once: code 10,190.
    pub const PARTITION_RESCUE: Self = Self(2048);

    /// Everything this version of the protocol knows.
    pub const ALL: Self = Self(
        Self::TOPIC_DURABILITY.0
            | Self::PIPELINING.0
            | Self::RETENTION_PLAN.0
            | Self::DEDUPLICATION.0
            | Self::WAITING_POLLS.0
            | Self::LIVES.0
            | Self::GROUP_SESSIONS.0
            | Self::SEND_WITH.0
            | Self::STORED_OFFSETS.0
            | Self::TOPIC_OPTIONS.0
            | Self::ACCESS.0
            | Self::PARTITION_RESCUE.0,
    );

    /// Wraps the bits.
    #[must_use]
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whether all of `other` are here.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

// The sum of what overlaps is more than its union.
const _: () = assert!(
    FeatureFlags::TOPIC_DURABILITY.0
        + FeatureFlags::PIPELINING.0
        + FeatureFlags::RETENTION_PLAN.0
        + FeatureFlags::DEDUPLICATION.0
        + FeatureFlags::WAITING_POLLS.0
        + FeatureFlags::LIVES.0
        + FeatureFlags::GROUP_SESSIONS.0
        + FeatureFlags::SEND_WITH.0
        + FeatureFlags::STORED_OFFSETS.0
        + FeatureFlags::TOPIC_OPTIONS.0
        + FeatureFlags::ACCESS.0
        + FeatureFlags::PARTITION_RESCUE.0
        == FeatureFlags::ALL.0,
    "each feature has a bit of its own, and none is left out of what this version knows"
);

crate::json::as_inner! { FeatureFlags, u64 }

impl Payload for FeatureFlags {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        u64::decode(reader).map(Self)
    }
}

byte_enum! {
    /// What an acknowledged message survives.
    pub enum Durability {
        /// The death of the process.
        Os = 1 "os",
        /// The loss of power.
        Fsync = 2 "fsync",
    }
}

byte_enum! {
    /// Whether a topic stores a message whose id it stored lately once more.
    pub enum Deduplication {
        /// Every message is stored.
        Off = 1 "off",
        /// A message with an id that its partition stored lately is dropped; the send succeeds.
        On = 2 "on",
    }
}

shown! {
    /// Settings of a topic that classic clients do not know.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
    pub struct TopicSettings {
        /// When a send is acknowledged; `None` when the server does not tell.
        durability: Option<Durability>,
        /// Whether a message whose id was sent before is stored again; `None` when the server does not tell.
        deduplication: Option<Deduplication>,
        /// How much of the past its deduplication knows.
        window: DeduplicationWindow,
    }
    json "AcknowledgementSettings";
}

shown! {
    /// How many ids a partition of a topic with deduplication remembers, and for how long; zeros when the server
    /// does not tell.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
    pub struct DeduplicationWindow {
        /// Most ids.
        entries: u32,
        /// How long an id is remembered, in whole seconds; the largest number stands for longer times, too.
        seconds: u16,
    }
    json;
}

impl Payload for TopicSettings {
    fn encode(&self, out: &mut Vec<u8>) {
        OrDefault::encode(&self.durability, out);
        OrDefault::encode(&self.deduplication, out);
        self.window.entries.encode(out);
        out.extend_from_slice(&self.window.seconds.to_le_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let durability = OrDefault::decode(reader)?;
        let deduplication = OrDefault::decode(reader)?;
        let entries = reader.u32()?;
        let seconds = u16::from_le_bytes(reader.array()?);
        let window = DeduplicationWindow { entries, seconds };
        Ok(Self { durability, deduplication, window })
    }
}

layout! {
    /// What a sender or a reader has to know of a topic.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct TopicOutline {
        /// How many partitions it has.
        partitions_count: u32,
        /// What an acknowledgement survives, and whether message ids count.
        #[serde(flatten)]
        settings: TopicSettings,
        /// The partitions by id, for whoever may poll; none for whoever may only send.
        partitions: Vec<Partition>,
    }
    json;
}

byte_enum! {
    /// Why retention removes a segment.
    pub enum RetentionReason {
        /// Its newest message is older than the topic keeps messages.
        Expired = 1 "expired",
        /// The topic is nearly as large as it may be.
        Size = 2 "size",
    }
}

layout! {
    /// For how long and how much a topic is kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
    pub struct RetentionRules {
        /// Microseconds messages are kept; 2^64-1 for ever.
        message_expiry: MessageExpiry,
        /// Bytes it may grow to; 2^64-1 without limit.
        max_topic_size: MaxTopicSize,
    }
    json;
}

/// What is asked of a topic that classic clients do not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskedOptions {
    /// When a send is acknowledged; `None` as the server is configured.
    pub durability: Option<Durability>,
    /// Whether a message whose id was sent before is stored again; `None` as the server is configured.
    pub deduplication: Option<Deduplication>,
    /// Options by name; those that are not named are as the server is configured, or stay as they are.
    pub options: Vec<TopicOption>,
}

/// Two bytes, 0 for `None`; where options follow, the second has its highest bit set.
impl Payload for AskedOptions {
    fn encode(&self, out: &mut Vec<u8>) {
        OrDefault::encode(&self.durability, out);
        let follow = if self.options.is_empty() { 0 } else { OPTIONS_FOLLOW };
        out.push(self.deduplication.map_or(0, Deduplication::as_u8) | follow);
        if follow != 0 {
            List16::encode(&self.options, out);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let durability = OrDefault::decode(reader)?;
        let byte = reader.u8()?;
        let deduplication = OrDefault::decode(&mut Reader::new(&[byte & !OPTIONS_FOLLOW]))?;
        let follow = byte & OPTIONS_FOLLOW != 0;
        let options = if follow { List16::decode(reader)? } else { Vec::new() };
        Ok(Self { durability, deduplication, options })
    }
}

/// Options follow by name.
const OPTIONS_FOLLOW: u8 = 0x80;

/// One byte; 0 is `None`.
struct OrDefault;

impl OrDefault {
    fn encode<T: Payload>(value: &Option<T>, out: &mut Vec<u8>) {
        match value {
            Some(value) => value.encode(out),
            None => out.push(0),
        }
    }

    fn decode<T: Payload>(reader: &mut Reader<'_>) -> Result<Option<T>, ErrorCode> {
        let byte = reader.u8()?;
        if byte == 0 {
            return Ok(None);
        }
        T::decode(&mut Reader::new(&[byte])).map(Some)
    }
}

/// Rules, or the topic's own: a flag that has to be exactly 1, and both rules.
struct RulesChoice;

impl RulesChoice {
    fn encode(value: &Option<RetentionRules>, out: &mut Vec<u8>) {
        let (message_expiry, max_topic_size) =
            (MessageExpiry::SERVER_DEFAULT, MaxTopicSize::SERVER_DEFAULT);
        out.push(u8::from(value.is_some()));
        value.unwrap_or(RetentionRules { message_expiry, max_topic_size }).encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Option<RetentionRules>, ErrorCode> {
        let flag = reader.u8()?;
        let rules = RetentionRules::decode(reader)?;
        Ok((flag == 1).then_some(rules))
    }
}

layout! {
    /// What retention would do to a topic now.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct RetentionPlan {
        /// Whether the server removes anything by itself.
        enabled: bool,
        /// How often it looks, in microseconds.
        interval: u64,
        /// Microseconds the topic keeps messages; 2^64-1 for ever.
        message_expiry: MessageExpiry,
        /// Bytes the topic may grow to; 2^64-1 without limit.
        max_topic_size: MaxTopicSize,
        /// How large it is.
        size: u64 => Size,
        /// The segments that are due, by partition, oldest first in each.
        segments: Vec<PlannedSegment>,
    }
    json;
}

layout! {
    /// A segment that is due for removal.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    pub struct PlannedSegment {
        /// Its partition.
        partition_id: PartitionId,
        /// Offset of its first message.
        base_offset: Offset,
        /// Offset of its last message.
        end_offset: Offset,
        /// How many messages are in it.
        messages: u64,
        /// How many bytes they have.
        bytes: u64 => Size,
        /// When the newest of them was stored, in microseconds since the Unix epoch.
        newest_timestamp: Timestamp,
        /// Why it is due.
        reason: RetentionReason,
        /// Whether it stays for now, because a consumer or group has not committed its last message.
        held: bool,
        /// The smallest offset any consumer or group of the partition has committed; 2^64-1 when
        /// none has.
        barrier: u64,
    }
    json;
}
