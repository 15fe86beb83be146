//! One record of each kind, with every field set: the bytes of each are a seed of the fuzzers, and so a fixture.

use galgo_wire::command::{Compression, Deduplication, Durability, Membership, UserStatus};
use galgo_wire::id::{GroupId, PartitionUid, ShardId, StreamId, Timestamp, TopicId, UserId};
use galgo_wire::options::{OptionChoices, SizeLimit};
use galgo_wire::permission::Permissions;

use crate::metadata::record::{CreatedTopic, NewPartitions, Record};
use crate::metadata::tokens::TokenHash;
use crate::metadata::{
    GroupMetadata, GroupSerial, HashedToken, ResolvedSettings, UserMetadata, UserSerial,
};
use crate::partition::IdKey;

const STREAM: StreamId = StreamId::new(1);
const TOPIC: TopicId = TopicId::new(2);
const UID: PartitionUid = PartitionUid::new(3);
const USER: UserId = UserId::new(4);
const AT: Timestamp = Timestamp::new(5);
const SERIAL: UserSerial = UserSerial::new(6);

fn settings(options: OptionChoices) -> ResolvedSettings {
    ResolvedSettings {
        name: "orders".parse().unwrap(),
        compression: Compression::Gzip,
        message_expiry_us: 7,
        size_bytes_max: 8,
        replication_factor: 1,
        durability: Durability::Os,
        deduplication: Deduplication::On,
        options,
    }
}

fn user() -> UserMetadata {
    UserMetadata {
        serial: SERIAL,
        name: "ann".parse().unwrap(),
        password_hash: "$argon2id$".to_owned(),
        status: UserStatus::Active,
        created_at: AT,
        permissions: Some(Permissions::root()),
    }
}

/// A record of each kind by its name, of topics also one with options.
pub(crate) fn every_record() -> Vec<(&'static str, Record)> {
    let mut records = of_streams();
    records.extend(of_topics());
    records.extend(of_users());
    records.extend(of_logins());
    let place = Membership { stream_id: STREAM, topic_id: TOPIC, group_id: GroupId::new(9) };
    let group = GroupMetadata { serial: GroupSerial::new(10), name: "billing".parse().unwrap() };
    records.extend([
        ("create_group", Record::CreateGroup { place, group }),
        ("delete_group", Record::DeleteGroup { place }),
        ("skip_given", Record::SkipGiven { next_uid: 11, next_group_serial: 12 }),
        ("set_id_key", Record::SetIdKey { key: IdKey::new(13) }),
    ]);
    records
}

fn of_streams() -> Vec<(&'static str, Record)> {
    let (id, name) = (STREAM, "shop".parse().unwrap());
    vec![
        ("create_stream", Record::CreateStream { id, name, created_at: AT }),
        ("rename_stream", Record::RenameStream { id, name: "store".parse().unwrap() }),
        ("delete_stream", Record::DeleteStream { id }),
    ]
}

fn of_topics() -> Vec<(&'static str, Record)> {
    let (stream, topic, first_uid, created_at) = (STREAM, TOPIC, UID, AT);
    let options =
        OptionChoices { max_size: Some(SizeLimit::from_bytes(1 << 40)), ..Default::default() };
    let created = |options| {
        let settings = settings(options);
        let partitions = NewPartitions::on_first_shard(2, first_uid);
        Record::CreateTopic(CreatedTopic { stream, id: topic, settings, created_at, partitions })
    };
    let updated = |options| Record::UpdateTopic { stream, topic, settings: settings(options) };
    let uids = vec![UID, PartitionUid::new(14)];
    let added = NewPartitions::on_first_shard(2, first_uid);
    let elsewhere =
        NewPartitions { shards: vec![ShardId::new(19), ShardId::FIRST], ..added.clone() };
    vec![
        ("create_topic", created(OptionChoices::default())),
        ("create_topic_2", created(options.clone())),
        ("update_topic", updated(OptionChoices::default())),
        ("update_topic_2", updated(options)),
        ("delete_topic", Record::DeleteTopic { stream, topic }),
        ("purge_topics", Record::PurgeTopics { stream, topics: vec![topic], first_uid }),
        ("add_partitions", Record::AddPartitions { stream, topic, partitions: added, created_at }),
        (
            "add_partitions_3",
            Record::AddPartitions { stream, topic, partitions: elsewhere, created_at },
        ),
        ("remove_partitions", Record::RemovePartitions { stream, topic, count: 1 }),
        ("files_removed", Record::FilesRemoved { uids }),
    ]
}

fn of_users() -> Vec<(&'static str, Record)> {
    let (id, name, serial) = (USER, user().name, UserSerial::new(15));
    let hash = "$argon2id$other".to_owned();
    let replaced = Record::ReplacePassword { id, hash: hash.clone(), serial, ends_tokens: true };
    let inactive = Record::UpdateUser { id, name: name.clone(), status: UserStatus::Inactive };
    vec![
        ("create_user", Record::CreateUser { id, user: user() }),
        ("update_user", inactive),
        ("set_permissions", Record::SetPermissions { id, permissions: Some(Permissions::root()) }),
        ("set_password", Record::SetPassword { id, hash }),
        ("replace_password", replaced),
        ("deactivate_user", Record::DeactivateUser { id, name, serial }),
        ("delete_user", Record::DeleteUser { id }),
    ]
}

fn of_logins() -> Vec<(&'static str, Record)> {
    let (user, serial) = (USER, SERIAL);
    let token = HashedToken { hash: TokenHash([16; 32]), expires_at: Some(AT) };
    let name = || "deploy".parse().unwrap();
    vec![
        ("create_token", Record::CreateToken { user, name: name(), token }),
        ("delete_token", Record::DeleteToken { user, name: name() }),
        ("revoke_jwt", Record::RevokeJwt { serial, jti: 17, expires_at: AT }),
        ("void_jwts", Record::VoidJwts { serial, last: 18 }),
        ("forget_expired", Record::ForgetExpired { until: AT }),
    ]
}
