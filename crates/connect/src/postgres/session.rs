//! A conversation with a PostgreSQL: log in, say a statement, read rows. All values are text.
//!
//! Of our own, because replication is not spoken by the client library, and because a copy of a large table is then read no
//! faster than it is taken. Every step has a limit in time. The settings that decide how values are written are the same in
//! every session, so that a copied row and a changed one look alike.

use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend::{self, BindError, CopyData};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::address::PgAddress;
use super::fields::{GarbledMessage, MessageFields};
use super::frame::{FRAME_BYTES_MAX, FrameCutter, PgFrame};
use super::trouble::{PgError, ServerWords};
use crate::secret::SecretSource;

/// Bytes of a message with rows that are sent.
const COPY_BYTES: usize = 64 << 10;

mod login;
mod open;

/// A connection, whatever it is made of.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// What is needed for a session.
#[derive(Clone, Debug)]
pub(crate) struct PgLogin {
    pub(crate) address: PgAddress,
    pub(crate) password: Option<SecretSource>,
    pub(crate) ca_file: Option<PathBuf>,
    /// How it is called in the server's lists.
    pub(crate) application: String,
    /// What is set for the session from its begin: names and values.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// The longest wait for the answer to a statement.
    pub(crate) patience: Duration,
}

/// A row: text, or nothing.
pub(crate) type TextRow = Vec<Option<String>>;

/// A session.
pub(crate) struct PgSession {
    stream: Box<dyn Duplex>,
    cutter: FrameCutter,
    patience: Duration,
    /// Whether the server has answered everything, and there is no transaction.
    is_idle: bool,
}

/// What the server answered to statements.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StatementAnswer {
    /// The rows of all of them.
    pub(crate) rows: Vec<TextRow>,
    /// What the last one did: `UPDATE 1`.
    pub(crate) done: String,
}

/// The two halves of a session that replicates.
pub(crate) struct CopyBoth {
    pub(crate) reader: tokio::io::ReadHalf<Box<dyn Duplex>>,
    pub(crate) cutter: FrameCutter,
    pub(crate) writer: tokio::io::WriteHalf<Box<dyn Duplex>>,
}

impl PgSession {
    /// Logs in for statements of SQL.
    pub(crate) async fn sql(login: &PgLogin) -> Result<Self, PgError> {
        open::open(login, false).await
    }

    /// Logs in for commands of replication.
    pub(crate) async fn replication(login: &PgLogin) -> Result<Self, PgError> {
        open::open(login, true).await
    }

    /// Whether the server has answered to everything that was sent, and there is no transaction.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Waits so long for answers from now on.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Waits so many times as long for answers from now on.
    pub(crate) fn lengthen_patience(&mut self, times: u32) {
        self.patience *= times;
    }

    /// Says a statement, or several; the rows of all of them.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<TextRow>, PgError> {
        Ok(self.run(sql).await?.rows)
    }

    /// Says a statement, or several.
    pub(crate) async fn run(&mut self, sql: &str) -> Result<StatementAnswer, PgError> {
        self.say(sql).await?;
        self.answer().await
    }

    /// Says a statement with values for `$1` and so on, as text. It has no name at the server, so that a pooler of connections
    /// may stand in between.
    pub(crate) async fn run_with(
        &mut self,
        sql: &str,
        values: &[Option<&str>],
    ) -> Result<StatementAnswer, PgError> {
        let mut out = BytesMut::new();
        frontend::parse("", sql, [], &mut out)?;
        let put = |value: &Option<&str>, out: &mut BytesMut| {
            Ok(match value {
                None => IsNull::Yes,
                Some(text) => {
                    out.extend_from_slice(text.as_bytes());
                    IsNull::No
                }
            })
        };
        frontend::bind("", "", [], values, put, [], &mut out).map_err(|error| match error {
            BindError::Serialization(error) => PgError::from(error),
            BindError::Conversion(error) => PgError::Away(error.to_string()),
        })?;
        frontend::execute("", 0, &mut out)?;
        frontend::sync(&mut out);
        self.send(&out).await?;
        self.answer().await
    }

    /// Says statements, the last of them a `COPY … FROM STDIN`. Rows may be sent right behind them: a server that refuses the one drops
    /// the others.
    pub(crate) async fn copy_in(&mut self, sql: &str) -> Result<CopyIn<'_>, PgError> {
        self.say(sql).await?;
        Ok(CopyIn { session: self, out: BytesMut::new() })
    }

    /// What the server answers to what was said.
    pub(crate) async fn answer(&mut self) -> Result<StatementAnswer, PgError> {
        self.answer_up_to(b'Z').await
    }

    /// Answers up to the message of this kind, or to the end of them after an error.
    async fn answer_up_to(&mut self, last: u8) -> Result<StatementAnswer, PgError> {
        let (mut answer, mut bytes, mut failed) = (StatementAnswer::default(), 0_usize, None);
        loop {
            let frame = self.frame().await?;
            if frame.tag == b'Z' {
                self.is_idle = frame.body.first() == Some(&b'I');
            }
            match frame.tag {
                b'D' => {
                    bytes += frame.body.len();
                    if bytes > FRAME_BYTES_MAX as usize {
                        return Err(PgError::TooLong { bytes: bytes as u64 });
                    }
                    answer.rows.push(text_row(frame.fields())?);
                }
                b'E' => failed = Some(ServerWords::parse(frame.fields())?),
                tag if tag == last && failed.is_none() => return Ok(answer),
                b'C' => answer.done = frame.fields().lossy_text()?,
                b'T' | b'I' | b'1' | b'2' | b'G' => {}
                // After one that ends the session nothing comes any more.
                b'Z' => match failed {
                    Some(words) => return Err(PgError::Server(words)),
                    None => return Err(GarbledMessage("a copy was expected to begin").into()),
                },
                _ => return Err(GarbledMessage("an answer to a statement was expected").into()),
            }
            if let Some(words) = failed.take_if(|words| words.is_fatal) {
                return Err(PgError::Server(words));
            }
        }
    }

    /// The only value of the only row.
    pub(crate) async fn value(&mut self, sql: &str) -> Result<String, PgError> {
        let rows = self.query(sql).await?;
        let value = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
        value.ok_or_else(|| GarbledMessage("a value was expected").into())
    }

    /// Says a `COPY … TO STDOUT`; [`PgSession::copied`] gives the rows.
    pub(crate) async fn copy(&mut self, sql: &str) -> Result<(), PgError> {
        self.say(sql).await?;
        match self.frame().await? {
            frame if frame.tag == b'H' => Ok(()),
            frame => Err(refusal(frame)),
        }
    }

    /// The next row of a copy as the server wrote it, with its end; none at the end.
    pub(crate) async fn copied(&mut self) -> Result<Option<Bytes>, PgError> {
        loop {
            let frame = self.frame().await?;
            match frame.tag {
                b'd' => return Ok(Some(frame.body)),
                b'c' | b'C' => {}
                b'Z' => return Ok(None),
                _ => return Err(refusal(frame)),
            }
        }
    }

    /// Begins to replicate: from here on both sides send as they like.
    pub(crate) async fn start_replication(mut self, command: &str) -> Result<CopyBoth, PgError> {
        self.say(command).await?;
        match self.frame().await? {
            frame if frame.tag == b'W' => {}
            frame => return Err(refusal(frame)),
        }
        let (reader, writer) = tokio::io::split(self.stream);
        Ok(CopyBoth { reader, cutter: self.cutter, writer })
    }

    /// Says good-bye.
    pub(crate) async fn close(mut self) {
        let mut out = BytesMut::new();
        frontend::terminate(&mut out);
        let farewell = async {
            let _ = self.stream.write_all(&out).await;
            let _ = self.stream.shutdown().await;
        };
        let _ = timeout(self.patience, farewell).await;
    }

    async fn say(&mut self, sql: &str) -> Result<(), PgError> {
        let mut out = BytesMut::new();
        frontend::query(sql, &mut out)?;
        self.send(&out).await
    }

    async fn send(&mut self, out: &[u8]) -> Result<(), PgError> {
        self.is_idle = false;
        let sending = async {
            self.stream.write_all(out).await?;
            self.stream.flush().await
        };
        let sent = timeout(self.patience, sending).await;
        Ok(sent.map_err(|_| PgError::silence(self.patience))??)
    }

    /// The next message that is an answer: not a notice or the value of a setting, which may come at any time.
    async fn frame(&mut self) -> Result<PgFrame, PgError> {
        loop {
            let next = timeout(self.patience, self.cutter.next(&mut self.stream)).await;
            let frame = next.map_err(|_| PgError::silence(self.patience))??;
            if !matches!(frame.tag, b'N' | b'S' | b'A') {
                return Ok(frame);
            }
        }
    }
}

/// Rows on their way into a `COPY … FROM STDIN`. Where this is dropped before its end the session is in the middle of it.
pub(crate) struct CopyIn<'a> {
    session: &'a mut PgSession,
    out: BytesMut,
}

impl CopyIn<'_> {
    /// Sends rows.
    pub(crate) async fn put(&mut self, rows: &[u8]) -> Result<(), PgError> {
        self.add(rows)?;
        self.session.send(&self.out).await?;
        self.out.clear();
        Ok(())
    }

    /// What the server answered to all that was said in front of the copy, once it begins.
    pub(crate) async fn begun(&mut self) -> Result<StatementAnswer, PgError> {
        self.session.answer_up_to(b'G').await
    }

    /// Sends the last rows, and says what comes next without waiting for the answer to the copy: an answer to each of them follows.
    pub(crate) async fn end(mut self, rows: &[u8], then: Option<&str>) -> Result<(), PgError> {
        self.add(rows)?;
        frontend::copy_done(&mut self.out);
        if let Some(sql) = then {
            frontend::query(sql, &mut self.out)?;
        }
        self.session.send(&self.out).await
    }

    /// Has the server take the copy back.
    pub(crate) async fn give_up(mut self) -> Result<(), PgError> {
        frontend::copy_fail("it is taken back", &mut self.out)?;
        self.session.send(&self.out).await?;
        match self.session.answer().await {
            Ok(_) => Err(GarbledMessage("a copy that was taken back is there").into()),
            Err(PgError::Server(words)) if !words.is_fatal => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn add(&mut self, rows: &[u8]) -> Result<(), PgError> {
        for piece in rows.chunks(COPY_BYTES) {
            CopyData::new(piece)?.write(&mut self.out);
        }
        Ok(())
    }
}

/// What a message says that is not the one expected.
pub(crate) fn refusal(frame: PgFrame) -> PgError {
    match frame.tag {
        b'E' => ServerWords::parse(frame.fields()).map_or_else(PgError::from, PgError::Server),
        _ => GarbledMessage("it comes where another one was expected").into(),
    }
}

fn text_row(mut fields: MessageFields) -> Result<TextRow, GarbledMessage> {
    let count = fields.u16()?;
    let mut row = TextRow::with_capacity(usize::from(count).min(fields.left() / 4));
    for _ in 0..count {
        row.push(match fields.u32()? {
            u32::MAX => None,
            length => {
                let value = fields.bytes(length)?;
                let text =
                    std::str::from_utf8(&value).map_err(|_| GarbledMessage("a value is not UTF-8"));
                Some(text?.to_owned())
            }
        });
    }
    fields.end()?;
    Ok(row)
}
