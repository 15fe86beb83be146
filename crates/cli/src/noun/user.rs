//! Users.

use galgo::model::UserDetails;
use galgo::{Client, ErrorCode, Identifier};

use crate::failure::{Failure, Outcome};
use crate::noun::stream::shown;

/// The user, or the failure that says there is none.
pub(crate) async fn find(client: &Client, user: &Identifier) -> Outcome<UserDetails> {
    client.user(user).await?.ok_or_else(|| {
        Failure::missing(format!("user {}", shown(user)), ErrorCode::ResourceNotFound)
            .hint("galgo user list shows those there are")
    })
}
