//! `galgo ping`, `stats`, `me` and `clients`: the server as a whole.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use galgo::model::{Client, ClientDetails, Stats};
use galgo::{ErrorCode, Identifier};
use serde::Serialize;

use crate::dial::Target;
use crate::failure::{Failure, Outcome};
use crate::output::text::visible;
use crate::output::{measure, table};
use crate::value::time::show_time_short;

/// Arguments of `galgo ping`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct PingArgs {
    /// How many times
    #[arg(long, short, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
}

/// Arguments of `galgo client`.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// List the connected clients
    List,
    /// Show one client and the consumer groups it is in
    Get {
        /// Its number
        client: u32,
    },
    /// Show this connection as the server sees it
    Me,
}

#[derive(Serialize)]
struct Pong {
    server: String,
    count: u32,
    fastest_us: f64,
    mean_us: f64,
    slowest_us: f64,
}

/// Times the answers of the server.
pub(crate) async fn ping(target: &Target, args: PingArgs) -> Outcome {
    let client = target.connect_as_given().await?;
    let mut times = Vec::new();
    for _ in 0..args.count {
        let asked = Instant::now();
        client.ping().await.map_err(unanswered)?;
        times.push(asked.elapsed().as_secs_f64() * 1e6);
    }
    let pong = Pong {
        server: client.address().to_owned(),
        count: args.count,
        fastest_us: times.iter().copied().fold(f64::INFINITY, f64::min),
        mean_us: times.iter().sum::<f64>() / f64::from(args.count.max(1)),
        slowest_us: times.iter().copied().fold(0.0, f64::max),
    };
    target.output.tell(&pong, |pong| {
        let micros = |value: f64| measure::duration(Duration::from_secs_f64(value / 1e6));
        if pong.count == 1 {
            return format!("{} answered in {}", pong.server, micros(pong.mean_us));
        }
        format!(
            "{} answered {} pings in {} to {}, {} on average",
            pong.server,
            measure::count(u64::from(pong.count)),
            micros(pong.fastest_us),
            micros(pong.slowest_us),
            micros(pong.mean_us),
        )
    })
}

/// A ping that was not answered: nothing hangs on whether it arrived, and without a login it may be the
/// first thing that was said to whatever listens there.
fn unanswered(error: galgo::CallError) -> Failure {
    let failure = Failure::from(error);
    if !failure.is_connection() {
        return failure;
    }
    failure.hint("check that the port is that of the transport, and whether it wants TLS")
}

/// Shows what the server holds and uses.
pub(crate) async fn stats(target: &Target) -> Outcome {
    let client = target.connect().await?;
    let stats = client.stats().await?;
    // A classic server is asked for nothing more; its own version is all there is.
    let server = client.server().await?.map(|server| format!("{} {}", server.name, server.version));
    target.output.tell(&ServerStats { server, stats }, stats_table)
}

#[derive(Serialize)]
struct ServerStats {
    /// Name and version, when the server tells; the other version is that of the protocol.
    server: Option<String>,
    #[serde(flatten)]
    stats: Stats,
}

fn stats_table(ServerStats { server, stats }: &ServerStats) -> String {
    let micros = Duration::from_micros;
    table::facts([
        ("server", server.clone().unwrap_or_else(|| "a classic one".to_owned())),
        ("protocol", format!("Iggy {}", stats.server_version)),
        ("host", stats.hostname.clone()),
        ("system", format!("{} {}", stats.os_name, stats.os_version)),
        ("kernel", stats.kernel_version.clone()),
        ("process", stats.process_id.to_string()),
        ("started", show_time_short(stats.start_time.get())),
        ("running for", measure::duration(micros(stats.run_time))),
        ("processor", format!("{:.1} %", stats.cpu_usage)),
        ("memory", measure::bytes(stats.memory_usage)),
        ("threads", stats.threads_count.to_string()),
        ("read from disk", measure::bytes(stats.read_bytes)),
        ("written to disk", measure::bytes(stats.written_bytes)),
        ("disk free", measure::bytes(stats.free_disk_space)),
        ("streams", measure::count(u64::from(stats.streams_count))),
        ("topics", measure::count(u64::from(stats.topics_count))),
        ("partitions", measure::count(u64::from(stats.partitions_count))),
        ("segments", measure::count(u64::from(stats.segments_count))),
        ("messages", measure::count(stats.messages_count)),
        ("size", measure::bytes(stats.messages_size_bytes)),
        ("clients", measure::count(u64::from(stats.clients_count))),
        ("consumer groups", measure::count(u64::from(stats.consumer_groups_count))),
    ])
}

/// Shows this connection as the server sees it.
pub(crate) async fn me(target: &Target) -> Outcome {
    let client = target.connect().await?;
    let me = client.me().await?;
    let named = Named { username: name_of(&client, &me.client).await, client: me };
    target.output.tell(&named, me_table)
}

/// A connection, and what its user is called when the caller may know.
#[derive(Serialize)]
struct Named<T> {
    username: Option<String>,
    #[serde(flatten)]
    client: T,
}

/// The name of one user; the server may not tell it to everybody.
async fn name_of(client: &galgo::Client, of: &Client) -> Option<String> {
    let id = of.user_id?;
    let user = client.user(&Identifier::Numeric(id.get())).await;
    Some(user.ok()??.user.username.to_string())
}

fn me_table(named: &Named<ClientDetails>) -> String {
    let me = &named.client;
    let facts = table::facts([
        ("client", me.client.client_id.to_string()),
        ("user", user(&me.client, named.username.as_deref())),
        ("transport", me.client.transport.to_string()),
        ("address", me.client.address.clone()),
        ("consumer groups", me.consumer_groups.len().to_string()),
    ]);
    if me.consumer_groups.is_empty() {
        return facts;
    }
    let columns = [table::number("STREAM"), table::number("TOPIC"), table::number("GROUP")];
    let rows = me.consumer_groups.iter().map(|group| {
        vec![group.stream_id.to_string(), group.topic_id.to_string(), group.group_id.to_string()]
    });
    format!("{facts}\n\n{}", table::columns(&columns, rows, ""))
}

/// Runs `galgo client`.
pub(crate) async fn client(target: &Target, command: ClientCommand) -> Outcome {
    match command {
        ClientCommand::List => clients(target).await,
        ClientCommand::Me => me(target).await,
        ClientCommand::Get { client } => {
            let connection = target.connect().await?;
            let found = connection.client_info(client).await?;
            let found = found.ok_or_else(|| {
                Failure::missing(format!("client {client}"), ErrorCode::ClientNotFound)
                    .hint("galgo client list shows those that are connected")
            })?;
            let username = name_of(&connection, &found.client).await;
            target.output.tell(&Named { username, client: found }, me_table)
        }
    }
}

/// Lists the connected clients.
pub(crate) async fn clients(target: &Target) -> Outcome {
    let client = target.connect().await?;
    let clients = client.clients().await?;
    // Whoever may list connections may not be allowed to list users.
    let users = client.users().await.unwrap_or_default();
    let name = |client: &Client| {
        let found = users.iter().find(|user| Some(user.id) == client.user_id);
        found.map(|user| user.username.to_string())
    };
    let named = clients.into_iter().map(|client| Named { username: name(&client), client });
    let clients: Vec<_> = named.collect();
    target.output.tell(&clients, |clients| {
        let columns = [
            table::number("CLIENT"),
            table::text("USER"),
            table::text("TRANSPORT"),
            table::text("ADDRESS"),
            table::number("GROUPS"),
        ];
        let rows = clients.iter().map(|Named { username, client }| {
            vec![
                client.client_id.to_string(),
                user(client, username.as_deref()),
                client.transport.to_string(),
                client.address.clone(),
                client.consumer_groups_count.to_string(),
            ]
        });
        table::columns(&columns, rows, "no clients")
    })
}

fn user(client: &Client, username: Option<&str>) -> String {
    match (client.user_id, username) {
        (None, _) => "not logged in".to_owned(),
        (Some(id), None) => id.to_string(),
        (Some(id), Some(name)) => format!("{} ({id})", visible(name)),
    }
}
