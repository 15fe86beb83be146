//! A connection that is subscribed, and the task that takes what comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rumqttc::{
    AsyncClient, Event, EventLoop, ManualAck, Packet, Publish, QoS, SubAck, SubscribeFilter,
    SubscribeReasonCode,
};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::bridge::held::HeldMessages;
use crate::failure::Failure;
use crate::mqtt::link::{MqttAccess, OpenedMqtt};

/// While there is no room the connection is looked after so often: it is given up by the broker otherwise.
const LOOKED_AFTER: Duration = Duration::from_secs(5);
/// How long a good-bye may take, with the acknowledgements in front of it.
const CLOSE_LIMIT: Duration = Duration::from_secs(8);
/// A topic that nobody has subscribed to.
const NOTHING: &str = "galgo/nothing";
/// What a message takes beside topic and payload.
const MESSAGE_BYTES: usize = 256;

/// A message that came.
pub(super) struct TakenPublish {
    /// Counted by us, in the order they came.
    pub number: u64,
    /// The message.
    pub publish: Publish,
}

/// Acknowledges a message; one that was sent without a promise has none.
type Acknowledgement = Option<ManualAck>;

/// What is subscribed to, and where.
#[derive(Clone)]
pub(super) struct Subscriptions {
    pub access: MqttAccess,
    pub topics: Vec<String>,
}

impl Subscriptions {
    /// What the broker says to them.
    fn judge(&self, answer: &SubAck) -> Result<(), Failure> {
        let mut answers = answer.return_codes.iter().zip(&self.topics);
        match answers.find(|(code, _)| **code == SubscribeReasonCode::Failure) {
            None => Ok(()),
            Some((_, topic)) => Err(self.access.refused(
                &format!("it does not let us subscribe to \"{topic}\""),
                "let the user read these topics, or correct topics in the file",
            )),
        }
    }
}

/// What the task has.
struct Taking {
    subscriptions: Subscriptions,
    client: AsyncClient,
    events: EventLoop,
    held: Arc<HeldMessages<Acknowledgement>>,
    room: Arc<Notify>,
    prefetch_bytes: usize,
    deliver: UnboundedSender<Result<TakenPublish, Failure>>,
}

/// A connection; its task ends when it is dropped.
pub(super) struct SubscribedLink {
    /// Which connection, as each counts from 1.
    pub epoch: u64,
    subscriptions: Subscriptions,
    client: AsyncClient,
    held: Arc<HeldMessages<Acknowledgement>>,
    room: Arc<Notify>,
    taken: UnboundedReceiver<Result<TakenPublish, Failure>>,
    task: JoinHandle<()>,
}

impl SubscribedLink {
    /// Begins to take.
    pub(super) fn start(
        subscriptions: Subscriptions,
        opened: OpenedMqtt,
        prefetch_bytes: usize,
    ) -> Self {
        static EPOCHS: AtomicU64 = AtomicU64::new(1);
        let OpenedMqtt { client, events, .. } = opened;
        let (held, room) = (Arc::new(HeldMessages::default()), Arc::new(Notify::new()));
        let (deliver, taken) = unbounded_channel();
        let taking = Taking {
            subscriptions: subscriptions.clone(),
            client: client.clone(),
            events,
            held: held.clone(),
            room: room.clone(),
            prefetch_bytes,
            deliver,
        };
        let epoch = EPOCHS.fetch_add(1, Ordering::Relaxed);
        let task = tokio::spawn(taking.run());
        Self { epoch, subscriptions, client, held, room, taken, task }
    }

    /// Subscribes. A broker that has kept the session has kept what it is subscribed to, and its answer may be behind more messages
    /// than there is room for: that is not waited for, and comes to light in the task.
    pub(super) async fn subscribe(&self, is_known: bool) -> Result<(), Failure> {
        let topics = self.subscriptions.topics.iter();
        let filters: Vec<SubscribeFilter> =
            topics.map(|topic| SubscribeFilter::new(topic.clone(), QoS::AtLeastOnce)).collect();
        let notice = self.client.subscribe_many_tracked(filters).await;
        let notice = notice.map_err(|_| self.lost())?;
        if is_known {
            return Ok(());
        }
        let answer = self.subscriptions.access.within(notice.wait_async()).await?;
        self.subscriptions.judge(&answer.map_err(|_| self.lost())?)
    }

    fn lost(&self) -> Failure {
        self.subscriptions.access.away("the connection is lost")
    }

    /// The next message; nothing is lost when it is dropped while it waits.
    pub(super) async fn next(&mut self) -> Result<TakenPublish, Failure> {
        match self.taken.recv().await {
            Some(taken) => taken,
            None => Err(self.lost()),
        }
    }

    /// The next message, if there is one already.
    pub(super) fn next_at_hand(&mut self) -> Option<TakenPublish> {
        // What is wrong is the last there is; the next call of the other finds that there is no more.
        match self.taken.try_recv() {
            Ok(Ok(taken)) => Some(taken),
            Ok(Err(_)) | Err(_) => None,
        }
    }

    /// Acknowledges all up to a number, in the order they came.
    pub(super) async fn acknowledge(&mut self, upto: u64) -> Result<(), Failure> {
        let acknowledgements = self.held.release(upto);
        self.room.notify_one();
        for acknowledgement in acknowledgements.into_iter().flatten() {
            let sent = self.client.manual_ack(acknowledgement).await;
            sent.map_err(|_| self.lost())?;
        }
        Ok(())
    }

    /// Sends what is still to be sent and says good-bye.
    pub(super) async fn close(mut self) -> Result<(), Failure> {
        // The rest comes again on another connection; nothing waits for room any more.
        self.held.release(u64::MAX);
        self.room.notify_one();
        // Its answer comes behind all acknowledgements. Some brokers forget those they have not looked at when the session goes on on
        // another connection.
        if let Ok(notice) = self.client.unsubscribe_tracked(NOTHING).await {
            let _ = timeout(CLOSE_LIMIT, notice.wait_async()).await;
        }
        let _ = self.client.disconnect_with_timeout(CLOSE_LIMIT).await;
        let _ = timeout(CLOSE_LIMIT, &mut self.task).await;
        Ok(())
    }
}

impl Drop for SubscribedLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Taking {
    async fn run(mut self) {
        let failure = loop {
            if self.held.bytes() > self.prefetch_bytes {
                let _ = timeout(LOOKED_AFTER, self.room.notified()).await;
            }
            match self.events.poll().await {
                Ok(Event::Incoming(Packet::Publish(publish))) => self.take(publish),
                Ok(Event::Incoming(Packet::SubAck(answer))) => {
                    if let Err(failure) = self.subscriptions.judge(&answer) {
                        break failure;
                    }
                }
                Ok(_) => {}
                Err(error) => break self.subscriptions.access.meaning(&error),
            }
        };
        // Nobody may be left to be told.
        let _ = self.deliver.send(Err(failure));
    }

    fn take(&self, publish: Publish) {
        let bytes = publish.topic.len() + publish.payload.len() + MESSAGE_BYTES;
        let number = self.held.hold(self.client.prepare_ack(&publish), bytes);
        // Nobody may be left to read it; it comes again then.
        let _ = self.deliver.send(Ok(TakenPublish { number, publish }));
    }
}
