//! Requests and answers over any stream of bytes.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::server::{PASSWORD, TestServer, USERNAME};
use crate::wire::{LOGIN, PING, frame, login_payload};

/// No answer of a healthy server takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct Frames<S> {
    pub(crate) stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, async {
            self.stream.write_all(bytes).await.unwrap();
            self.stream.flush().await.unwrap();
        })
        .await
        .unwrap();
    }

    pub(crate) async fn send(&mut self, code: u32, payload: &[u8]) {
        self.write(&frame(code, payload)).await;
    }

    /// Status and payload of the next answer.
    pub(crate) async fn answer(&mut self) -> (u32, Vec<u8>) {
        timeout(PATIENCE, async {
            let status = self.stream.read_u32_le().await.unwrap();
            let length = self.stream.read_u32_le().await.unwrap();
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await.unwrap();
            (status, payload)
        })
        .await
        .unwrap()
    }

    pub(crate) async fn call(&mut self, code: u32, payload: &[u8]) -> (u32, Vec<u8>) {
        self.send(code, payload).await;
        self.answer().await
    }

    pub(crate) async fn login(&mut self) {
        assert_eq!(self.call(LOGIN, &login_payload(USERNAME, PASSWORD)).await.0, 0);
    }

    pub(crate) async fn assert_in_step(&mut self) {
        assert_eq!(self.call(PING, &[]).await, (0, vec![]));
    }

    /// Checks that the server closes the connection without another byte.
    pub(crate) async fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        let end = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.unwrap();
        assert!(rest.is_empty(), "{rest:?} {end:?}");
    }
}

/// Runs `test` to its end.
pub(crate) fn run<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(2 * PATIENCE, test).await.unwrap() });
}

/// Stops the server from within a test that [`run`] runs.
pub(crate) fn stop(server: &mut TestServer) {
    std::thread::scope(|scope| {
        scope.spawn(|| server.stop_in_time());
    });
}
