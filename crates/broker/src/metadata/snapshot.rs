//! The whole metadata as bytes: snapshots, and the hash that tells whether two states are the same.
//!
//! ```text
//! | next uid | removals | next group serial | streams with their topics and groups | next serial | users with their tokens | revoked JWTs | void JWTs |
//! ```
//! In version 2, which is written where a topic has options, they follow behind that:
//! `count u32`, and for each such topic `| stream id u32 | topic id u32 | options |`. In version 3, which is
//! written where there is more to say, parts follow behind that: `count u32`, and for each
//! `| kind u16 | length u32 | bytes |`, in the order of their kinds. One that is not known refuses the snapshot.
//!
//! | kind | part |
//! |---|---|
//! | 8 | partitions that are not on the first shard: `count u32`, and for each `| uid u64 | shard u32 |` |
//! | 46 | the key of ids, `u128` |
//!
//! Lists are `count u32` and their entries in the order of their ids, so equal states have equal
//! bytes.

use std::collections::BTreeMap;

use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{GroupId, PartitionUid, ShardId, StreamId, Timestamp, TopicId, UserId};
use galgo_wire::index::to_u32;
use galgo_wire::name::{StreamName, TokenName};
use galgo_wire::options::OptionChoices;
use galgo_wire::primitive::{Payload, Reader};
use twox_hash::XxHash3_64;

use super::record::Part;
use super::{
    GroupMetadata, HashedToken, PartitionMetadata, ResolvedSettings, State, StreamMetadata,
    TopicMetadata, UserMetadata,
};
use crate::partition::IdKey;

const VERSION: u8 = 1;
const VERSION_OPTIONS: u8 = 2;
const VERSION_PARTS: u8 = 3;
const PART_SHARDS: u16 = 8;
const PART_ID_KEY: u16 = 46;

const _: () = assert!(
    VERSION < VERSION_OPTIONS && VERSION_OPTIONS < VERSION_PARTS,
    "each version says what those before it say, and more"
);
const _: () = assert!(PART_SHARDS < PART_ID_KEY, "parts are written in the order of their kinds");

impl State {
    /// The state as bytes.
    #[must_use]
    pub fn to_snapshot(&self) -> Vec<u8> {
        let optioned: Vec<_> = self.optioned().collect();
        let parts = self.parts();
        // The lowest that says everything: an older program can go on with a directory in which nothing is used that it
        // does not know.
        let version = match (optioned.is_empty(), parts.is_empty()) {
            (true, true) => VERSION,
            (false, true) => VERSION_OPTIONS,
            (_, false) => VERSION_PARTS,
        };
        let mut out = vec![version];
        self.next_uid.encode(&mut out);
        self.removals.iter().copied().collect::<Vec<PartitionUid>>().put(&mut out);
        self.next_group_serial.encode(&mut out);
        put_count(self.streams.len(), &mut out);
        for (id, stream) in &self.streams {
            put_stream(*id, stream, &mut out);
        }
        self.next_user_serial.encode(&mut out);
        put_count(self.users.len(), &mut out);
        for (id, user) in &self.users {
            id.encode(&mut out);
            user.put(&mut out);
            put_count(self.tokens_of(*id).count(), &mut out);
            for (name, token) in self.tokens_of(*id) {
                name.encode(&mut out);
                token.put(&mut out);
            }
        }
        put_count(self.revoked_jwts.len(), &mut out);
        for ((serial, jti), expires_at) in &self.revoked_jwts {
            (*serial, *jti, *expires_at).put(&mut out);
        }
        put_count(self.void_jwts.len(), &mut out);
        for (serial, last) in &self.void_jwts {
            (*serial, *last).put(&mut out);
        }
        // Behind all else, which lies as in version 1.
        if version >= VERSION_OPTIONS {
            put_count(optioned.len(), &mut out);
            for (stream, topic, options) in optioned {
                (stream, topic).put(&mut out);
                options.put(&mut out);
            }
        }
        if version >= VERSION_PARTS {
            put_count(parts.len(), &mut out);
            for (kind, bytes) in parts {
                kind.encode(&mut out);
                put_count(bytes.len(), &mut out);
                out.extend_from_slice(&bytes);
            }
        }
        out
    }

    /// What there is to say besides: its kind, and its bytes.
    fn parts(&self) -> Vec<(u16, Vec<u8>)> {
        // In the order of the state, so that equal states have equal bytes; the first shard goes without saying.
        let elsewhere = self.all_partitions().filter(|it| it.shard != ShardId::FIRST);
        let elsewhere: Vec<_> =
            elsewhere.map(|partition| (partition.uid, partition.shard)).collect();
        let shards = (!elsewhere.is_empty()).then(|| {
            let mut bytes = Vec::new();
            put_count(elsewhere.len(), &mut bytes);
            elsewhere.iter().for_each(|(uid, shard)| (*uid, *shard).put(&mut bytes));
            (PART_SHARDS, bytes)
        });
        let key = self.id_key.map(|key| (PART_ID_KEY, key.get().to_le_bytes().to_vec()));
        shards.into_iter().chain(key).collect()
    }

    fn take_shards(&mut self, bytes: &[u8]) -> Result<(), ErrorCode> {
        let mut from = Reader::new(bytes);
        // By uid, as the partitions were read before this and lie anywhere.
        let mut shards: BTreeMap<PartitionUid, ShardId> = BTreeMap::new();
        for _ in 0..from.u32()? {
            let (uid, shard) = Part::take(&mut from)?;
            shards.insert(uid, shard);
        }
        let topics = self.streams.values_mut().flat_map(|stream| stream.topics.values_mut());
        for partition in topics.flat_map(|topic| &mut topic.partitions) {
            partition.shard = shards.remove(&partition.uid).unwrap_or(ShardId::FIRST);
        }
        // Of partitions that are not there, or said twice: not what this program writes.
        if shards.is_empty() { Ok(()) } else { Err(ErrorCode::InvalidVersion) }
    }

    fn take_part(&mut self, kind: u16, bytes: &[u8]) -> Result<(), ErrorCode> {
        match kind {
            PART_SHARDS => self.take_shards(bytes),
            PART_ID_KEY => {
                let bits = bytes.try_into().map_err(|_| ErrorCode::InvalidVersion)?;
                self.id_key = Some(IdKey::new(u128::from_le_bytes(bits)));
                Ok(())
            }
            _ => Err(ErrorCode::InvalidVersion),
        }
    }

    /// The topics that have options.
    fn optioned(&self) -> impl Iterator<Item = (StreamId, TopicId, &OptionChoices)> {
        let topics = self.streams.iter().flat_map(|(stream, stored)| {
            stored.topics.iter().map(|(topic, stored)| (*stream, *topic, &stored.settings.options))
        });
        topics.filter(|(.., options)| !options.is_empty())
    }

    /// The state from its bytes.
    ///
    /// # Errors
    /// A code of the protocol's decoders when this version did not write the bytes.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, ErrorCode> {
        let mut from = Reader::new(bytes);
        let version = from.u8()?;
        if !(VERSION..=VERSION_PARTS).contains(&version) {
            return Err(ErrorCode::InvalidVersion);
        }
        // Later versions only add behind: what an older program wrote is read by the same steps.
        let mut state = Self { next_uid: from.u64()?, ..Self::default() };
        state.removals = Vec::<PartitionUid>::take(&mut from)?.into_iter().collect();
        state.next_group_serial = from.u32()?;
        for _ in 0..from.u32()? {
            let (id, stream) = take_stream(&mut from)?;
            state.stream_names.insert(stream.name.as_str().into(), id);
            state.streams.insert(id, stream);
        }
        state.next_user_serial = from.u64()?;
        for _ in 0..from.u32()? {
            take_user(&mut state, &mut from)?;
        }
        for _ in 0..from.u32()? {
            let (serial, jti, expires_at) = Part::take(&mut from)?;
            state.revoked_jwts.insert((serial, jti), expires_at);
        }
        for _ in 0..from.u32()? {
            let (serial, last) = Part::take(&mut from)?;
            state.void_jwts.insert(serial, last);
        }
        if version >= VERSION_OPTIONS {
            for _ in 0..from.u32()? {
                let (stream, topic): (StreamId, TopicId) = Part::take(&mut from)?;
                let stored = state.streams.get_mut(&stream);
                let stored = stored.and_then(|stream| stream.topics.get_mut(&topic));
                let options = OptionChoices::take(&mut from)?;
                // Options of a topic that is not there: bytes of no state. To leave them out would be to start with less than
                // was acknowledged.
                stored.ok_or(ErrorCode::InvalidVersion)?.settings.options = options;
            }
        }
        if version >= VERSION_PARTS {
            for _ in 0..from.u32()? {
                let (kind, length) = (from.u16()?, from.u32()?);
                let length = usize::try_from(length).map_err(|_| ErrorCode::InvalidVersion)?;
                // A part of a later version says something that this one cannot keep, so it refuses to start with it.
                state.take_part(kind, from.bytes(length)?)?;
            }
        }
        Ok(state)
    }

    /// A number that two equal states share and two different ones almost surely do not.
    #[must_use]
    pub fn state_hash(&self) -> u64 {
        XxHash3_64::oneshot(&self.to_snapshot())
    }
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    to_u32(count).encode(out);
}

fn put_stream(id: StreamId, stream: &StreamMetadata, out: &mut Vec<u8>) {
    (id, stream.name.clone(), stream.created_at).put(out);
    put_count(stream.topics.len(), out);
    for (id, topic) in &stream.topics {
        (*id, topic.created_at).put(out);
        topic.settings.put(out);
        put_count(topic.partitions.len(), out);
        for partition in &topic.partitions {
            (partition.uid, partition.created_at).put(out);
        }
        put_count(topic.groups.len(), out);
        for (id, group) in &topic.groups {
            (*id, group.serial, group.name.clone()).put(out);
        }
    }
}

fn take_user(state: &mut State, from: &mut Reader<'_>) -> Result<(), ErrorCode> {
    let id = UserId::decode(from)?;
    state.insert_user(id, UserMetadata::take(from)?);
    for _ in 0..from.u32()? {
        let name = TokenName::decode(from)?;
        state.insert_token(id, name, HashedToken::take(from)?);
    }
    Ok(())
}

fn take_stream(from: &mut Reader<'_>) -> Result<(StreamId, StreamMetadata), ErrorCode> {
    let (id, name, created_at): (StreamId, StreamName, Timestamp) = Part::take(from)?;
    let mut stream = StreamMetadata::new(name, created_at);
    for _ in 0..from.u32()? {
        let (topic_id, topic) = take_topic(from)?;
        stream.insert_topic(topic_id, topic);
    }
    Ok((id, stream))
}

fn take_topic(from: &mut Reader<'_>) -> Result<(TopicId, TopicMetadata), ErrorCode> {
    let (id, created_at): (TopicId, Timestamp) = Part::take(from)?;
    let settings = ResolvedSettings::take(from)?;
    let mut partitions = Vec::new();
    for _ in 0..from.u32()? {
        let (uid, created_at) = Part::take(from)?;
        partitions.push(PartitionMetadata { uid, created_at, shard: ShardId::FIRST });
    }
    let mut topic = TopicMetadata::new(created_at, settings, partitions);
    for _ in 0..from.u32()? {
        let (group_id, serial, name): (GroupId, _, _) = Part::take(from)?;
        topic.insert_group(group_id, GroupMetadata { serial, name });
    }
    Ok((id, topic))
}
