//! One round: a topic of its own, a writer, a reader, something that happens, and the comparison.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use galgo::{
    Client, Deduplication, Durability, ErrorCode, Identifier, Message, Partitioning, TopicOptions,
    UserOptions,
};
use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::consuming::{self, Reader};
use crate::event::{Event, all_rights, unless};
use crate::model::{self, Stored, Told};
use crate::producing::{self, Writer};
use crate::server::Server;

/// The topic of every round, each in a stream of its own.
pub(crate) const TOPIC: &str = "t";
/// How many partitions it has.
pub(crate) const PARTITIONS: u32 = 3;
/// How long anything may take that should come to an end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What is crossed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    pub(crate) event: Event,
    pub(crate) writer: Writer,
    pub(crate) reader: Reader,
    pub(crate) syncs: bool,
    pub(crate) encrypted: bool,
    /// Whether the server is killed and started again while it happens.
    pub(crate) killed: bool,
}

impl Course {
    /// Whether a tool may end with this: one that follows waits for all that passes by itself, not for rights; and
    /// one that is started again then may find no server.
    pub(crate) fn may_end_a_tool(self, complaint: &str) -> bool {
        let finds_none =
            ["cannot reach", "during the login"].iter().any(|it| complaint.contains(it));
        let is_refused = complaint.contains("permission denied (error 41)");
        self.event == Event::Rights && (is_refused || (self.killed && finds_none))
    }
}

impl fmt::Display for Course {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, writer, reader, syncs, encrypted, killed } = self;
        let durability = if *syncs { "fsync" } else { "os" };
        let files = if *encrypted { "encrypted" } else { "clear" };
        let killed = if *killed { " under a kill -9" } else { "" };
        write!(f, "{event}{killed}, {writer}, {reader}, {durability}, {files}")
    }
}

/// Orders what happens in different tasks: what has a smaller number was over before the other began.
#[derive(Debug, Default)]
pub(crate) struct Moments(AtomicU64);

impl Moments {
    /// The next moment.
    pub(crate) fn now(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// Where a round takes place.
pub(crate) struct Place {
    pub(crate) course: Course,
    /// The root user's connection.
    pub(crate) admin: Client,
    /// The user whose rights come and go.
    pub(crate) user: Identifier,
    /// How that user connects.
    pub(crate) url: String,
    /// How the root user connects.
    pub(crate) admin_url: String,
    pub(crate) stream: Identifier,
    pub(crate) stream_name: String,
    pub(crate) moments: Moments,
    /// Whether the reader was shown something: it happens to one that is at work, not to one that is about to start.
    pub(crate) is_reading: AtomicBool,
    /// Whether what happens is over, so that writers may come to their end.
    pub(crate) is_over: AtomicBool,
}

/// A round to run.
pub(crate) struct Round {
    course: Course,
    number: u64,
    random: StdRng,
}

impl Round {
    pub(crate) fn new(course: Course, number: u64, random: StdRng) -> Self {
        Self { course, number, random }
    }

    /// Runs it on `server`.
    ///
    /// # Errors
    ///
    /// What broke which promise.
    pub(crate) fn run(mut self, runtime: &Runtime, server: &Mutex<Server>) -> Result<(), String> {
        if server.lock().unwrap().has_lost_log() {
            server.lock().unwrap().stop_and_restart();
        }
        runtime.block_on(async {
            let whole = self.tell(server);
            tokio::time::timeout(PATIENCE * 3, whole)
                .await
                .map_err(|_| "the round did not end".to_owned())?
        })
    }

    async fn tell(&mut self, server: &Mutex<Server>) -> Result<(), String> {
        let place = Arc::new(self.prepare(server).await?);
        let writing = tokio::spawn(producing::write(Arc::clone(&place), self.random.random()));
        let reading = tokio::spawn(consuming::read(Arc::clone(&place)));
        let started = Instant::now();
        while !place.is_reading.load(Ordering::SeqCst) && started.elapsed() < PATIENCE {
            sleep(Duration::from_millis(2)).await;
        }
        sleep(Duration::from_millis(self.random.random_range(0..80))).await;
        let begun = place.moments.now();
        let delay = Duration::from_micros(self.random.random_range(0..20_000));
        let killing = async {
            if self.course.killed {
                sleep(delay).await;
                server.lock().unwrap().kill_and_restart();
            }
        };
        let happening = self.course.event.happen(server, &place, &mut self.random);
        let (happened, ()) = tokio::join!(happening, killing);
        happened?;
        let over = place.moments.now();
        place.is_over.store(true, Ordering::SeqCst);
        let sent = writing.await.map_err(|error| format!("the writer: {error}"))??;
        for partition in 0..PARTITIONS {
            send_end(&place, partition).await?;
        }
        let seen = reading.await.map_err(|error| format!("the reader: {error}"))??;
        let stored = Stored::read(&place).await?;
        let told = Told { sent, begun, over };
        model::check(&place, &told, &stored, &seen)?;
        let (admin, gone) = (&place.admin, ErrorCode::StreamIdNotFound);
        persist("delete the stream", || unless(admin.delete_stream(&place.stream), gone)).await?;
        let gone = ErrorCode::ResourceNotFound;
        persist("delete the user", || unless(admin.delete_user(&place.user), gone)).await
    }

    async fn prepare(&self, server: &Mutex<Server>) -> Result<Place, String> {
        let (stream_name, user_name) =
            (format!("r{}", self.number), format!("user{}", self.number));
        let (admin_url, url) = {
            let server = server.lock().unwrap();
            (server.url("galgo"), server.url(&user_name))
        };
        let admin = connect(&admin_url).await?;
        let stream = named(&stream_name);
        // The answer may be lost, and it is done.
        let taken = ErrorCode::StreamNameAlreadyExists;
        persist("make a stream", || unless(admin.create_stream(&stream_name), taken)).await?;
        let options = topic_options(self.course);
        let taken = ErrorCode::TopicNameAlreadyExists;
        persist("make a topic", || {
            unless(admin.create_topic(&stream, TOPIC, options.clone()), taken)
        })
        .await?;
        let options = UserOptions::default().permissions(all_rights());
        let password = format!("{user_name}{user_name}");
        let make = || admin.create_user(&user_name, &password, options.clone());
        let taken = ErrorCode::UserAlreadyExists;
        persist("make a user", || unless(make(), taken)).await?;
        Ok(Place {
            course: self.course,
            admin,
            user: named(&user_name),
            url,
            admin_url,
            stream,
            stream_name,
            moments: Moments::default(),
            is_reading: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        })
    }
}

/// The topic of a round.
pub(crate) fn topic_options(course: Course) -> TopicOptions {
    let durability = if course.syncs { Durability::Fsync } else { Durability::Os };
    TopicOptions::default()
        .partitions(PARTITIONS)
        .durability(durability)
        .deduplication(Deduplication::On)
        .expiry(Duration::from_secs(24 * 3600))
}

/// A connection, as soon as there is a server.
pub(crate) async fn connect(url: &str) -> Result<Client, String> {
    persist("connect", || Client::connect(url)).await
}

/// Tries until it works: the server may be away, or its disk full.
pub(crate) async fn persist<T, E, F>(what: &str, mut act: impl FnMut() -> F) -> Result<T, String>
where
    E: fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let begun = Instant::now();
    loop {
        match act().await {
            Ok(done) => return Ok(done),
            Err(error) if begun.elapsed() > PATIENCE => {
                return Err(format!("cannot {what}: {error}"));
            }
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The name of a stream or topic.
pub(crate) fn named(name: &str) -> Identifier {
    Identifier::named(name).unwrap()
}

/// The last message of a partition, by which readers know that they have everything.
async fn send_end(place: &Place, partition: u32) -> Result<(), String> {
    // With an id, so that it is there once however often it is sent.
    let end = [Message::new(producing::end_of(partition)).id(u128::MAX - u128::from(partition))];
    let (topic, to) = (named(TOPIC), || Partitioning::PartitionId(partition.into()));
    persist("send the end", || place.admin.send(&place.stream, &topic, to(), &end)).await
}
