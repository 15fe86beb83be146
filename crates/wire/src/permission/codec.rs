//! Permissions as bytes.
//!
//! ```text
//! | global: 10 flags | has streams | stream id u32 | 6 flags | has topics |
//!     | topic id u32 | 4 flags | has next topic | ... | has next stream | ...
//! ```
//! Lists have no count: a flag in front of each entry says that it is there.

use super::{GlobalPermissions, Permissions, StreamFlags, StreamPermissions, TopicPermissions};
use crate::error_code::ErrorCode;
use crate::id::{StreamId, TopicId};
use crate::limits::PERMISSIONS_BYTES_MAX;
use crate::primitive::{DecodeError, Payload, Reader, put_length32};
use std::collections::BTreeMap;

impl Payload for Permissions {
    fn encode(&self, out: &mut Vec<u8>) {
        put_flags(out, self.global.to_array());
        put_list(out, &self.streams, |out, stream, permissions| {
            stream.encode(out);
            put_flags(out, permissions.flags.to_array());
            put_list(out, &permissions.topics, |out, topic, flags| {
                topic.encode(out);
                put_flags(out, flags.to_array());
            });
        });
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let global = GlobalPermissions::from_array(flags(reader)?);
        let streams = list(reader, |reader| {
            let stream = StreamId::decode(reader)?;
            let flags_of_stream = StreamFlags::from_array(flags(reader)?);
            let topics = list(reader, |reader| {
                let topic = TopicId::decode(reader)?;
                Ok((topic, TopicPermissions::from_array(flags(reader)?)))
            })?;
            Ok((stream, StreamPermissions { flags: flags_of_stream, topics }))
        })?;
        Ok(Self { global, streams })
    }
}

fn put_flags<const N: usize>(out: &mut Vec<u8>, flags: [bool; N]) {
    out.extend(flags.map(u8::from));
}

fn flags<const N: usize>(reader: &mut Reader<'_>) -> Result<[bool; N], DecodeError> {
    Ok(reader.array::<N>()?.map(|byte| byte != 0))
}

fn put_list<K, V>(
    out: &mut Vec<u8>,
    entries: &BTreeMap<K, V>,
    mut put: impl FnMut(&mut Vec<u8>, &K, &V),
) {
    for (key, value) in entries {
        out.push(1);
        put(out, key, value);
    }
    out.push(0);
}

fn list<K: Ord, V>(
    reader: &mut Reader<'_>,
    mut entry: impl FnMut(&mut Reader<'_>) -> Result<(K, V), ErrorCode>,
) -> Result<BTreeMap<K, V>, ErrorCode> {
    let mut entries = BTreeMap::new();
    while reader.bool()? {
        let (key, value) = entry(reader)?;
        entries.insert(key, value);
    }
    Ok(entries)
}

fn put_sized(out: &mut Vec<u8>, permissions: &Permissions) {
    out.push(1);
    let bytes = permissions.to_bytes();
    put_length32(out, bytes.len());
    out.extend_from_slice(&bytes);
}

/// Reads length and permissions; the length has to be exactly what the permissions take.
fn sized(reader: &mut Reader<'_>) -> Result<Permissions, ErrorCode> {
    let length = reader.length32()?;
    let bytes = reader.bytes(length)?;
    if length > PERMISSIONS_BYTES_MAX as usize {
        return Err(ErrorCode::InvalidSizeBytes);
    }
    let mut inner = Reader::new(bytes);
    // Running out inside means the length was too small for what it announces.
    let permissions = Permissions::decode(&mut inner).map_err(|_| ErrorCode::InvalidFormat)?;
    if inner.is_empty() { Ok(permissions) } else { Err(ErrorCode::InvalidFormat) }
}

/// How a request carries permissions: a flag that has to be exactly 1, length, permissions.
pub(crate) struct RequestedPermissions;

impl RequestedPermissions {
    pub(crate) fn encode(value: &Option<Permissions>, out: &mut Vec<u8>) {
        match value {
            Some(permissions) => put_sized(out, permissions),
            None => out.push(0),
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Option<Permissions>, ErrorCode> {
        match reader.u8()? {
            1 => sized(reader).map(Some),
            _ => Ok(None),
        }
    }
}

/// How a reply carries permissions: as a request does, but "none" is four zero bytes.
pub(crate) struct GrantedPermissions;

impl GrantedPermissions {
    pub(crate) fn encode(value: &Option<Permissions>, out: &mut Vec<u8>) {
        match value {
            Some(permissions) => put_sized(out, permissions),
            // Classic clients read the flag and insist on three more bytes.
            None => out.extend_from_slice(&[0; 4]),
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Option<Permissions>, ErrorCode> {
        match reader.u8()? {
            0 => {
                reader.array::<3>()?;
                Ok(None)
            }
            _ => sized(reader).map(Some),
        }
    }
}

#[cfg(test)]
impl crate::sample::Sample for Permissions {
    fn sample(source: &mut crate::sample::Draws) -> Self {
        let global = GlobalPermissions::sample(source);
        let mut streams = BTreeMap::new();
        for _ in 0..source.below(4) {
            let mut topics = BTreeMap::new();
            for _ in 0..source.below(3) {
                topics.insert(TopicId::sample(source), TopicPermissions::sample(source));
            }
            let flags = StreamFlags::sample(source);
            streams.insert(StreamId::sample(source), StreamPermissions { flags, topics });
        }
        Self { global, streams }
    }
}
