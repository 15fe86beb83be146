//! The command line: the options of every command and one subcommand per noun.

mod help;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::command::{
    bench, complete, connect, group, login, mirror, offset, partition, permission, poll, repair,
    segment, send, server, snapshot, stream, system, tail, token, topic, user,
};
use crate::global::Global;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  a file, the terminal or the tool itself failed
  2  the command line makes no sense, or a question was answered with no
  3  no server answered, or the connection broke
  4  the server answered and refused
  5  a pipeline of galgo connect stopped by itself: it was tried for long enough

Environment:
  GALGO_SERVER                    where the server is, like --server
  GALGO_PROFILE                   the profile to use, like --profile
  GALGO_USERNAME, GALGO_PASSWORD  credentials, when the URL has none
  NO_COLOR                        no colors, even on a terminal";

const ABOUT: &str = "\
Galgo, a message-streaming server that keeps its word: the server and every client command.

Streams and topics are named by their name or their number: an argument of digits is a number,
~7 is what is named 7.";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "galgo", version, about = ABOUT, after_help = EXIT_CODES)]
#[command(propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: GalgoCommand,
}

/// One subcommand per noun, as in `docs` and as users of other tools expect.
#[derive(Debug, Subcommand)]
pub(crate) enum GalgoCommand {
    /// Run the server
    Server(server::ServerArgs),
    /// Restore what a data directory has lost, while no server runs on it
    Repair(repair::RepairArgs),
    /// Log in to a server and keep a token for it, not the password, in a profile
    Login(login::LoginArgs),
    /// Delete the token of a profile, and the profile
    Logout(login::LogoutArgs),
    /// List the profiles
    #[command(subcommand)]
    Profile(login::ProfileCommand),
    /// Ask the server whether it is there, and time the answer
    Ping(system::PingArgs),
    /// Show what the server holds and uses
    Stats,
    /// Short for galgo client me
    #[command(hide = true)]
    Me,
    /// Short for galgo client list
    #[command(hide = true)]
    Clients,
    /// List the connected clients, show one, or this connection itself
    #[command(subcommand)]
    Client(system::ClientCommand),
    /// Write an archive of the server's state, to look into a problem
    Snapshot(snapshot::SnapshotArgs),
    /// List, create, get, change and delete users
    #[command(subcommand)]
    User(user::UserCommand),
    /// Show, set and take away what a user may do
    #[command(subcommand)]
    Permission(permission::PermissionCommand),
    /// List, create and delete your personal access tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// List, create, get, update, delete and purge streams
    #[command(subcommand)]
    Stream(stream::StreamCommand),
    /// List, create, get, update, delete and purge topics
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Add and remove partitions of a topic
    #[command(subcommand)]
    Partition(partition::PartitionCommand),
    /// Delete the oldest segments of a partition
    #[command(subcommand)]
    Segment(segment::SegmentCommand),
    /// List, create, get and delete consumer groups
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// Send lines of a file or of standard input, one message each
    Send(send::SendArgs),
    /// Read one batch of messages of a partition
    Poll(poll::PollArgs),
    /// Show the newest messages of a topic, and those to come
    Tail(tail::TailArgs),
    /// Copy a topic from one server to another, and go on where a copy stopped
    Mirror(mirror::MirrorArgs),
    /// Run pipelines between topics and databases, queues, files and programs
    #[command(subcommand)]
    Connect(connect::ConnectCommand),
    /// Read, set and delete the stored offset of a consumer
    #[command(subcommand)]
    Offset(offset::OffsetCommand),
    /// Measure a server: put it under load, and compare saved runs
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Print completions for a shell
    Completions(complete::CompletionsArgs),
    /// Write manual pages
    Man(complete::ManArgs),
}

/// The command line as clap takes it, its help ready for any width.
pub(crate) fn command() -> clap::Command {
    help::unwrapped(Cli::command())
}

/// Parses the arguments of this process.
///
/// # Errors
/// What clap says of them; a wish for help or the version is one, too.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    let mut matches = command().try_get_matches()?;
    Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command()))
}

/// Whether a command line that could not be parsed asks for JSON.
pub(crate) fn wants_json(arguments: impl Iterator<Item = String>) -> bool {
    let arguments: Vec<String> = arguments.collect();
    let pair = |pair: &[String]| pair == ["--output", "json"];
    arguments.windows(2).any(pair) || arguments.iter().any(|one| one == "--output=json")
}

#[cfg(test)]
mod tests;
