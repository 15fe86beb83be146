//! The broker: takes a session and a request, gives an answer. Knows no transport and no socket.
//!
//! Commands that only read memory, and appends, are answered on the calling thread. Whatever may
//! block (metadata writes, password hashes, reads from the disk) comes back as
//! [`Outcome::Offload`].

pub(crate) mod change;
#[cfg(test)]
mod crash_tests;
mod credentials;
mod evidence;
mod groups;
mod ledger;
mod offline;
mod open;
mod shards;
mod stored;
mod worker;

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use galgo_storage::data_dir::DataDir;
use galgo_storage::lock::{RankedRw, rank};
use galgo_wire::command::{CommandCode, PollInLife, PollMessages, Request};
use galgo_wire::identifier::Identifier;

pub use evidence::Incomplete;
pub use groups::GroupOptions;
pub use offline::{Acceptance, Offline, OfflineOptions, RepairReport, RepairedFile, RootReset};
pub use open::{
    BrokerOptions, FirstUser, JournalBounds, LogBounds, OfflineLog, OpenError, OpenReport,
    RecoveredLog,
};
pub use shards::Shards;
pub use worker::Worker;

use self::ledger::Ledger;
use crate::access::guard::{AccessOptions, LoginGuard};
use crate::catalog::Catalog;
use crate::clients::{Clients, Peer};
use crate::command;
use crate::environment::{Clock, Random};
use crate::metadata::prepare::TopicDefaults;
use crate::outcome::{Outcome, Reply};
use crate::partition::{AnswerBounds, DeduplicationBounds, IdKey};
use crate::session::Session;
use crate::shard::CheckpointError;
use crate::snapshot::SnapshotSources;
use crate::stats::process::{ProcessReader, SystemNames};
use crate::stats::{CounterValues, Counters, Totals};
use crate::trail::Trail;
use crate::upkeep::{self, HeldBack, Retention};

/// Where this node listens, for clients that ask for the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenAddresses {
    /// Host part of the TCP address.
    pub ip: String,
    /// Bound port, 0 when the transport is off.
    pub tcp_port: u16,
    /// Bound port, 0 when the transport is off.
    pub quic_port: u16,
    /// Bound port, 0 when the transport is off.
    pub http_port: u16,
    /// Bound port, 0 when the transport is off.
    pub websocket_port: u16,
}

/// A running broker over one data directory.
pub struct Broker {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) ledger: Ledger,
    pub(crate) clients: Arc<Clients>,
    pub(crate) defaults: TopicDefaults,
    pub(crate) access: AccessOptions,
    pub(crate) guard: LoginGuard,
    pub(crate) trail: Arc<Trail>,
    pub(crate) deduplication: DeduplicationBounds,
    pub(crate) endpoints: RankedRw<{ rank::SETTINGS }, ListenAddresses>,
    pub(crate) process: ProcessReader,
    pub(crate) names: SystemNames,
    pub(crate) started_us: StartTimes,
    pub(crate) retention: Retention,
    pub(crate) id_key: IdKey,
    pub(crate) snapshot_sources: RankedRw<{ rank::SETTINGS }, Option<Arc<dyn SnapshotSources>>>,
    groups: groups::GroupTimes,
    pub(crate) counters: Arc<Counters>,
    /// When expired credentials were last looked for, by the monotonic clock.
    cleaned_us: AtomicU64,
}

/// When the broker was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartTimes {
    pub(crate) wall_us: u64,
    pub(crate) monotonic_us: u64,
}

impl Broker {
    /// Opens the broker on its data directory, recovering what an unclean stop left.
    ///
    /// # Errors
    /// [`OpenError`]; nothing on disk was deleted then.
    pub fn open(options: BrokerOptions) -> Result<(Arc<Self>, OpenReport), OpenError> {
        let data_dir = Self::claim(&options)?;
        Self::open_claimed(data_dir, options)
    }

    /// Locks the data directory, made when missing.
    ///
    /// # Errors
    /// [`OpenError::DataDir`].
    pub fn claim(options: &BrokerOptions) -> Result<DataDir, OpenError> {
        open::claim(options)
    }

    /// Opens the broker on a data directory that was claimed with the same options.
    ///
    /// # Errors
    /// [`OpenError`]; nothing on disk was deleted then.
    pub fn open_claimed(
        data_dir: DataDir,
        options: BrokerOptions,
    ) -> Result<(Arc<Self>, OpenReport), OpenError> {
        open::open_claimed(data_dir, options)
    }

    /// Adds a connection. Dropping the session removes it.
    #[must_use]
    pub fn connect(&self, peer: Peer) -> Session {
        Session::new(peer, Some(self.clients.register(peer)))
    }

    /// A session for requests from `peer` that nobody sees in the table of connections, as those over
    /// HTTP are.
    #[must_use]
    pub fn connect_unlisted(&self, peer: Peer) -> Session {
        Session::new(peer, None)
    }

    /// Runs one request.
    ///
    /// The payload of a send is stamped in place, so its bytes are not the same afterwards.
    pub fn submit(&self, session: &mut Session, code: u32, payload: &mut [u8]) -> Outcome {
        // Before everything else is decoded: a batch is read where it lies, and a request of its own would be a copy.
        if code == CommandCode::SendMessages.as_u32() {
            self.counters.requested(CommandCode::SendMessages);
            return command::send::send(self, session, payload);
        }
        if code == CommandCode::SendWith.as_u32() {
            self.counters.requested(CommandCode::SendWith);
            return command::send::send_with(self, session, payload);
        }
        match Request::decode(code, payload) {
            Ok(request) => self.submit_request(session, request),
            Err(code) => Outcome::done(Reply::Error(code)),
        }
    }

    /// Runs one request that came in another form than frames.
    pub fn submit_request(&self, session: &mut Session, request: Request) -> Outcome {
        self.counters.requested(request.code());
        command::run(self, session, request)
    }

    /// As [`Broker::submit_request`] with a poll whose answer has bounds of its own.
    pub fn poll(&self, session: &Session, command: &PollMessages, bounds: AnswerBounds) -> Outcome {
        self.counters.requested(CommandCode::PollMessages);
        let manner = command::answer::Manner { bounds, ..command::answer::Manner::CLASSIC };
        command::messages::poll(self, session, command, manner)
    }

    /// As [`Broker::poll`] in a life of a partition, without a wait.
    pub fn poll_in_life(
        &self,
        session: &Session,
        command: &PollInLife,
        bounds: AnswerBounds,
    ) -> Outcome {
        self.counters.requested(CommandCode::PollInLife);
        let form = command::answer::AnswerForm::InLife(command.life);
        let manner = command::answer::Manner { bounds, form };
        command::messages::poll(self, session, &command.poll, manner)
    }

    /// Where refusals are told of, for carriers that refuse what never gets here.
    #[must_use]
    pub fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Tells clients that ask for the cluster where this node listens.
    pub fn set_endpoints(&self, endpoints: ListenAddresses) {
        *self.endpoints.write() = endpoints;
    }

    /// Tells what snapshot archives are made from.
    pub fn set_snapshot_sources(&self, sources: Arc<dyn SnapshotSources>) {
        *self.snapshot_sources.write() = Some(sources);
    }

    /// Counters since the start.
    #[must_use]
    pub fn counters(&self) -> CounterValues {
        self.counters.values()
    }

    /// How many requests of each command were submitted since the start.
    #[must_use]
    pub fn requests(&self) -> Vec<(CommandCode, u64)> {
        self.counters.requests()
    }

    /// Whether a stream exists, for carriers that tell a missing one from an empty one. To be asked
    /// only after a command was allowed to look at it.
    #[must_use]
    pub fn has_stream(&self, stream: &Identifier) -> bool {
        self.catalog().find_stream(stream.borrowed()).is_ok()
    }

    /// As [`Broker::has_stream`] for a topic.
    #[must_use]
    pub fn has_topic(&self, stream: &Identifier, topic: &Identifier) -> bool {
        self.catalog().find_topic(stream.borrowed(), topic.borrowed()).is_ok()
    }

    /// Counts what there is, at this moment.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals::of(&self.catalog(), &self.clients)
    }

    /// Segments that are due and stay, as of the last look of retention.
    #[must_use]
    pub fn held_back(&self) -> Vec<HeldBack> {
        self.retention.held_back()
    }

    /// The directory the broker keeps its data in.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.ledger.data_dir.path().to_owned()
    }

    /// The shards, for whoever counts what they did, and a simulator that drives their rounds by hand.
    #[must_use]
    pub fn shards(&self) -> &Shards {
        &self.ledger.shards
    }

    /// Does what is due: looks whether the data directory is still there, removes the files of deleted
    /// partitions and of segments that were given up, and tokens and message ids that expired, drops clients
    /// that fell silent, notes how far partitions came and what the clocks say for a recovery, and looks what
    /// retention gives up. To be
    /// called every [`Broker::tick_interval`], on a thread that may block.
    pub fn tick(&self) {
        // First of all: everything below goes by the names of files.
        if !self.ledger.is_in_place() {
            return;
        }
        self.ledger.remove_files();
        // What was refused since the last tick, in one line for each kind.
        self.trail.tell(false);
        self.forget_expired();
        self.groups.keep_going(&self.clients, &self.ledger.catalog);
        self.ledger.shards.remove_dropped();
        let now = self.retention.look_at(&*self.clock);
        // First: what is stored from here on must not be left behind by a leap.
        self.ledger.shards.set_now(now.steady);
        // Before retention, which asks how old positions are.
        upkeep::follow_leap(self, now.steady);
        self.retention.record_clocks(&*self.ledger.disk, &self.ledger.data_dir);
        self.ledger.shards.note_ends();
        upkeep::retain(self, now);
        upkeep::forget_message_ids(self);
        self.look_after_fenced();
    }

    /// The loops without which nothing is committed; each wants a thread.
    #[must_use]
    pub fn workers(self: &Arc<Self>) -> Vec<Worker> {
        worker::workers(self)
    }

    /// Lets the workers end once what is staged is committed.
    pub fn stop(&self) {
        self.ledger.shards.stop();
        self.ledger.stop_remover();
    }

    /// How often [`Broker::tick`] is to be called.
    #[must_use]
    pub fn tick_interval(&self) -> Duration {
        self.groups.tick_interval()
    }

    /// The metadata with the open partitions, to be read. Nothing that may block is done meanwhile.
    pub(crate) fn catalog(&self) -> impl Deref<Target = Catalog> {
        self.ledger.catalog.read()
    }

    /// Has partitions tried again that take no writes since a sync failed.
    fn look_after_fenced(&self) {
        // Nearly always nobody is: the catalog is then not even looked at.
        if !self.ledger.shards.take_has_fenced() {
            return;
        }
        let now_us = self.clock.monotonic_us();
        let mut due: Vec<_> = self.catalog().partitions().cloned().collect();
        // The flag was taken, so whoever is fenced and not yet due has to raise it again.
        due.retain(|partition| partition.fenced().is_some() && !partition.is_closed());
        if !due.is_empty() {
            self.ledger.shards.have_fenced();
        }
        due.retain(|partition| partition.rescue_is_due(now_us));
        if !due.is_empty() {
            self.ledger.shards.ask_rescue(due);
        }
    }

    /// Makes everything durable and notes it, so that the next start has nothing to recover. To be
    /// called when no session submits any more and the workers have stopped.
    ///
    /// # Errors
    /// [`CheckpointError`]; nothing that was acknowledged is lost then, the next start recovers it.
    pub fn shutdown(&self) -> Result<(), CheckpointError> {
        // First: a line that waits to be told would be lost with the process.
        self.trail.tell(true);
        // What was staged is committed before the checkpoint says how far the logs are.
        self.drain();
        if !self.ledger.is_in_place() {
            return Err(CheckpointError::Gone);
        }
        self.ledger.remove_files();
        self.ledger.shards.remove_dropped();
        self.ledger.shards.checkpoint()
    }

    /// Runs all staged work to its end on the calling thread.
    pub fn drain(&self) {
        self.ledger.shards.drain();
    }
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker")
            .field("data_dir", &self.ledger.data_dir.path())
            .finish_non_exhaustive()
    }
}
