//! The records of the metadata log, and their bytes.
//!
//! A record is `kind u8 | version u8 | fields...`, its fields in the protocol's primitive forms
//! (little-endian integers, texts behind their length). Kinds and versions are never reused: a
//! changed record gets a new version, and old versions stay readable.

mod part;

use galgo_wire::command::{Membership, UserStatus};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{PartitionUid, StreamId, Timestamp, TopicId, UserId};
use galgo_wire::name::{StreamName, TokenName, Username};
use galgo_wire::options::OptionChoices;
use galgo_wire::permission::Permissions;
use galgo_wire::primitive::{Payload, Reader, put_str32};

pub(super) use self::part::Part;
use super::{Group, Token, TopicSettings, User, UserSerial};
use crate::partition::IdKey;

const VERSION: u8 = 1;
/// Of records with a topic that has options, which follow its settings.
const VERSION_OPTIONS: u8 = 2;

/// One change of the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A stream was created.
    CreateStream {
        /// Its id.
        id: StreamId,
        /// Its name.
        name: StreamName,
        /// When.
        created_at: Timestamp,
    },
    /// A stream got another name.
    RenameStream {
        /// Which.
        id: StreamId,
        /// The new name.
        name: StreamName,
    },
    /// A stream was deleted with all that is in it.
    DeleteStream {
        /// Which.
        id: StreamId,
    },
    /// A topic was created.
    CreateTopic(CreatedTopic),
    /// A topic's settings were replaced.
    UpdateTopic {
        /// Its stream.
        stream: StreamId,
        /// Which.
        topic: TopicId,
        /// All its settings.
        settings: TopicSettings,
    },
    /// A topic was deleted.
    DeleteTopic {
        /// Its stream.
        stream: StreamId,
        /// Which.
        topic: TopicId,
    },
    /// Topics lost all their messages and offsets.
    PurgeTopics {
        /// Their stream.
        stream: StreamId,
        /// Which.
        topics: Vec<TopicId>,
        /// The uid of the first new partition; the others follow.
        first_uid: PartitionUid,
    },
    /// Partitions were added behind the highest id.
    AddPartitions {
        /// Their stream.
        stream: StreamId,
        /// Their topic.
        topic: TopicId,
        /// How many.
        count: u32,
        /// The uid of the first; the others follow.
        first_uid: PartitionUid,
        /// When.
        created_at: Timestamp,
    },
    /// The partitions with the highest ids were removed.
    RemovePartitions {
        /// Their stream.
        stream: StreamId,
        /// Their topic.
        topic: TopicId,
        /// How many.
        count: u32,
    },
    /// The files of removed partitions are gone.
    FilesRemoved {
        /// Which.
        uids: Vec<PartitionUid>,
    },
    /// A user was created.
    CreateUser {
        /// Its id.
        id: UserId,
        /// The user.
        user: User,
    },
    /// A user got another name or status.
    UpdateUser {
        /// Which.
        id: UserId,
        /// The name from now on.
        name: Username,
        /// The status from now on.
        status: UserStatus,
    },
    /// What a user may do was replaced.
    SetPermissions {
        /// Which.
        id: UserId,
        /// What it may do from now on.
        permissions: Option<Permissions>,
    },
    /// A user got another password, as older versions recorded it: its logins went on.
    SetPassword {
        /// Which.
        id: UserId,
        /// The new password in PHC string form.
        hash: String,
    },
    /// A user got another password, and its logins ended.
    ReplacePassword {
        /// Which.
        id: UserId,
        /// The new password in PHC string form.
        hash: String,
        /// The serial of the user from now on: what logged in before carries the one it had.
        serial: UserSerial,
        /// Whether its personal access tokens ended, too.
        ends_tokens: bool,
    },
    /// A user was deactivated, and its logins ended.
    DeactivateUser {
        /// Which.
        id: UserId,
        /// The name from now on.
        name: Username,
        /// The serial of the user from now on.
        serial: UserSerial,
    },
    /// A user was deleted with its tokens.
    DeleteUser {
        /// Which.
        id: UserId,
    },
    /// A personal access token was created.
    CreateToken {
        /// Its owner.
        user: UserId,
        /// Its name, unique among those of the owner.
        name: TokenName,
        /// What is kept of it.
        token: Token,
    },
    /// A personal access token was deleted.
    DeleteToken {
        /// Its owner.
        user: UserId,
        /// Which.
        name: TokenName,
    },
    /// An HTTP login was ended before its time.
    RevokeJwt {
        /// Whose it was.
        serial: UserSerial,
        /// The id of its token.
        jti: u128,
        /// When it would have ended by itself.
        expires_at: Timestamp,
    },
    /// All HTTP logins of a user up to one ended before their time.
    VoidJwts {
        /// Whose they were.
        serial: UserSerial,
        /// The highest id of a token that ended; ids tell when they were issued.
        last: u128,
    },
    /// Tokens and revocations that ended by a moment were forgotten.
    ForgetExpired {
        /// The moment; what ends at it is forgotten, too.
        until: Timestamp,
    },
    /// A consumer group was created.
    CreateGroup {
        /// Its stream, topic and id.
        place: Membership,
        /// The group.
        group: Group,
    },
    /// A consumer group was deleted with its offsets.
    DeleteGroup {
        /// Its stream, topic and id.
        place: Membership,
    },
    /// Uids and serials were given that no record here speaks of: those that did were lost, and that was
    /// accepted.
    SkipGiven {
        /// The next uid to give to a partition, unless it is higher already.
        next_uid: u64,
        /// The next serial to give to a consumer group, likewise.
        next_group_serial: u32,
    },
    /// The cluster got the key that ids of messages are derived with. It never changes.
    SetIdKey {
        /// The key.
        key: IdKey,
    },
}

/// A topic as it was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its stream.
    pub stream: StreamId,
    /// Its id.
    pub id: TopicId,
    /// Its settings, all resolved.
    pub settings: TopicSettings,
    /// When.
    pub created_at: Timestamp,
    /// How many partitions.
    pub partitions: u32,
    /// The uid of the first; the others follow.
    pub first_uid: PartitionUid,
}

impl Record {
    /// Whether applying it makes messages or offsets unreachable.
    #[must_use]
    pub fn removes_messages(&self) -> bool {
        matches!(
            self,
            Self::DeleteStream { .. }
                | Self::DeleteTopic { .. }
                | Self::PurgeTopics { .. }
                | Self::RemovePartitions { .. }
                | Self::DeleteGroup { .. }
        )
    }

    /// The record's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![self.kind(), self.version()];
        self.put_fields(&mut out);
        out
    }

    /// Reads a record.
    ///
    /// # Errors
    /// A code of the protocol's decoders when the bytes are no record this version knows.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ErrorCode> {
        let mut reader = Reader::new(bytes);
        let (kind, version) = (reader.u8()?, reader.u8()?);
        let mut record = match version {
            VERSION | VERSION_OPTIONS => take_fields(kind, &mut reader)?,
            _ => return Err(ErrorCode::InvalidVersion),
        };
        if version == VERSION_OPTIONS {
            let options = record.options_mut().ok_or(ErrorCode::InvalidVersion)?;
            *options = OptionChoices::take(&mut reader)?;
        }
        Ok(record)
    }

    /// The lowest version that says what there is to say.
    fn version(&self) -> u8 {
        match self {
            Self::CreateTopic(CreatedTopic { settings, .. })
            | Self::UpdateTopic { settings, .. }
                if !settings.options.is_empty() =>
            {
                VERSION_OPTIONS
            }
            _ => VERSION,
        }
    }

    fn options_mut(&mut self) -> Option<&mut OptionChoices> {
        match self {
            Self::CreateTopic(CreatedTopic { settings, .. })
            | Self::UpdateTopic { settings, .. } => Some(&mut settings.options),
            _ => None,
        }
    }

    /// The user that may do something else than before, if it is still there.
    pub(crate) fn user_changed(&self) -> Option<UserId> {
        match self {
            Self::UpdateUser { id, .. } | Self::SetPermissions { id, .. } => Some(*id),
            _ => None,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::CreateStream { .. } => 1,
            Self::RenameStream { .. } => 2,
            Self::DeleteStream { .. } => 3,
            Self::CreateTopic(_) => 4,
            Self::UpdateTopic { .. } => 5,
            Self::DeleteTopic { .. } => 6,
            Self::PurgeTopics { .. } => 7,
            Self::AddPartitions { .. } => 8,
            Self::RemovePartitions { .. } => 9,
            Self::FilesRemoved { .. } => 10,
            Self::CreateUser { .. } => 11,
            Self::UpdateUser { .. } => 12,
            Self::SetPermissions { .. } => 13,
            Self::SetPassword { .. } => 14,
            Self::DeleteUser { .. } => 15,
            Self::CreateToken { .. } => 16,
            Self::DeleteToken { .. } => 17,
            Self::RevokeJwt { .. } => 18,
            Self::VoidJwts { .. } => 22,
            Self::ForgetExpired { .. } => 19,
            Self::CreateGroup { .. } => 20,
            Self::DeleteGroup { .. } => 21,
            Self::ReplacePassword { .. } => 31,
            Self::DeactivateUser { .. } => 32,
            Self::SkipGiven { .. } => 30,
            Self::SetIdKey { .. } => 46,
        }
    }

    fn put_fields(&self, out: &mut Vec<u8>) {
        match self {
            Self::CreateStream { id, name, created_at } => {
                (*id, name.clone(), *created_at).put(out);
            }
            Self::RenameStream { id, name } => (*id, name.clone()).put(out),
            Self::DeleteStream { id } => id.encode(out),
            Self::CreateTopic(created) => {
                (created.stream, created.id, created.created_at).put(out);
                (created.partitions, created.first_uid).put(out);
                created.settings.put(out);
                created.settings.put_options(out);
            }
            Self::UpdateTopic { stream, topic, settings } => {
                (*stream, *topic).put(out);
                settings.put(out);
                settings.put_options(out);
            }
            Self::DeleteTopic { stream, topic } => (*stream, *topic).put(out),
            Self::PurgeTopics { stream, topics, first_uid } => {
                (*stream, *first_uid).put(out);
                topics.put(out);
            }
            Self::AddPartitions { stream, topic, count, first_uid, created_at } => {
                (*stream, *topic, *count).put(out);
                (*first_uid, *created_at).put(out);
            }
            Self::RemovePartitions { stream, topic, count } => (*stream, *topic, *count).put(out),
            Self::FilesRemoved { uids } => uids.put(out),
            Self::CreateUser { id, user } => {
                id.encode(out);
                user.put(out);
            }
            Self::UpdateUser { id, name, status } => (*id, name.clone(), *status).put(out),
            Self::SetPermissions { id, permissions } => {
                id.encode(out);
                permissions.put(out);
            }
            Self::SetPassword { id, hash } => {
                id.encode(out);
                put_str32(out, hash);
            }
            Self::ReplacePassword { id, hash, serial, ends_tokens } => {
                (*id, *serial, *ends_tokens).put(out);
                put_str32(out, hash);
            }
            Self::DeactivateUser { id, name, serial } => (*id, name.clone(), *serial).put(out),
            Self::DeleteUser { id } => id.encode(out),
            Self::CreateToken { user, name, token } => {
                (*user, name.clone()).put(out);
                token.put(out);
            }
            Self::DeleteToken { user, name } => (*user, name.clone()).put(out),
            Self::RevokeJwt { serial, jti, expires_at } => (*serial, *jti, *expires_at).put(out),
            Self::VoidJwts { serial, last } => (*serial, *last).put(out),
            Self::ForgetExpired { until } => until.encode(out),
            Self::CreateGroup { place, group } => {
                (*place, group.serial, group.name.clone()).put(out);
            }
            Self::DeleteGroup { place } => place.encode(out),
            Self::SkipGiven { next_uid, next_group_serial } => {
                (*next_uid, *next_group_serial).put(out);
            }
            Self::SetIdKey { key } => key.get().encode(out),
        }
    }
}

fn take_fields(kind: u8, from: &mut Reader<'_>) -> Result<Record, ErrorCode> {
    Ok(match kind {
        1 => Record::CreateStream { id: take(from)?, name: take(from)?, created_at: take(from)? },
        2 => Record::RenameStream { id: take(from)?, name: take(from)? },
        3 => Record::DeleteStream { id: take(from)? },
        4 => Record::CreateTopic(CreatedTopic::take(from)?),
        5 => Record::UpdateTopic {
            stream: take(from)?,
            topic: take(from)?,
            settings: TopicSettings::take(from)?,
        },
        6 => Record::DeleteTopic { stream: take(from)?, topic: take(from)? },
        7 => {
            let (stream, first_uid) = (take(from)?, take(from)?);
            Record::PurgeTopics { stream, topics: Vec::take(from)?, first_uid }
        }
        8 => Record::AddPartitions {
            stream: take(from)?,
            topic: take(from)?,
            count: take(from)?,
            first_uid: take(from)?,
            created_at: take(from)?,
        },
        9 => {
            Record::RemovePartitions { stream: take(from)?, topic: take(from)?, count: take(from)? }
        }
        10 => Record::FilesRemoved { uids: Vec::take(from)? },
        11 => Record::CreateUser { id: take(from)?, user: User::take(from)? },
        12..=19 | 22 | 31..=32 => return take_user_record(kind, from),
        20 => {
            let (place, serial, name) = Part::take(from)?;
            Record::CreateGroup { place, group: Group { serial, name } }
        }
        21 => Record::DeleteGroup { place: take(from)? },
        46 => Record::SetIdKey { key: IdKey::new(take(from)?) },
        30 => Record::SkipGiven { next_uid: take(from)?, next_group_serial: take(from)? },
        _ => return Err(ErrorCode::InvalidCommand),
    })
}

fn take_user_record(kind: u8, from: &mut Reader<'_>) -> Result<Record, ErrorCode> {
    Ok(match kind {
        12 => Record::UpdateUser { id: take(from)?, name: take(from)?, status: take(from)? },
        13 => Record::SetPermissions { id: take(from)?, permissions: Part::take(from)? },
        14 => Record::SetPassword { id: take(from)?, hash: from.str32()?.to_owned() },
        15 => Record::DeleteUser { id: take(from)? },
        16 => {
            let (user, name) = Part::take(from)?;
            Record::CreateToken { user, name, token: Token::take(from)? }
        }
        17 => Record::DeleteToken { user: take(from)?, name: take(from)? },
        18 => Record::RevokeJwt { serial: take(from)?, jti: take(from)?, expires_at: take(from)? },
        19 => Record::ForgetExpired { until: take(from)? },
        22 => Record::VoidJwts { serial: take(from)?, last: take(from)? },
        31 => {
            let (id, serial, ends_tokens) = Part::take(from)?;
            let hash = from.str32()?.to_owned();
            Record::ReplacePassword { id, hash, serial, ends_tokens }
        }
        32 => Record::DeactivateUser { id: take(from)?, name: take(from)?, serial: take(from)? },
        _ => return Err(ErrorCode::InvalidCommand),
    })
}

fn take<T: Payload>(from: &mut Reader<'_>) -> Result<T, ErrorCode> {
    T::decode(from)
}

impl CreatedTopic {
    fn take(from: &mut Reader<'_>) -> Result<Self, ErrorCode> {
        let (stream, id, created_at) = Part::take(from)?;
        let (partitions, first_uid) = Part::take(from)?;
        let settings = TopicSettings::take(from)?;
        Ok(Self { stream, id, settings, created_at, partitions, first_uid })
    }
}
