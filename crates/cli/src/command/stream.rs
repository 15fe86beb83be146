//! `galgo stream`: list, create, show, rename, delete and purge streams.

use clap::Subcommand;
use galgo::{Client, Identifier};
use serde_json::json;

use crate::command::topic;
use crate::confirm::Confirm;
use crate::dial::Target;
use crate::failure::Outcome;
use crate::noun::stream::{missing, number_note, shown};
use crate::output::text::visible;
use crate::output::{Output, measure, table};
use crate::value::time::show_time_short;

/// Arguments of `galgo stream`.
#[derive(Debug, Subcommand)]
pub(crate) enum StreamCommand {
    /// List the streams
    List,
    /// Create a stream
    Create {
        /// Its name
        name: String,
    },
    /// Show a stream and its topics
    Get {
        /// Name or number of the stream
        stream: Identifier,
    },
    /// Rename a stream
    Update {
        /// Name or number of the stream
        stream: Identifier,
        /// Its new name
        name: String,
    },
    /// Delete a stream with all its topics and messages
    Delete {
        /// Name or number of the stream
        stream: Identifier,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Delete all messages and stored offsets of a stream; its topics stay
    Purge {
        /// Name or number of the stream
        stream: Identifier,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// Runs the command.
pub(crate) async fn run(target: &Target, command: StreamCommand) -> Outcome {
    let output = target.output;
    match command {
        StreamCommand::List => list(&target.connect().await?, output).await,
        StreamCommand::Create { name } => {
            let created = target.connect().await?.create_stream(&name).await?;
            let sentence =
                format!("stream {} created, number {}", visible(&name), created.stream.id)
                    + &number_note(&name);
            output.done(&sentence, &json!({ "created": "stream", "stream": created.stream }))
        }
        StreamCommand::Get { stream } => get(&target.connect().await?, output, &stream).await,
        StreamCommand::Update { stream, name } => {
            target.connect().await?.update_stream(&stream, &name).await?;
            let sentence = format!("stream {} renamed to {}", shown(&stream), visible(&name));
            output.done(&sentence, &json!({ "updated": "stream", "name": name }))
        }
        StreamCommand::Delete { stream, confirm } => {
            let name = shown(&stream);
            confirm.ask(&format!("Delete stream {name} with all its topics and messages?"))?;
            target.connect().await?.delete_stream(&stream).await?;
            let fact = json!({ "deleted": "stream", "stream": stream.to_string() });
            output.done(&format!("stream {name} deleted"), &fact)
        }
        StreamCommand::Purge { stream, confirm } => {
            let name = shown(&stream);
            confirm.ask(&format!("Delete all messages of stream {name}?"))?;
            target.connect().await?.purge_stream(&stream).await?;
            let fact = json!({ "purged": "stream", "stream": stream.to_string() });
            output.done(&format!("stream {name} purged"), &fact)
        }
    }
}

async fn list(client: &Client, output: Output) -> Outcome {
    let streams = client.streams().await?;
    output.tell(&streams, |streams| {
        let columns = [
            table::number("ID"),
            table::text("NAME"),
            table::number("TOPICS"),
            table::number("MESSAGES"),
            table::number("SIZE"),
            table::text("CREATED"),
        ];
        let rows = streams.iter().map(|stream| {
            vec![
                stream.id.to_string(),
                stream.name.to_string(),
                measure::count(u64::from(stream.topics_count)),
                measure::count(stream.messages_count),
                measure::bytes(stream.size),
                show_time_short(stream.created_at.get()),
            ]
        });
        table::columns(
            &columns,
            rows,
            "there are no streams; create one with: galgo stream create NAME",
        )
    })
}

async fn get(client: &Client, output: Output, stream: &Identifier) -> Outcome {
    let Some(details) = client.stream(stream).await? else {
        return Err(missing(stream));
    };
    output.tell(&details, |details| {
        let stream = &details.stream;
        let facts = table::facts([
            ("id", stream.id.to_string()),
            ("name", stream.name.to_string()),
            ("created", show_time_short(stream.created_at.get())),
            ("topics", measure::count(u64::from(stream.topics_count))),
            ("messages", measure::count(stream.messages_count)),
            ("size", measure::bytes(stream.size)),
        ]);
        format!("{facts}\n\n{}", topic::topics_table(&details.topics))
    })
}
