//! Whoever else uses Redis: fills and reads streams.

use std::collections::BTreeMap;

use galgo_testkit::service::redis::PASSWORD;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue};

/// An entry of a stream.
#[derive(Clone, Debug)]
pub(crate) struct SeenEntry {
    pub(crate) fields: BTreeMap<String, Vec<u8>>,
}

impl SeenEntry {
    pub(crate) fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(|value| std::str::from_utf8(value).unwrap())
    }
}

#[derive(Clone)]
pub(crate) struct OtherSide(MultiplexedConnection);

impl OtherSide {
    pub(crate) async fn connect(port: u16) -> Self {
        let client = redis::Client::open(format!("redis://:{PASSWORD}@127.0.0.1:{port}")).unwrap();
        let mut this = Self(client.get_multiplexed_async_connection().await.unwrap());
        // After a start it reads its data first.
        while this.try_ask::<u64>(&redis::cmd("DBSIZE")).await.is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        this
    }

    pub(crate) async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut self.0.clone()).await.unwrap()
    }

    async fn try_ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Option<T> {
        command.query_async(&mut self.0).await.ok()
    }

    /// All entries of a stream, in order.
    pub(crate) async fn all(&self, stream: &str) -> Vec<SeenEntry> {
        let entries: Vec<(String, Vec<Vec<u8>>)> = self.ask(&["XRANGE", stream, "-", "+"]).await;
        let seen = entries.into_iter().map(|(_, list)| {
            let pairs = list
                .chunks(2)
                .map(|pair| (String::from_utf8(pair[0].clone()).unwrap(), pair[1].clone()));
            SeenEntry { fields: pairs.collect() }
        });
        seen.collect()
    }

    /// Adds `{"n":N}` for each number.
    pub(crate) async fn fill(&self, stream: &str, numbers: std::ops::Range<u64>) {
        let mut pipe = redis::pipe();
        for n in numbers {
            let payload = format!("{{\"n\":{n}}}");
            pipe.cmd("XADD").arg(stream).arg("*").arg("payload").arg(payload).ignore();
        }
        pipe.query_async::<()>(&mut self.0.clone()).await.unwrap();
    }

    /// How many entries the group of the pipeline has got and not acknowledged.
    pub(crate) async fn pending(&self, stream: &str) -> usize {
        let summary: Vec<redis::Value> = self.ask(&["XPENDING", stream, "galgo-bridge"]).await;
        usize::from_redis_value(summary[0].clone()).unwrap()
    }

    /// The members of the group of the pipeline.
    pub(crate) async fn members(&self, stream: &str) -> usize {
        let members: Vec<redis::Value> =
            self.ask(&["XINFO", "CONSUMERS", stream, "galgo-bridge"]).await;
        members.len()
    }

    /// All there is, as text.
    pub(crate) async fn dump(&self) -> String {
        let mut keys: Vec<String> = self.ask(&["KEYS", "*"]).await;
        keys.sort();
        let mut dump = String::new();
        for key in keys {
            let bytes: Vec<u8> = self.ask(&["DUMP", &key]).await;
            dump.push_str(&format!("{key} {bytes:?}\n"));
        }
        dump
    }
}
