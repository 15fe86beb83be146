//! The send side of a connection: small answers gathered into one write, messages straight from their
//! segment files.
//!
//! A peer that takes nothing for the write timeout loses its connection; one that takes
//! something, however slowly, keeps it, unless the answer waits in memory (INV-TAKER).
//! Between two waits for the peer nothing of an answer stays in a carrier's own buffers.

use std::io;
use std::time::Duration;

use galgo_broker::{MessagesReply, Reply, Slice, memory_bytes};
use galgo_wire::ErrorCode;
use galgo_wire::frame::ResponseHeader;
use galgo_wire::index::{part, part_mut};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::Carrier;
use super::supply::Supply;
use crate::transport::Pace;

/// Answers up to this size are gathered with others; larger ones are written from where they are.
const GATHER_BYTES_MAX: usize = 16 << 10;

/// Gathered answers are written once they reach this size.
const OUTBOX_BYTES_MAX: usize = 64 << 10;

/// Capacity kept from one write to the next.
const OUTBOX_BYTES_KEPT: usize = 4 << 10;

/// Bytes read at a time from a file that can't be sent as it is.
const COPY_BYTES: usize = 256 << 10;
const _: () = assert!(
    GATHER_BYTES_MAX < OUTBOX_BYTES_MAX && OUTBOX_BYTES_KEPT < GATHER_BYTES_MAX,
    "several answers are gathered for a write, and little of their room is kept"
);
const _: () = assert!(COPY_BYTES > OUTBOX_BYTES_MAX, "a copy is a write of its own");

/// What every carrier keeps to.
const TAKEN: &str = "a carrier takes no more than it was given";

/// Answers waiting to be written.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    timeout: Duration,
    /// Whether the carrier took bytes it may still hold.
    unflushed: bool,
}

impl Outbox {
    /// An empty outbox for a peer that must take something every `timeout`.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { bytes: Vec::new(), timeout, unflushed: false }
    }

    /// Adds or writes an answer. What comes behind its beginning, `supply` gets.
    pub(crate) async fn reply<S: Carrier>(
        &mut self,
        reply: Reply,
        stream: &mut S,
        supply: impl FnOnce() -> Supply,
    ) -> io::Result<()> {
        match reply {
            Reply::Empty => self.status(None),
            Reply::Error(error) | Reply::Close(error) => self.status(Some(error)),
            Reply::Bytes(payload) => self.payload(&payload, stream).await?,
            Reply::Sent(sent) => self.payload(&sent.to_array(), stream).await?,
            Reply::Messages(messages) => {
                self.messages(&messages, stream).await?;
                drop(messages.slices);
                if let Some(rest) = messages.rest {
                    // In a box: few answers need it, and every idle connection would pay for it.
                    Box::pin(supply().write(rest, self, stream)).await?;
                }
            }
        }
        Ok(())
    }

    /// Adds an answer without payload: zero for success, else the number of an error.
    pub(crate) fn status(&mut self, error: Option<ErrorCode>) {
        error.map_or(ResponseHeader::ok(0), ResponseHeader::error).put(&mut self.bytes);
    }

    /// Adds or writes an answer with a payload.
    pub(crate) async fn payload<S: Carrier>(
        &mut self,
        payload: &[u8],
        stream: &mut S,
    ) -> io::Result<()> {
        self.begin(payload.len() as u64)?;
        if payload.len() <= GATHER_BYTES_MAX {
            self.bytes.extend_from_slice(payload);
            return self.flush_if_full(stream).await;
        }
        self.write_with(payload, stream, &mut Taker::paced(self.timeout)).await
    }

    /// Adds or writes an answer of polled messages, as far as they are there: what comes behind them is to
    /// follow by [`Outbox::slices`].
    pub(crate) async fn messages<S: Carrier>(
        &mut self,
        messages: &MessagesReply,
        stream: &mut S,
    ) -> io::Result<()> {
        self.begin(messages.header.len() as u64 + messages.len)?;
        self.bytes.extend_from_slice(&messages.header);
        if messages.len <= GATHER_BYTES_MAX as u64 && messages.rest.is_none() {
            for slice in &messages.slices {
                self.gather(slice)?;
            }
            return self.flush_if_full(stream).await;
        }
        self.slices(&messages.slices, stream).await
    }

    /// Writes what has been gathered, and messages behind it.
    pub(crate) async fn slices<S: Carrier>(
        &mut self,
        slices: &[Slice],
        stream: &mut S,
    ) -> io::Result<()> {
        // What is sent from the page cache is in nobody's way, unless memory waits behind it.
        let mut taker = match memory_bytes(slices) {
            0 => Taker::patient(self.timeout),
            _ => Taker::paced(self.timeout),
        };
        for slice in slices {
            match slice {
                Slice::Memory(bytes) => self.write_with(bytes, stream, &mut taker).await?,
                Slice::File { file, position, len } => match (stream.tcp(), file.as_fd()) {
                    (Some(socket), Some(fd)) => {
                        let range = sendfile::SendRange { fd, position: *position, len: *len };
                        sendfile::send(socket, &self.bytes, range, &mut taker).await?;
                        self.clear();
                    }
                    _ => self.copy(slice, stream, &mut taker).await?,
                },
            }
        }
        self.flush(stream).await
    }

    /// Writes what has been gathered, and what the carrier holds of it.
    pub(crate) async fn flush<S: Carrier>(&mut self, stream: &mut S) -> io::Result<()> {
        if !self.bytes.is_empty() {
            self.unflushed = true;
            write_all(stream, &self.bytes, &mut Taker::patient(self.timeout)).await?;
            self.clear();
        }
        if self.unflushed {
            self.unflushed = false;
            let flushed = timeout(self.timeout, stream.flush()).await;
            return flushed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        }
        Ok(())
    }

    /// Adds the header of an answer whose payload of so many bytes follows.
    fn begin(&mut self, payload_len: u64) -> io::Result<()> {
        let payload_len = u32::try_from(payload_len).map_err(|_| io::ErrorKind::InvalidData)?;
        ResponseHeader::ok(payload_len).put(&mut self.bytes);
        Ok(())
    }

    /// Writes what has been gathered once it is enough for a write.
    pub(crate) async fn flush_if_full<S: Carrier>(&mut self, stream: &mut S) -> io::Result<()> {
        if self.bytes.len() >= OUTBOX_BYTES_MAX {
            return self.flush(stream).await;
        }
        Ok(())
    }

    /// Writes what has been gathered and `payload` after it, to a peer that takes it fast enough.
    async fn write_with<S: Carrier>(
        &mut self,
        payload: &[u8],
        stream: &mut S,
        taker: &mut Taker,
    ) -> io::Result<()> {
        let mut gathered: &[u8] = &self.bytes;
        let mut payload = payload;
        self.unflushed = true;
        while !gathered.is_empty() {
            let parts = [io::IoSlice::new(gathered), io::IoSlice::new(payload)];
            let written = taker.takes(stream.write_vectored(&parts)).await?;
            let of_gathered = written.min(gathered.len());
            gathered = part(gathered, of_gathered.., TAKEN);
            payload = part(payload, written - of_gathered.., TAKEN);
        }
        self.clear();
        while !payload.is_empty() {
            let written = taker.takes(stream.write(payload)).await?;
            payload = part(payload, written.., TAKEN);
        }
        Ok(())
    }

    /// Writes a file range through memory, for carriers and files that know no better.
    async fn copy<S: Carrier>(
        &mut self,
        slice: &Slice,
        stream: &mut S,
        taker: &mut Taker,
    ) -> io::Result<()> {
        let Slice::File { file, position, len } = slice else { return Ok(()) };
        let mut done = 0;
        self.unflushed = true;
        while done < *len {
            let piece = (len - done).min(COPY_BYTES as u64);
            let piece_slice =
                Slice::File { file: file.clone(), position: position + done, len: piece };
            self.gather(&piece_slice)?;
            write_all(stream, &self.bytes, taker).await?;
            self.bytes.clear();
            done += piece;
        }
        self.clear();
        Ok(())
    }

    /// Appends the bytes of `slice` to what is gathered.
    fn gather(&mut self, slice: &Slice) -> io::Result<()> {
        match slice {
            Slice::Memory(bytes) => self.bytes.extend_from_slice(bytes),
            Slice::File { file, position, len } => {
                let from = self.bytes.len();
                let len = usize::try_from(*len).map_err(|_| io::ErrorKind::InvalidData)?;
                self.bytes.resize(from + len, 0);
                let room = part_mut(&mut self.bytes, from.., "there is as much as was made");
                let (mut rest, mut position) = (room, *position);
                while !rest.is_empty() {
                    let read = file.read_at(rest, position)?;
                    if read == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    position += read as u64;
                    rest = part_mut(rest, read.., "a file gives no more than was asked for");
                }
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(OUTBOX_BYTES_KEPT);
    }
}

/// Writes all of `bytes`.
async fn write_all<S: AsyncWrite + Unpin>(
    stream: &mut S,
    bytes: &[u8],
    taker: &mut Taker,
) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = taker.takes(stream.write(rest)).await?;
        rest = part(rest, written.., TAKEN);
    }
    Ok(())
}

/// How long a peer may let an answer wait.
#[derive(Debug)]
struct Taker {
    timeout: Duration,
    /// Of a peer that has to be done with the answer, since it is in memory.
    pace: Option<Pace>,
}

impl Taker {
    /// One that has to take something now and then.
    fn patient(timeout: Duration) -> Self {
        Self { timeout, pace: None }
    }

    /// One that has to take an answer that begins now in time.
    fn paced(timeout: Duration) -> Self {
        Self { timeout, pace: Some(Pace::new(Instant::now())) }
    }

    /// Waits for one write to take something.
    async fn takes(&mut self, write: impl Future<Output = io::Result<usize>>) -> io::Result<usize> {
        let Some(pace) = &mut self.pace else { return patiently(self.timeout, write).await };
        match timeout_at(pace.due(self.timeout), write).await {
            Ok(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
            Ok(Ok(written)) => {
                pace.took(written, Instant::now());
                Ok(written)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Waits for one write to take something.
pub(crate) async fn patiently(
    patience: Duration,
    write: impl Future<Output = io::Result<usize>>,
) -> io::Result<usize> {
    match timeout(patience, write).await {
        Ok(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
        Ok(result) => result,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

mod sendfile;

#[cfg(test)]
mod tests;
