//! Parts of records and snapshots that are more than one primitive.

use galgo_wire::command::{Compression, Deduplication, Durability};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::index::to_u32;
use galgo_wire::name::TopicName;
use galgo_wire::options::OptionChoices;
use galgo_wire::primitive::{Payload, Reader};

use super::super::{GroupMetadata, ResolvedSettings};
use super::{NewPartitions, take};
use crate::partition::IdKey;

/// A part of a record or snapshot that is more than one primitive.
pub(in crate::metadata) trait Part: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn take(from: &mut Reader<'_>) -> Result<Self, ErrorCode>;
}

impl<A: Payload, B: Payload> Part for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        Ok((take(from)?, take(from)?))
    }
}

impl<A: Payload, B: Payload, C: Payload> Part for (A, B, C) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
        self.2.encode(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        Ok((take(from)?, take(from)?, take(from)?))
    }
}

/// A counted list; unlike the protocol's, it may be followed by more.
impl<T: Payload> Part for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        to_u32(self.len()).encode(out);
        for item in self {
            item.encode(out);
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let count: u32 = take(from)?;
        (0..count).map(|_| take(from)).collect()
    }
}

/// Without the shards.
impl Part for NewPartitions {
    fn put(&self, out: &mut Vec<u8>) {
        (self.count, self.first_uid).put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let (count, first_uid) = Part::take(from)?;
        Ok(Self { count, first_uid, shards: Vec::new() })
    }
}

/// Without the options.
impl Part for ResolvedSettings {
    fn put(&self, out: &mut Vec<u8>) {
        (self.name.clone(), self.compression, self.message_expiry_us).put(out);
        (self.size_bytes_max, self.replication_factor).put(out);
        (self.durability.as_u8(), self.deduplication.as_u8()).put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let (name, compression, message_expiry_us): (TopicName, Compression, u64) =
            Part::take(from)?;
        let (size_bytes_max, replication_factor): (u64, u8) = Part::take(from)?;
        let (durability, deduplication): (u8, u8) = Part::take(from)?;
        let durability = Durability::from_u8(durability).ok_or(ErrorCode::InvalidCommand)?;
        let deduplication =
            Deduplication::from_u8(deduplication).ok_or(ErrorCode::InvalidCommand)?;
        Ok(Self {
            name,
            compression,
            message_expiry_us,
            size_bytes_max,
            replication_factor,
            durability,
            deduplication,
            options: OptionChoices::default(),
        })
    }
}

impl Part for GroupMetadata {
    fn put(&self, out: &mut Vec<u8>) {
        (self.serial, self.name.clone()).put(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let (serial, name) = Part::take(from)?;
        Ok(Self { serial, name })
    }
}

impl Part for IdKey {
    fn put(&self, out: &mut Vec<u8>) {
        self.get().encode(out);
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        take(from).map(Self::new)
    }
}
