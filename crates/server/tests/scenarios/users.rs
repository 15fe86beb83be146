//! Users, what they may do, and tokens.

use std::time::Duration;

use futures_util::StreamExt;
use galgo::{
    ConnectError, Credentials, ErrorCode, Message, PartitionBy, Permissions, UserOptions,
    UserStatus, UserUpdate,
};
use galgo_wire::permission::GlobalPermissions;

use crate::place::{Place, named, s, soon, t};

fn refusal(error: ConnectError) -> Option<ErrorCode> {
    match error {
        ConnectError::Login(refusal) => refusal.code(),
        other => panic!("{other}"),
    }
}

pub(crate) async fn users_may_do_what_they_are_permitted(place: &Place) {
    let root = place.root().await;
    let made = root.create_user("ann", "ann-secret", UserOptions::default()).await.unwrap();
    assert_eq!((made.user.username.as_str(), made.permissions), ("ann", None));
    let ann = named("ann");
    let client = place.client(Credentials::password("ann", "ann-secret")).await.unwrap();
    let refused = client.create_stream("s").await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Unauthorized));
    let global = GlobalPermissions { manage_streams: true, ..Default::default() };
    let permissions = Permissions { global, ..Default::default() };
    root.update_permissions(&ann, Some(permissions.clone())).await.unwrap();
    client.create_stream("s").await.unwrap();
    assert_eq!(root.user(&ann).await.unwrap().unwrap().permissions, Some(permissions));

    let wrong = client.change_password(&ann, "guess", "other-secret").await.unwrap_err();
    assert_eq!(wrong.code(), Some(ErrorCode::InvalidCredentials));
    client.change_password(&ann, "ann-secret", "other-secret").await.unwrap();
    let old = place.client(Credentials::password("ann", "ann-secret")).await.unwrap_err();
    assert_eq!(refusal(old), Some(ErrorCode::InvalidCredentials));

    let update = UserUpdate::default().username("bob").status(UserStatus::Inactive);
    root.update_user(&ann, update).await.unwrap();
    let inactive = place.client(Credentials::password("bob", "other-secret")).await.unwrap_err();
    assert_eq!(refusal(inactive), Some(ErrorCode::UserInactive));
    assert_eq!(root.users().await.unwrap().len(), 2);
    root.delete_user(&named("bob")).await.unwrap();
    assert!(root.user(&named("bob")).await.unwrap().is_none());
}

pub(crate) async fn tokens_log_in_until_they_are_deleted(place: &Place) {
    let root = place.root().await;
    let token = root.create_token("ci-token", Some(Duration::from_secs(600))).await.unwrap();
    let client = place.client(Credentials::token(token.clone())).await.unwrap();
    let tokens = client.tokens().await.unwrap();
    assert_eq!(tokens.len(), 1);
    assert!(tokens.iter().all(|token| token.expiry_at.is_some()));
    root.create_token("other", None).await.unwrap();
    root.delete_token("ci-token").await.unwrap();
    client.ping().await.unwrap();
    let gone = place.client(Credentials::token(token)).await.unwrap_err();
    assert_eq!(refusal(gone), Some(ErrorCode::ResourceNotFound));
    assert_eq!(root.tokens().await.unwrap().len(), 1);
}

/// Sending takes the right to send and nothing else, polling the right to poll, also by key and in a group.
pub(crate) async fn the_least_rights_are_enough(place: &Place) {
    let root = place.with_topic(4).await;
    for (name, flags) in [
        ("sender", GlobalPermissions { send_messages: true, ..Default::default() }),
        ("poller", GlobalPermissions { poll_messages: true, ..Default::default() }),
    ] {
        let permissions = Permissions { global: flags, ..Default::default() };
        let options = UserOptions::default().permissions(permissions);
        root.create_user(name, "a password", options).await.unwrap();
    }
    let client = |name: &str| place.client(Credentials::password(name, "a password"));
    let sender = client("sender").await.unwrap();
    for by in [PartitionBy::Balance, PartitionBy::Key(b"anna".to_vec()), PartitionBy::Id(2)] {
        let producer = sender.producer(&s(), &t()).partition_by(by).build().await.unwrap();
        producer.send_and_confirm(Message::new("one")).await.unwrap();
    }
    let refused = sender.consumer(&s(), &t()).build().await.err().unwrap();
    assert!(refused.to_string().contains("permission denied"), "{refused}");

    let poller = client("poller").await.unwrap();
    for group in [None, Some("g")] {
        let mut consumer = poller.consumer(&s(), &t());
        if let Some(group) = group {
            consumer = consumer.group(group);
        }
        let mut consumer = consumer.build().await.unwrap();
        for _ in 0..3 {
            soon(consumer.next()).await.unwrap().unwrap();
        }
        consumer.close().await.unwrap();
    }
    let producer = poller.producer(&s(), &t()).build().await.unwrap();
    let refused = producer.send_and_confirm(Message::new("x")).await.unwrap_err();
    assert!(refused.to_string().contains("permission denied"), "{refused}");
    let deleted = poller.delete_consumer_group(&s(), &t(), &named("g")).await.unwrap_err();
    assert_eq!(deleted.code(), Some(ErrorCode::Unauthorized));
}
