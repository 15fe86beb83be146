//! Users, what they may do, and tokens.

use std::time::Duration;

use galgo::wire::permission::GlobalPermissions;
use galgo::{
    ConnectError, Credentials, ErrorCode, Permissions, UserOptions, UserStatus, UserUpdate,
};

use crate::place::{Place, named};

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
