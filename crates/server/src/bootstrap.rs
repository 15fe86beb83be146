//! Brings a server up, in an order that makes a failed start leave nothing half done.
//!
//! A data directory that is in use comes before the listeners: two servers started by the same command
//! differ in nothing, and the second is to be told who has the directory rather than that its port is
//! taken. A new one is made only when every address is bound, so that a first start that cannot listen
//! makes nothing and tells no password. Nobody but a probe is listened to before everything is ready.

mod addresses;
mod keys;
mod listeners;
mod open;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use galgo_broker::{Broker, COLD_PIECE_BYTES_MAX, HASHES_AT_ONCE_MAX};
use galgo_wire::index::to_u32;
use galgo_wire::limits::CONTROL_PAYLOAD_BYTES_MAX;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use self::addresses::Addresses;
pub(crate) use self::keys::keys;
use self::listeners::{BoundListeners, Reload};
pub(crate) use self::open::refusal;
use crate::config::{self, Config, Environment, Loaded, RootAccount, RootUserSource};
use crate::conversation::deadlines::Patience;
use crate::lanes::{Lane, Lanes};
use crate::process_limits::memory::ANONYMOUS_BYTES_MIN;
use crate::snapshot::Machine;
use crate::spin::Spin;
use crate::transport::connection::ANONYMOUS_PAYLOAD_BYTES_MAX;
use crate::transport::{Budget, BudgetBytes, ConnectionLimits, Hub, Logins, Places};
use crate::{ServeError, ServerOptions, process_limits, runtime_file, telemetry};

/// Least number of threads that serve connections: with one, a long copy would hold up all of them.
const LANES_MIN: usize = 2;

/// Threads for upkeep and other work that blocks and is of no connection.
const DOOR_HELPERS: usize = 2;

/// Threads for work that blocks, per processor. Each may hold the memory of one password hash.
const BLOCKING_THREADS_PER_CPU: usize = 4;

/// Most threads for work that blocks.
const BLOCKING_THREADS_MAX: usize = 64;
const _: () = assert!(
    BLOCKING_THREADS_PER_CPU <= BLOCKING_THREADS_MAX
        && BLOCKING_THREADS_MAX > HASHES_AT_ONCE_MAX as usize,
    "INV-LOGIN-TURNS: passwords never take all threads that may block"
);

/// The largest request of a peer that is not logged in, with its header.
const ANONYMOUS_REQUEST_BYTES_MAX: u64 = ANONYMOUS_PAYLOAD_BYTES_MAX as u64 + 8;
const _: () = assert!(
    ANONYMOUS_REQUEST_BYTES_MAX * 16 <= ANONYMOUS_BYTES_MIN,
    "where memory is short, several strangers can log in at once"
);

/// A running server.
///
/// Dropping it without [`Server::stop`] is like a crash: what was acknowledged is safe, clients get no
/// word, and the next start has to recover.
pub struct Server {
    /// The thread that accepts connections and keeps the clock.
    pub(crate) door: Lane,
    pub(crate) lanes: Lanes,
    pub(crate) broker: Arc<Broker>,
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) listeners: Vec<JoinHandle<usize>>,
    pub(crate) ticker: JoinHandle<()>,
    pub(crate) workers: Vec<thread::JoinHandle<()>>,
    pub(crate) reload: Reload,
    data_dir: PathBuf,
    addresses: Addresses,
}

impl Server {
    /// Starts a server; on return it takes connections.
    ///
    /// Logging to standard error is set up unless the program logs already. A generated root password
    /// is printed on standard output.
    ///
    /// # Errors
    /// [`ServeError`] says what is in the way. Nothing runs then, and nothing on disk was deleted.
    pub fn start(options: ServerOptions, environment: Environment) -> Result<Self, ServeError> {
        let mut loaded = config::load(&options, &environment)?;
        let root = config::root_user(&environment, options.overrides.dev)?;
        let refused_filter = telemetry::log::start(&loaded.config.log, &environment);
        log_configuration(&loaded, refused_filter.as_deref());
        process_limits::memory::fit(&mut loaded);
        process_limits::fit_file_size(&mut loaded)?;
        let file_limit = process_limits::raise_open_files();
        let door = Lane::start("galgo-accept", DOOR_HELPERS).map_err(ServeError::Threads)?;

        let opening = open::BrokerOpening::begin(&loaded.config, &root, file_limit)?;
        let bound = {
            let _on_runtime = door.handle().enter();
            BoundListeners::bind(&loaded.config)?
        };
        let broker = opening.finish()?;
        let world = World { door, bound, file_limit };
        Self::listen(world, Arc::clone(&broker), loaded.config).inspect_err(|_| {
            // The next start should find a directory that was closed in order.
            if let Err(error) = broker.shutdown() {
                let error = galgo_broker::Causes(&error);
                tracing::error!(%error, "closing the data directory failed");
            }
        })
    }

    /// The address of the TCP listener, with the real port, or `None` when TCP is off.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.addresses.tcp
    }

    /// The address of the HTTP listener, with the real port, or `None` when HTTP is off.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.addresses.http
    }

    /// The address of the QUIC listener, with the real port, or `None` when QUIC is off.
    pub fn quic_address(&self) -> Option<SocketAddr> {
        self.addresses.quic
    }

    /// The address of the WebSocket listener, with the real port, or `None` when WebSocket is off.
    pub fn websocket_address(&self) -> Option<SocketAddr> {
        self.addresses.websocket
    }

    /// Reads the certificate files again, for the connections from now on.
    ///
    /// A file that makes no certificate is logged, and what its listener had stays in force.
    pub fn reload_certificates(&self) {
        self.reload.certificates();
    }

    /// Where the server keeps its data.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The line that tells people and scripts that the server takes connections, and where.
    pub fn ready_line(&self) -> String {
        let (version, data) = (env!("CARGO_PKG_VERSION"), self.data_dir.display());
        format!("galgo {version} is ready: {}, data in {data}", self.addresses.line())
    }

    fn listen(world: World, broker: Arc<Broker>, config: Config) -> Result<Self, ServeError> {
        let World { door, bound, file_limit } = world;
        let data_dir = config.general.data_dir.clone();
        let mut listeners = {
            let _on_runtime = door.handle().enter();
            bound.listen(&data_dir)?
        };
        listeners.take_secrets(&data_dir)?;
        let addresses = listeners.addresses();
        broker.set_snapshot_sources(Arc::new(Machine { data_dir: data_dir.clone() }));
        broker.set_endpoints(addresses.endpoints(&config));
        runtime_file::write(&data_dir, &addresses.effective(&config))?;

        let lanes = start_lanes().map_err(ServeError::Threads)?;
        let workers = start_workers(&broker)?;
        let (stopping, stopped) = watch::channel(false);
        let hub = Arc::new(Hub {
            broker: Arc::clone(&broker),
            budget: Budget::new(budget_bytes(&config)),
            strangers: Budget::of_strangers(
                config.limits.anonymous_bytes.0,
                ANONYMOUS_REQUEST_BYTES_MAX,
            ),
            answers: Budget::new(answer_bytes(&config)),
            logins: Logins::default(),
            limits: connection_limits(&config),
            places: places(&config, file_limit),
            ends: Arc::default(),
            turns: lanes.turns(),
            spin: Arc::new(Spin::new(config.limits.spin.0.unwrap_or_default(), processors())),
            stopping: stopped,
        });
        let reload = listeners.reload();
        let listeners = listeners.serve(door.handle(), &hub, &config);
        let ticker = door.handle().spawn(tick(Arc::clone(&hub)));
        let bound = addresses.line();
        tracing::info!(bound, data_dir = %data_dir.display(), "server ready");
        Ok(Self {
            door,
            lanes,
            broker,
            stopping,
            listeners,
            ticker,
            workers,
            reload,
            data_dir,
            addresses,
        })
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

/// What a server stands on besides its data.
struct World {
    door: Lane,
    bound: BoundListeners,
    file_limit: u64,
}

/// Tells the operator of a generated password; it is in no log and can't be asked for again.
fn show_generated(root: &RootAccount) {
    if root.source == RootUserSource::Generated {
        let line = format!(
            "root user created: username {}, password {} (shown once, keep it)",
            root.username,
            root.password.as_str()
        );
        telemetry::streams::announce(&line);
    }
}

fn log_configuration(loaded: &Loaded, refused_filter: Option<&str>) {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "server starting");
    if let Some(file) = &loaded.file {
        tracing::info!(file = %file.display(), "configuration file read");
    }
    for (key, origin) in loaded.origins.iter() {
        tracing::debug!(key, %origin, "setting changed");
    }
    if let Some(filter) = refused_filter {
        tracing::warn!(filter, "log filter not understood: logging at info");
    }
    if loaded.origins_dropped {
        tracing::warn!(
            "http.cors.allowed_origins is not used with --dev: its password is well known"
        );
    }
    for (name, nearest) in &loaded.unknown_variables {
        match nearest {
            Some(nearest) => {
                tracing::warn!(
                    name,
                    "unknown environment variable ignored; did you mean {nearest}?"
                );
            }
            None => tracing::warn!(name, "unknown environment variable ignored"),
        }
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn start_lanes() -> std::io::Result<Lanes> {
    let cpus = processors();
    let lanes = cpus.max(LANES_MIN);
    let blocking = (cpus * BLOCKING_THREADS_PER_CPU).clamp(8, BLOCKING_THREADS_MAX);
    Lanes::start(lanes, blocking.div_ceil(lanes))
}

fn start_workers(broker: &Arc<Broker>) -> Result<Vec<thread::JoinHandle<()>>, ServeError> {
    let start = |worker: galgo_broker::Worker| {
        thread::Builder::new().name(worker.name().to_owned()).spawn(move || worker.run())
    };
    let workers: Result<Vec<_>, _> = broker.workers().into_iter().map(start).collect();
    workers.map_err(|error| {
        broker.stop();
        ServeError::Threads(error)
    })
}

async fn tick(hub: Arc<Hub>) {
    let mut due = tokio::time::interval(hub.broker.tick_interval());
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut storms = process_limits::Storms::default();
    loop {
        due.tick().await;
        hub.ends.tell(tokio::time::Instant::now());
        let storm_is_over = storms.is_over(hub.places.taken());
        let broker = Arc::clone(&hub.broker);
        let work = move || {
            broker.tick();
            if storm_is_over {
                process_limits::give_back();
            }
        };
        if tokio::task::spawn_blocking(work).await.is_err() {
            tracing::error!("upkeep failed; the reason is in the log above");
        }
    }
}

fn connection_limits(config: &Config) -> ConnectionLimits {
    let limits = &config.limits;
    ConnectionLimits {
        send_bytes_max: to_u32(limits.request_bytes.0),
        pipeline_max: limits.pipeline as usize,
        write_timeout: limits.write_timeout.0,
        poll_wait: limits.poll_wait.0,
        handshake_timeout: limits.handshake_timeout.0,
        patience: Patience { frame: limits.frame_timeout.0, login: limits.login_timeout.0 },
    }
}

fn budget_bytes(config: &Config) -> BudgetBytes {
    let limits = &config.limits;
    BudgetBytes {
        all: limits.in_flight_bytes.0,
        user: limits.in_flight_bytes_per_user.0,
        request: limits.request_bytes.0.max(CONTROL_PAYLOAD_BYTES_MAX.into()),
    }
}

/// One user gets half of it, so that no user keeps the others waiting.
fn answer_bytes(config: &Config) -> BudgetBytes {
    let all = config.limits.answer_bytes.0;
    BudgetBytes { all, user: all / 2, request: COLD_PIECE_BYTES_MAX }
}

/// The connections there may be, as far as the process's file limit allows.
fn places(config: &Config, file_limit: u64) -> Places {
    let connections_max = config::connections_for(config, file_limit);
    let configured = config.limits.connections;
    if connections_max < configured && configured == Config::default().limits.connections {
        tracing::info!(
            connections = connections_max,
            open_files = file_limit,
            "as many connections as the process's file limit allows"
        );
    } else if connections_max < configured {
        tracing::warn!(
            connections = connections_max,
            configured,
            open_files = file_limit,
            "the process's file limit allows fewer connections than configured"
        );
    }
    let refusals_max = config::refusals_for(file_limit);
    Places::new(connections_max, config.limits.connections_per_address, refusals_max)
}
