//! Whoever else uses the RabbitMQ: makes queues, fills and empties them.

use std::time::Duration;

use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicGetArguments, BasicPublishArguments, Channel,
    ConfirmSelectArguments, ExchangeDeclareArguments, GetMessage, QueueBindArguments,
    QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::{BasicProperties, FieldTable};

pub(crate) struct OtherSide {
    _connection: Connection,
    pub(crate) channel: Channel,
}

impl OtherSide {
    pub(crate) async fn connect(port: u16) -> Self {
        let arguments = OpenConnectionArguments::new("127.0.0.1", port, "guest", "guest");
        let connection = Connection::open(&arguments).await.unwrap();
        let channel = connection.open_channel(None).await.unwrap();
        channel.confirm_select(ConfirmSelectArguments::new(false)).await.unwrap();
        Self { _connection: connection, channel }
    }

    pub(crate) async fn make_queue(&self, queue: &str, arguments: FieldTable) {
        let mut declare = QueueDeclareArguments::durable_client_named(queue);
        declare.arguments(arguments);
        self.channel.queue_declare(declare).await.unwrap();
    }

    pub(crate) async fn make_exchange(&self, exchange: &str, kind: &str) {
        let mut declare = ExchangeDeclareArguments::new(exchange, kind);
        declare.durable(true);
        self.channel.exchange_declare(declare).await.unwrap();
    }

    pub(crate) async fn bind(&self, queue: &str, exchange: &str, routing_key: &str) {
        let bind = QueueBindArguments::new(queue, exchange, routing_key);
        self.channel.queue_bind(bind).await.unwrap();
    }

    pub(crate) async fn publish(&self, queue: &str, properties: BasicProperties, payload: &[u8]) {
        let arguments = BasicPublishArguments::new("", queue);
        self.channel.basic_publish(properties, payload.to_vec(), arguments).await.unwrap();
    }

    pub(crate) async fn waiting(&self, queue: &str) -> u32 {
        let mut declare = QueueDeclareArguments::new(queue);
        declare.passive(true);
        self.channel.queue_declare(declare).await.unwrap().unwrap().1
    }

    /// Waits until so many messages wait in a queue: what is published is there later.
    pub(crate) async fn wait_for(&self, queue: &str, messages: u32) {
        while self.waiting(queue).await < messages {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The first message of a queue, which is not in it any more.
    pub(crate) async fn get(&self, queue: &str) -> Option<GetMessage> {
        let mut get = BasicGetArguments::new(queue);
        get.no_ack(true);
        self.channel.basic_get(get).await.unwrap()
    }

    /// All that waits in a queue, taken out of it.
    pub(crate) async fn drain(&self, queue: &str) -> Vec<(Option<String>, Vec<u8>)> {
        let waiting = self.waiting(queue).await;
        let mut consume = BasicConsumeArguments::new(queue, "");
        consume.manual_ack(true);
        let (tag, mut deliveries) = self.channel.basic_consume_rx(consume).await.unwrap();
        let mut messages = Vec::new();
        let mut last = 0;
        while messages.len() < waiting as usize {
            let received = tokio::time::timeout(Duration::from_secs(60), deliveries.recv());
            let message = received.await.unwrap().unwrap();
            last = message.deliver.unwrap().delivery_tag();
            let id = message.basic_properties.unwrap().message_id().cloned();
            messages.push((id, message.content.unwrap()));
        }
        if last > 0 {
            self.channel.basic_ack(BasicAckArguments::new(last, true)).await.unwrap();
        }
        let cancel = amqprs::channel::BasicCancelArguments::new(&tag);
        self.channel.basic_cancel(cancel).await.unwrap();
        messages
    }
}
