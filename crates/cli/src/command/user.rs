//! `galgo user`: list, show, create, change and delete users, and change passwords.

use clap::{Args, Subcommand, ValueEnum};
use galgo::model::{User, UserDetails};
use galgo::{Client, ErrorCode, Identifier, UserOptions, UserStatus, UserUpdate};
use serde_json::{Value, json};

use crate::command::permission::{Grants, NamedPermissions};
use crate::confirm::Confirm;
use crate::dial::Target;
use crate::failure::{Failure, Outcome};
use crate::noun::stream::{number_note, shown};
use crate::noun::user::find;
use crate::output::text::visible;
use crate::output::{Output, table};
use crate::secret::SecretFrom;
use crate::value::time::show_time_short;

/// Arguments of `galgo user`.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List the users
    List,
    /// Show a user and what it may do
    Get {
        /// Name or number of the user
        user: Identifier,
    },
    /// Create a user; the password is asked for
    Create(CreateUserArgs),
    /// Delete a user with its tokens; its connections are closed
    Delete {
        /// Name or number of the user
        user: Identifier,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Change the name of a user, or whether it may log in
    Update(UpdateUserArgs),
    /// Rename a user
    Rename {
        /// Name or number of the user
        user: Identifier,
        /// Its new name
        name: String,
    },
    /// Let a user log in
    Activate {
        /// Name or number of the user
        user: Identifier,
    },
    /// Let a user no longer log in; its logins end, on every connection
    Deactivate {
        /// Name or number of the user
        user: Identifier,
    },
    /// Change a password; the current one is needed whoever asks
    Password(PasswordArgs),
    /// Set the password of a user without the current one; its logins and tokens end
    ///
    /// For administrators: it takes the right to manage users, and every right that the user has. One's
    /// own password is changed with galgo user password.
    ResetPassword(ResetArgs),
}

/// Arguments of `galgo user create`.
#[derive(Args, Debug)]
pub(crate) struct CreateUserArgs {
    /// The name, 3 to 50 bytes
    name: String,
    /// May not log in yet
    #[arg(long)]
    inactive: bool,
    #[command(flatten)]
    grants: Grants,
    #[command(flatten)]
    secret: SecretFrom,
}

/// Arguments of `galgo user update`.
#[derive(Args, Debug)]
pub(crate) struct UpdateUserArgs {
    /// Name or number of the user
    user: Identifier,
    /// A new name
    #[arg(long)]
    name: Option<String>,
    /// Whether it may log in
    #[arg(long, value_enum)]
    status: Option<Status>,
}

/// Arguments of `galgo user password`.
#[derive(Args, Debug)]
pub(crate) struct PasswordArgs {
    /// Name or number of the user; who is logged in, when left out
    user: Option<Identifier>,
    /// Take the new password from this environment variable
    #[arg(long, value_name = "VARIABLE")]
    new_password_env: Option<String>,
    #[command(flatten)]
    secret: SecretFrom,
}

/// Arguments of `galgo user reset-password`.
#[derive(Args, Debug)]
pub(crate) struct ResetArgs {
    /// Name or number of the user
    user: Identifier,
    #[command(flatten)]
    secret: SecretFrom,
}

/// Whether a user may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Status {
    /// May.
    Active,
    /// May not.
    Inactive,
}

impl From<Status> for UserStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Inactive => Self::Inactive,
        }
    }
}

/// Runs the command.
pub(crate) async fn run(target: &Target, command: UserCommand) -> Outcome {
    let output = target.output;
    match command {
        UserCommand::List => list(&target.connect().await?, output).await,
        UserCommand::Get { user } => get(&target.connect().await?, output, &user).await,
        UserCommand::Create(args) => create(target, args).await,
        UserCommand::Delete { user, confirm } => {
            let name = shown(&user);
            confirm.ask(&format!("Delete user {name} with its tokens?"))?;
            target.connect().await?.delete_user(&user).await?;
            output.done(&format!("user {name} deleted"), &fact("deleted", &user))
        }
        UserCommand::Update(args) => {
            if args.name.is_none() && args.status.is_none() {
                return Err(Failure::usage("nothing to change")
                    .hint("give at least one of --name, --status"));
            }
            update(target, &args.user, args.name, args.status).await
        }
        UserCommand::Rename { user, name } => update(target, &user, Some(name), None).await,
        UserCommand::Activate { user } => update(target, &user, None, Some(Status::Active)).await,
        UserCommand::Deactivate { user } => {
            update(target, &user, None, Some(Status::Inactive)).await
        }
        UserCommand::Password(args) => password(target, args).await,
        UserCommand::ResetPassword(args) => reset_password(target, args).await,
    }
}

fn fact(deed: &str, user: &Identifier) -> Value {
    json!({ deed: "user", "user": user.to_string() })
}

async fn list(client: &Client, output: Output) -> Outcome {
    let users = client.users().await?;
    output.tell(&users, |users| {
        let columns = [
            table::number("ID"),
            table::text("NAME"),
            table::text("STATUS"),
            table::text("CREATED"),
        ];
        let rows = users.iter().map(|user| {
            vec![
                user.id.to_string(),
                user.username.to_string(),
                user.status.to_string(),
                show_time_short(user.created_at.get()),
            ]
        });
        table::columns(&columns, rows, "no users")
    })
}

async fn get(client: &Client, output: Output, user: &Identifier) -> Outcome {
    let UserDetails { user, permissions } = find(client, user).await?;
    let permissions = permissions.unwrap_or_default();
    let listed = NamedPermissions::of(client, &permissions).await;
    let document = json!({
        "id": user.id,
        "username": user.username,
        "status": user.status,
        "created_at": user.created_at,
        "permissions": listed.json(),
    });
    output.tell(&document, |_| format!("{}\n\n{}", facts(&user), listed.text()))
}

fn facts(user: &User) -> String {
    table::facts([
        ("id", user.id.to_string()),
        ("name", user.username.to_string()),
        ("status", user.status.to_string()),
        ("created", show_time_short(user.created_at.get())),
    ])
}

async fn create(target: &Target, args: CreateUserArgs) -> Outcome {
    let client = target.connect().await?;
    let mut options = UserOptions::default();
    if args.inactive {
        options = options.status(UserStatus::Inactive);
    }
    if !args.grants.is_empty() {
        options = options.permissions(args.grants.resolve(&client).await?);
    }
    let password = args.secret.new_one(&format!("Password of {}: ", visible(&args.name)))?;
    let created = client.create_user(&args.name, &password, options).await?.user;
    let sentence = format!("user {} created, number {}", visible(&args.name), created.id)
        + &number_note(&args.name);
    target.output.done(&sentence, &json!({ "created": "user", "user": created }))
}

async fn update(
    target: &Target,
    user: &Identifier,
    name: Option<String>,
    status: Option<Status>,
) -> Outcome {
    let mut change = UserUpdate::default();
    let mut deeds = Vec::new();
    if let Some(name) = name {
        deeds.push(format!("renamed to {}", visible(&name)));
        change = change.username(name);
    }
    if let Some(status) = status {
        let status = UserStatus::from(status);
        deeds.push(format!("made {status}"));
        change = change.status(status);
    }
    assert!(!deeds.is_empty(), "a user that is changed is renamed or made something");
    target.connect().await?.update_user(user, change).await?;
    let sentence = format!("user {} {}", shown(user), deeds.join(" and "));
    target.output.done(&sentence, &fact("updated", user))
}

async fn password(target: &Target, args: PasswordArgs) -> Outcome {
    let client = target.connect().await?;
    let user = match args.user {
        Some(user) => user,
        None => match client.me().await?.client.user_id {
            Some(user) => Identifier::Numeric(user.get()),
            None => return Err(Failure::usage("nobody is logged in; name a user")),
        },
    };
    let name = shown(&user);
    let current = args.secret.existing(&format!("Current password of user {name}: "))?;
    let new = match args.new_password_env {
        Some(variable) => SecretFrom::variable(variable).new_one("")?,
        None if args.secret.is_variable() => {
            return Err(Failure::usage("the new password cannot be the current one")
                .hint("give it with --new-password-env VARIABLE"));
        }
        None => args.secret.new_one(&format!("New password of user {name}: "))?,
    };
    client.change_password(&user, &current, &new).await?;
    target.output.done(&format!("password of user {name} changed"), &fact("updated", &user))
}

async fn reset_password(target: &Target, args: ResetArgs) -> Outcome {
    let client = target.connect().await?;
    let name = shown(&args.user);
    let new = args.secret.new_one(&format!("New password of user {name}: "))?;
    client.reset_password(&args.user, &new).await.map_err(|error| {
        match error.code() {
            // More than the one flag is needed here, so the usual advice would mislead.
            Some(ErrorCode::Unauthorized) => Failure::from(error).hint(
                "it takes the right to manage users and every right that the user has; one's own \
                 password is changed with galgo user password",
            ),
            _ => Failure::from(error),
        }
    })?;
    let sentence = format!("password of user {name} set; its logins and tokens have ended");
    target.output.done(&sentence, &fact("updated", &args.user))
}
