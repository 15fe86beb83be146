//! One file per noun: its arguments, what it asks of the server, how it shows the answer.

pub(crate) mod bench;
pub(crate) mod complete;
pub(crate) mod connect;
pub(crate) mod group;
pub(crate) mod login;
pub(crate) mod mirror;
pub(crate) mod offset;
pub(crate) mod partition;
pub(crate) mod permission;
pub(crate) mod poll;
pub(crate) mod repair;
pub(crate) mod segment;
pub(crate) mod send;
pub(crate) mod server;
pub(crate) mod snapshot;
pub(crate) mod stream;
pub(crate) mod system;
pub(crate) mod tail;
pub(crate) mod token;
pub(crate) mod topic;
pub(crate) mod user;

use std::future::Future;

use crate::args::{self, Cli, GalgoCommand};
use crate::dial::wait_until_closed;
use crate::failure::{Failure, Outcome};

/// Runs the command to its end.
pub(crate) fn run(cli: Cli) -> Outcome {
    let Cli { global, command } = cli;
    let target = || global.target();
    match command {
        GalgoCommand::Server(args) => {
            let hint = "where it listens are --tcp, --quic, --websocket and --http; TLS is set in its file";
            global.refuse_connection_options("the server itself", hint)?;
            server::run(args, global.output())
        }
        GalgoCommand::Repair(args) => {
            let hint = "it works on the files of a server that does not run";
            global.refuse_connection_options("a data directory", hint)?;
            repair::run(args, global.output())
        }
        GalgoCommand::Bench(command) => bench::run(command, &global),
        GalgoCommand::Completions(args) => complete::completions(args, args::command()),
        GalgoCommand::Man(args) => complete::man(&args, args::command(), global.output()),
        GalgoCommand::Login(args) => block_on(login::login(&global, args)),
        GalgoCommand::Logout(args) => block_on(login::logout(&global, args)),
        GalgoCommand::Profile(command) => login::profile(global.output(), command),
        GalgoCommand::Connect(command) => connect::run(command, &global),
        GalgoCommand::Mirror(args) => block_on(mirror::run(&global, args)),
        GalgoCommand::Ping(args) => block_on(system::ping(&target()?, args)),
        GalgoCommand::Stats => block_on(system::stats(&target()?)),
        GalgoCommand::Me => block_on(system::me(&target()?)),
        GalgoCommand::Clients => block_on(system::clients(&target()?)),
        GalgoCommand::Client(command) => block_on(system::client(&target()?, command)),
        GalgoCommand::Snapshot(args) => block_on(snapshot::run(&target()?, args)),
        GalgoCommand::User(command) => block_on(user::run(&target()?, command)),
        GalgoCommand::Permission(command) => block_on(permission::run(&target()?, command)),
        GalgoCommand::Token(command) => block_on(token::run(&target()?, command)),
        GalgoCommand::Group(command) => block_on(group::run(&target()?, command)),
        GalgoCommand::Segment(command) => block_on(segment::run(&target()?, command)),
        GalgoCommand::Stream(command) => block_on(stream::run(&target()?, command)),
        GalgoCommand::Topic(command) => block_on(topic::run(&target()?, command)),
        GalgoCommand::Partition(command) => block_on(partition::run(&target()?, command)),
        GalgoCommand::Send(args) => block_on(send::run(&target()?, args)),
        GalgoCommand::Poll(args) => block_on(poll::run(&target()?, args)),
        GalgoCommand::Tail(args) => block_on(tail::run(&target()?, args)),
        GalgoCommand::Offset(command) => block_on(offset::run(&target()?, command)),
    }
}

/// Client commands wait on one connection: one thread is enough and starts fastest.
fn block_on(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io(format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(async {
        let outcome = work.await;
        wait_until_closed().await;
        outcome
    });
    // A reader stuck on standard input must not keep the process alive.
    runtime.shutdown_background();
    outcome
}
