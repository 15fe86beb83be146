//! One file per noun: its arguments, what it asks of the server, how it shows the answer.

pub(crate) mod bench;
pub(crate) mod complete;
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

use crate::args::{self, Cli, Command};
use crate::connect::wait_until_closed;
use crate::failure::{Failure, Outcome};

/// Runs the command to its end.
pub(crate) fn run(cli: Cli) -> Outcome {
    let Cli { global, command } = cli;
    let target = || global.target();
    match command {
        Command::Server(args) => {
            let hint = "where it listens are --tcp, --quic, --websocket and --http; TLS is set in its file";
            global.refuse_connection_options("the server itself", hint)?;
            server::run(args, global.output())
        }
        Command::Repair(args) => {
            let hint = "it works on the files of a server that does not run";
            global.refuse_connection_options("a data directory", hint)?;
            repair::run(args, global.output())
        }
        Command::Bench(command) => bench::run(command, &global),
        Command::Completions(args) => complete::completions(args, args::command()),
        Command::Man(args) => complete::man(&args, args::command(), global.output()),
        Command::Login(args) => block_on(login::login(&global, args)),
        Command::Logout(args) => block_on(login::logout(&global, args)),
        Command::Profile(command) => login::profile(global.output(), command),
        Command::Mirror(args) => block_on(mirror::run(&global, args)),
        Command::Ping(args) => block_on(system::ping(&target()?, args)),
        Command::Stats => block_on(system::stats(&target()?)),
        Command::Me => block_on(system::me(&target()?)),
        Command::Clients => block_on(system::clients(&target()?)),
        Command::Client(command) => block_on(system::client(&target()?, command)),
        Command::Snapshot(args) => block_on(snapshot::run(&target()?, args)),
        Command::User(command) => block_on(user::run(&target()?, command)),
        Command::Permission(command) => block_on(permission::run(&target()?, command)),
        Command::Token(command) => block_on(token::run(&target()?, command)),
        Command::Group(command) => block_on(group::run(&target()?, command)),
        Command::Segment(command) => block_on(segment::run(&target()?, command)),
        Command::Stream(command) => block_on(stream::run(&target()?, command)),
        Command::Topic(command) => block_on(topic::run(&target()?, command)),
        Command::Partition(command) => block_on(partition::run(&target()?, command)),
        Command::Send(args) => block_on(send::run(&target()?, args)),
        Command::Poll(args) => block_on(poll::run(&target()?, args)),
        Command::Tail(args) => block_on(tail::run(&target()?, args)),
        Command::Offset(command) => block_on(offset::run(&target()?, command)),
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
