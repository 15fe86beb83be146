//! The records of the metadata log, and their bytes.
//!
//! A record is `kind u8 | version u8 | fields...`, its fields in the protocol's primitive forms
//! (little-endian integers, texts behind their length). Kinds and versions are never reused: a
//! changed record gets a new version, and old versions stay readable.
//!
//! Each kind is declared once, in the table below: enum, bytes and the page of the format all come from there.

mod layout;
mod part;

use galgo_wire::command::{Membership, UserStatus};
use galgo_wire::error_code::ErrorCode;
use galgo_wire::id::{PartitionUid, ShardId, StreamId, Timestamp, TopicId, UserId};
use galgo_wire::name::{StreamName, TokenName, Username};
use galgo_wire::options::OptionChoices;
use galgo_wire::permission::Permissions;
use galgo_wire::primitive::{Payload, Reader};

use self::layout::{records, structure};
pub(super) use self::part::Part;
use super::{GroupMetadata, HashedToken, ResolvedSettings, UserMetadata, UserSerial};
use crate::partition::IdKey;

/// Names of fields and their types.
type FieldNames = &'static [(&'static str, &'static str)];

const VERSION: u8 = 1;
/// Of records with a topic that has options, which follow its settings.
const VERSION_OPTIONS: u8 = 2;
/// Of records that make partitions on other shards than the first: the shard of each comes last, behind the options
/// of a topic, which are there then even if they are none.
const VERSION_SHARDS: u8 = 3;

const _: () = assert!(
    VERSION < VERSION_OPTIONS && VERSION_OPTIONS < VERSION_SHARDS,
    "each version says what those before it say, and more"
);

records! {
    /// A topic was created.
    whole 4 CreateTopic(CreatedTopic) "topic created";
    /// A stream was created.
    1 CreateStream "stream created" {
        /// Its id.
        id: StreamId,
        /// Its name.
        name: StreamName,
        /// When.
        created_at: Timestamp,
    }
    /// A stream got another name.
    2 RenameStream "stream renamed" {
        /// Which.
        id: StreamId,
        /// The new name.
        name: StreamName,
    }
    /// A stream was deleted with all that is in it.
    3 DeleteStream "stream deleted" {
        /// Which.
        id: StreamId,
    }
    /// A topic's settings were replaced.
    5 UpdateTopic "settings of a topic replaced" {
        /// Its stream.
        stream: StreamId,
        /// Which.
        topic: TopicId,
        /// All its settings.
        settings: ResolvedSettings as part,
    }
    /// A topic was deleted.
    6 DeleteTopic "topic deleted" {
        /// Its stream.
        stream: StreamId,
        /// Which.
        topic: TopicId,
    }
    /// Topics lost all their messages and offsets.
    7 PurgeTopics "topics purged" {
        /// Their stream.
        stream: StreamId,
        /// The uid of the first new partition; the others follow.
        first_uid: PartitionUid,
        /// Which.
        topics: Vec<TopicId> as part,
    }
    /// Partitions were added behind the highest id.
    8 AddPartitions "partitions added" {
        /// Their stream.
        stream: StreamId,
        /// Their topic.
        topic: TopicId,
        /// Which.
        partitions: NewPartitions as part,
        /// When.
        created_at: Timestamp,
    }
    /// The partitions with the highest ids were removed.
    9 RemovePartitions "partitions removed" {
        /// Their stream.
        stream: StreamId,
        /// Their topic.
        topic: TopicId,
        /// How many.
        count: u32,
    }
    /// The files of removed partitions are gone.
    10 FilesRemoved "files removed" {
        /// Which.
        uids: Vec<PartitionUid> as part,
    }
    /// A user was created.
    11 CreateUser "user created" {
        /// Its id.
        id: UserId,
        /// The user.
        user: UserMetadata as part,
    }
    /// A user got another name or status.
    12 UpdateUser "user renamed, activated or deactivated" {
        /// Which.
        id: UserId,
        /// The name from now on.
        name: Username,
        /// The status from now on.
        status: UserStatus,
    }
    /// What a user may do was replaced.
    13 SetPermissions "permissions replaced" {
        /// Which.
        id: UserId,
        /// What it may do from now on.
        permissions: Option<Permissions> as part,
    }
    /// A user got another password, as older versions recorded it: its logins went on.
    14 SetPassword "password replaced" {
        /// Which.
        id: UserId,
        /// The new password in PHC string form.
        hash: String as text,
    }
    /// A user was deleted with its tokens.
    15 DeleteUser "user deleted, with its tokens" {
        /// Which.
        id: UserId,
    }
    /// A personal access token was created.
    16 CreateToken "token created" {
        /// Its owner.
        user: UserId,
        /// Its name, unique among those of the owner.
        name: TokenName,
        /// What is kept of it.
        token: HashedToken as part,
    }
    /// A personal access token was deleted.
    17 DeleteToken "token deleted" {
        /// Its owner.
        user: UserId,
        /// Which.
        name: TokenName,
    }
    /// An HTTP login was ended before its time.
    18 RevokeJwt "HTTP login revoked" {
        /// Whose it was.
        serial: UserSerial,
        /// The id of its token.
        jti: u128,
        /// When it would have ended by itself.
        expires_at: Timestamp,
    }
    /// Tokens and revocations that ended by a moment were forgotten.
    19 ForgetExpired "what ended is forgotten" {
        /// The moment; what ends at it is forgotten, too.
        until: Timestamp,
    }
    /// A consumer group was created.
    20 CreateGroup "group created" {
        /// Its stream, topic and id.
        place: Membership,
        /// The group.
        group: GroupMetadata as part,
    }
    /// A consumer group was deleted with its offsets.
    21 DeleteGroup "group deleted, with its offsets" {
        /// Its stream, topic and id.
        place: Membership,
    }
    /// All HTTP logins of a user up to one ended before their time.
    22 VoidJwts "HTTP logins of a user revoked" {
        /// Whose they were.
        serial: UserSerial,
        /// The highest id of a token that ended; ids tell when they were issued.
        last: u128,
    }
    /// Uids and serials were given that no record here speaks of: those that did were lost, and that was
    /// accepted.
    30 SkipGiven "numbers skipped" {
        /// The next uid to give to a partition, unless it is higher already.
        next_uid: u64,
        /// The next serial to give to a consumer group, likewise.
        next_group_serial: u32,
    }
    /// A user got another password, and its logins ended.
    31 ReplacePassword "password replaced, logins ended" {
        /// Which.
        id: UserId,
        /// The serial of the user from now on: what logged in before carries the one it had.
        serial: UserSerial,
        /// Whether its personal access tokens ended, too.
        ends_tokens: bool,
        /// The new password in PHC string form.
        hash: String as text,
    }
    /// A user was deactivated, and its logins ended.
    32 DeactivateUser "user deactivated, logins ended" {
        /// Which.
        id: UserId,
        /// The name from now on.
        name: Username,
        /// The serial of the user from now on.
        serial: UserSerial,
    }
    /// The cluster got the key that ids of messages are derived with. It never changes.
    46 SetIdKey "key of ids" {
        /// The key.
        key: IdKey as part,
    }
}

structure! {
    /// A topic as it was created.
    CreatedTopic {
        /// Its stream.
        stream: StreamId,
        /// Its id.
        id: TopicId,
        /// When.
        created_at: Timestamp,
        /// Its partitions.
        partitions: NewPartitions as part,
        /// Its settings, all resolved.
        settings: ResolvedSettings as part,
    }
}

/// Partitions that one record makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPartitions {
    /// How many.
    pub count: u32,
    /// The uid of the first; the others follow.
    pub first_uid: PartitionUid,
    /// The shard of each; empty where all are on [`ShardId::FIRST`].
    pub shards: Vec<ShardId>,
}

// The first row is the one whose fields are a structure of their own.
const _: () = {
    let [(whole, ..), rest @ ..] = Record::KINDS else { panic!("there are records") };
    let (mut before, mut rest) = (0, rest);
    while let [(kind, ..), behind @ ..] = rest {
        assert!(*kind > before && *kind != *whole, "a kind of record is never used twice");
        (before, rest) = (*kind, behind);
    }
};

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
        if let Some(options) = self.options().filter(|_| self.version() >= VERSION_OPTIONS) {
            options.put(&mut out);
        }
        if let Some(partitions) = self.partitions().filter(|_| self.version() >= VERSION_SHARDS) {
            assert!(
                partitions.shards.len() == partitions.count as usize,
                "INV-SHARDS: a record names the shard of each partition, or of none"
            );
            partitions.shards.put(&mut out);
        }
        out
    }

    /// Reads a record.
    ///
    /// # Errors
    /// A code of the protocol's decoders when the bytes are no record this version knows.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ErrorCode> {
        let mut reader = Reader::new(bytes);
        let (kind, version) = (reader.u8()?, reader.u8()?);
        // The fields of version 1 lie in front in every later one; what came later follows behind them.
        let mut record = match version {
            VERSION..=VERSION_SHARDS => Self::take_fields(kind, &mut reader)?,
            _ => return Err(ErrorCode::InvalidVersion),
        };
        match (version, record.options_mut()) {
            (VERSION, _) => {}
            (_, Some(options)) => *options = OptionChoices::take(&mut reader)?,
            // It says that options follow, of a record that has none.
            (VERSION_OPTIONS, None) => return Err(ErrorCode::InvalidVersion),
            _ => {}
        }
        if version == VERSION_SHARDS {
            let partitions = record.partitions_mut().ok_or(ErrorCode::InvalidVersion)?;
            partitions.shards = Vec::take(&mut reader)?;
            // One for each, or the rest would be taken for the first shard, where their journal is not.
            if partitions.shards.len() != partitions.count as usize {
                return Err(ErrorCode::InvalidVersion);
            }
        }
        Ok(record)
    }

    /// The lowest version that says what there is to say.
    fn version(&self) -> u8 {
        // So that an older program reads every record that says nothing it does not know.
        match (self.options(), self.partitions()) {
            (_, Some(partitions)) if !partitions.shards.is_empty() => VERSION_SHARDS,
            (Some(options), _) if !options.is_empty() => VERSION_OPTIONS,
            _ => VERSION,
        }
    }

    /// The partitions it makes.
    fn partitions(&self) -> Option<&NewPartitions> {
        match self {
            Self::CreateTopic(CreatedTopic { partitions, .. })
            | Self::AddPartitions { partitions, .. } => Some(partitions),
            _ => None,
        }
    }

    /// As [`Record::partitions`], to be changed.
    pub(crate) fn partitions_mut(&mut self) -> Option<&mut NewPartitions> {
        match self {
            Self::CreateTopic(CreatedTopic { partitions, .. })
            | Self::AddPartitions { partitions, .. } => Some(partitions),
            _ => None,
        }
    }

    fn options(&self) -> Option<&OptionChoices> {
        match self {
            Self::CreateTopic(CreatedTopic { settings, .. })
            | Self::UpdateTopic { settings, .. } => Some(&settings.options),
            _ => None,
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
            // Not those that end its logins or the user: the waits of those connections end with
            // them.
            Self::UpdateUser { id, .. } | Self::SetPermissions { id, .. } => Some(*id),
            _ => None,
        }
    }
}

fn take<T: Payload>(from: &mut Reader<'_>) -> Result<T, ErrorCode> {
    T::decode(from)
}
