//! `galgo permission`: show, set and take away what a user may do.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use galgo::GlobalPermissions;
use galgo::{Client, Identifier, Permissions};
use galgo::{StreamId, TopicId};
use serde_json::{Value, json};

use crate::confirm::Confirm;
use crate::dial::Target;
use crate::failure::{Failure, Outcome};
use crate::noun::topic::TopicPath;
use crate::noun::{stream, user};
use crate::output::table;
use crate::value::permission::{
    StreamGrant, TopicGrant, names, parse_global, parse_stream, parse_topic, show,
};

const AFTER_HELP: &str = "\
Flags, divided by commas, or `all`:
  --global                manage-servers read-servers manage-users read-users manage-streams
                          read-streams manage-topics read-topics poll-messages send-messages
  --stream STREAM:…       manage-stream read-stream manage-topics read-topics poll-messages
                          send-messages
  --topic STREAM/TOPIC:…  manage-topic read-topic poll-messages send-messages

One flag that allows an action is enough, wherever it is. To manage includes to read, to poll and to
send; to read topics includes to poll. A stream whose name has a slash is named by its number.";

/// Arguments of `galgo permission`.
#[derive(Debug, Subcommand)]
#[command(after_help = AFTER_HELP)]
pub(crate) enum PermissionCommand {
    /// Show what a user may do
    Show {
        /// Name or number of the user
        user: Identifier,
    },
    /// Replace what a user may do; takes effect at once
    #[command(after_help = AFTER_HELP)]
    Set {
        /// Name or number of the user
        user: Identifier,
        #[command(flatten)]
        grants: Grants,
    },
    /// Take away all a user may do
    Clear {
        /// Name or number of the user
        user: Identifier,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// Permissions on the command line.
#[derive(Args, Clone, Debug)]
pub(crate) struct Grants {
    /// What may be done on the whole server
    #[arg(long, value_name = "FLAGS", value_parser = parse_global)]
    global: Option<GlobalPermissions>,
    /// What may be done in a stream; may be given several times
    #[arg(long, value_name = "STREAM:FLAGS", value_parser = parse_stream)]
    stream: Vec<StreamGrant>,
    /// What may be done with a topic; may be given several times
    #[arg(long, value_name = "STREAM/TOPIC:FLAGS", value_parser = parse_topic)]
    topic: Vec<TopicGrant>,
}

impl Grants {
    /// Whether nothing is granted.
    pub(crate) fn is_empty(&self) -> bool {
        self.global.is_none() && self.stream.is_empty() && self.topic.is_empty()
    }

    /// The permissions, with the names looked up.
    pub(crate) async fn resolve(&self, client: &Client) -> Outcome<Permissions> {
        let mut permissions =
            Permissions { global: self.global.unwrap_or_default(), streams: BTreeMap::new() };
        for (name, flags) in &self.stream {
            let id = stream_id(client, name).await?;
            permissions.streams.entry(id).or_default().flags = *flags;
        }
        for (stream, topic, flags) in &self.topic {
            let id = stream_id(client, stream).await?;
            let path = TopicPath { stream: stream.clone(), topic: topic.clone() };
            let topic = path.details(client).await?.topic.id;
            permissions.streams.entry(id).or_default().topics.insert(topic, *flags);
        }
        Ok(permissions)
    }
}

async fn stream_id(client: &Client, name: &Identifier) -> Outcome<StreamId> {
    let details = client.stream(name).await?.ok_or_else(|| stream::missing(name))?;
    Ok(details.stream.id)
}

/// Runs the command.
pub(crate) async fn run(target: &Target, command: PermissionCommand) -> Outcome {
    let output = target.output;
    match command {
        PermissionCommand::Show { user } => {
            let client = target.connect().await?;
            let details = user::find(&client, &user).await?;
            let permissions = details.permissions.unwrap_or_default();
            let listed = NamedPermissions::of(&client, &permissions).await;
            let mut document = listed.json();
            document["user"] = json!(details.user.username);
            document["user_id"] = json!(details.user.id);
            output.tell(&document, |_| listed.text())
        }
        PermissionCommand::Set { user, grants } => {
            if grants.is_empty() {
                return Err(Failure::usage("no permissions are given").hint(
                    "give --global, --stream or --topic; galgo permission clear takes all away",
                ));
            }
            let client = target.connect().await?;
            let permissions = grants.resolve(&client).await?;
            client.update_permissions(&user, Some(permissions)).await?;
            let sentence = format!("permissions of user {} replaced", stream::shown(&user));
            output.done(&sentence, &fact("updated", &user))
        }
        PermissionCommand::Clear { user, confirm } => {
            let name = stream::shown(&user);
            confirm.ask(&format!("Take away all permissions of user {name}?"))?;
            target.connect().await?.update_permissions(&user, None).await?;
            output.done(&format!("user {name} has no permissions now"), &fact("cleared", &user))
        }
    }
}

fn fact(deed: &str, user: &Identifier) -> Value {
    json!({ deed: "permissions", "user": user.to_string() })
}

/// Permissions with the names of what they are about.
pub(crate) struct NamedPermissions<'a> {
    permissions: &'a Permissions,
    streams: BTreeMap<StreamId, Option<String>>,
    topics: BTreeMap<(StreamId, TopicId), Option<String>>,
}

impl<'a> NamedPermissions<'a> {
    /// Looks the names up; what is gone or may not be read stays a number.
    pub(crate) async fn of(client: &Client, permissions: &'a Permissions) -> Self {
        let (mut streams, mut topics) = (BTreeMap::new(), BTreeMap::new());
        for (id, granted) in &permissions.streams {
            let stream = Identifier::Numeric(id.get());
            let found = client.stream(&stream).await.ok().flatten();
            streams.insert(*id, found.map(|details| details.stream.name.to_string()));
            for topic in granted.topics.keys() {
                let found = client.topic(&stream, &Identifier::Numeric(topic.get())).await;
                let name = found.ok().flatten().map(|details| details.topic.name.to_string());
                topics.insert((*id, *topic), name);
            }
        }
        Self { permissions, streams, topics }
    }

    fn stream(&self, id: StreamId) -> String {
        let Some(name) = self.streams.get(&id) else {
            unreachable!("every stream with a right was asked for its name");
        };
        name.clone().unwrap_or_else(|| format!("#{id}"))
    }

    fn topic(&self, stream: StreamId, id: TopicId) -> String {
        let Some(name) = self.topics.get(&(stream, id)) else {
            unreachable!("every topic with a right was asked for its name");
        };
        let name = name.clone().unwrap_or_else(|| format!("#{id}"));
        format!("{}/{name}", self.stream(stream))
    }

    /// One line for each place.
    pub(crate) fn text(&self) -> String {
        let mut rows = Vec::new();
        if self.permissions.global != GlobalPermissions::default() {
            let flags = show(&self.permissions.global);
            rows.push(vec!["global".to_owned(), "-".to_owned(), flags]);
        }
        for (id, granted) in &self.permissions.streams {
            if !names(&granted.flags).is_empty() {
                rows.push(vec!["stream".to_owned(), self.stream(*id), show(&granted.flags)]);
            }
            for (topic, flags) in &granted.topics {
                rows.push(vec!["topic".to_owned(), self.topic(*id, *topic), show(flags)]);
            }
        }
        let columns = [table::text("SCOPE"), table::text("NAME"), table::text("MAY")];
        table::columns(&columns, rows, "no permissions")
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let streams = self.permissions.streams.iter().map(|(id, granted)| {
            let topics = granted.topics.iter().map(|(topic, flags)| {
                let name = self.topics.get(&(*id, *topic));
                json!({ "id": topic, "name": name, "permissions": names(flags) })
            });
            json!({
                "id": id,
                "name": self.streams.get(id),
                "permissions": names(&granted.flags),
                "topics": topics.collect::<Vec<_>>(),
            })
        });
        json!({
            "global": names(&self.permissions.global),
            "streams": streams.collect::<Vec<_>>(),
        })
    }
}
