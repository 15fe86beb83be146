//! Plain TCP: one blocking socket, prepared bytes out, answers thrown away by the kernel where it can.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use galgo::Credentials;
use galgo_wire::command::{Command, LoginUser, LoginWithToken};
use galgo_wire::frame::{Cut, ReplyCutter, put_request};
use galgo_wire::limits::RESPONSE_HEADER_BYTES;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};

use crate::channel::{
    AnswerPayload, Channel, ChannelAnswer, POLLED_HEAD_BYTES, PreparedFrame, refused,
};
use crate::course::Course;
use crate::course::LAST_ANSWER_WAIT_MAX;
use crate::error::{BenchError, Outcome};
use crate::plan::REQUEST_BYTES_MAX;

/// PreparedFrames up to this size are gathered and written together.
const GATHERED_FRAME_BYTES_MAX: usize = 4096;

/// Bytes gathered before they are written in any case.
const GATHERED_BYTES_MAX: usize = 64 * 1024;

/// Room for what is read of answers.
const INBOX_BYTES: usize = 16 * 1024;

/// Most bytes thrown away by one call.
const DISCARD_BYTES: usize = 1 << 20;

/// Largest payload of an answer; a request of the load is a quarter of that at most.
const ANSWER_BYTES_MAX: usize = 256 << 20;
const _: () = assert!(
    GATHERED_FRAME_BYTES_MAX < GATHERED_BYTES_MAX && INBOX_BYTES < DISCARD_BYTES,
    "small frames go together, and what is not looked at is taken in large pieces"
);
const _: () = assert!(
    ANSWER_BYTES_MAX as u64 > REQUEST_BYTES_MAX,
    "what was sent with one request is taken in one answer"
);

const _: () =
    assert!(4 * REQUEST_BYTES_MAX <= ANSWER_BYTES_MAX as u64, "what was sent can be read");

/// How often a wait looks whether it should go on.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const _: () = assert!(
    LOOK_EVERY.as_millis() * 4 <= LAST_ANSWER_WAIT_MAX.as_millis(),
    "a wait sees in time that a run is over"
);

/// A connection over plain TCP.
#[derive(Debug)]
pub(crate) struct Tcp {
    socket: TcpStream,
    gathered: Vec<u8>,
    /// Where answers lie in what comes in.
    answers: ReplyCutter,
    inbox: BytesMut,
    room: Vec<u8>,
    rubbish: Vec<u8>,
}

impl Tcp {
    /// Connects; nobody is logged in.
    pub(crate) fn connect(host: &str, port: u16) -> Outcome<Self> {
        let connect = || {
            let socket = TcpStream::connect((host, port))?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(LOOK_EVERY))?;
            socket.set_write_timeout(Some(LOOK_EVERY))?;
            Ok(socket)
        };
        let socket = connect().map_err(|error: io::Error| {
            BenchError::connection(format!("cannot connect to {host}:{port}: {error}"))
        })?;
        Ok(Self {
            socket,
            gathered: Vec::new(),
            answers: ReplyCutter::new(ANSWER_BYTES_MAX),
            inbox: BytesMut::new(),
            room: vec![0; INBOX_BYTES],
            rubbish: Vec::new(),
        })
    }

    /// Logs in.
    pub(crate) fn log_in(&mut self, login: &Credentials, course: &Course) -> Outcome {
        self.exchange(PreparedFrame::plain(&login_frame(login)?), course)
    }

    fn flush(&mut self, course: &Course) -> Outcome {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        let written = self.write(&gathered, &[], course);
        gathered.clear();
        self.gathered = gathered;
        written
    }

    fn write(&mut self, head: &[u8], body: &[u8], course: &Course) -> Outcome {
        let since = Instant::now();
        let mut parts = [IoSlice::new(head), IoSlice::new(body)];
        let mut left = &mut parts[..];
        // Takes away what is empty.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match self.socket.write_vectored(left) {
                Ok(0) => return Err(lost(&io::ErrorKind::WriteZero.into())),
                Ok(count) => IoSlice::advance_slices(&mut left, count),
                Err(error) => may_go_on(&error, since, course)?,
            }
        }
        Ok(())
    }

    /// Reads until the inbox has `count` bytes.
    fn gather(&mut self, count: usize, course: &Course) -> Outcome {
        let since = Instant::now();
        while self.inbox.len() < count {
            match self.socket.read(&mut self.room) {
                Ok(0) => return Err(lost(&io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => self.inbox.extend_from_slice(&self.room[..read]),
                Err(error) => may_go_on(&error, since, course)?,
            }
        }
        Ok(())
    }

    /// Waits until there is something to read; `false` when it is `until`.
    fn wait(&self, until: Instant) -> Outcome<bool> {
        let left = until.saturating_duration_since(Instant::now()).min(LOOK_EVERY);
        // Below a second: it is no longer than LOOK_EVERY.
        let timeout = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
        let mut sockets = [PollFd::new(&self.socket, PollFlags::IN)];
        match poll(&mut sockets, Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(lost(&error.into())),
        }
    }

    /// Takes `count` bytes of the stream away.
    fn discard(&mut self, count: usize, course: &Course) -> Outcome {
        let buffered = count.min(self.inbox.len());
        self.inbox.advance(buffered);
        let mut left = count - buffered;
        if left > 0 && self.rubbish.is_empty() {
            self.rubbish = vec![0; DISCARD_BYTES];
        }
        let since = Instant::now();
        while left > 0 {
            let part = &mut self.rubbish[..left.min(DISCARD_BYTES)];
            // Linux takes bytes of a TCP stream away without a copy when they are "truncated".
            let flags = match cfg!(target_os = "linux") {
                true => RecvFlags::TRUNC | RecvFlags::WAITALL,
                false => RecvFlags::WAITALL,
            };
            match recv(&self.socket, part, flags) {
                Ok((_, 0)) => return Err(lost(&io::ErrorKind::UnexpectedEof.into())),
                Ok((_, read)) => left = left.saturating_sub(read),
                Err(error) => may_go_on(&error.into(), since, course)?,
            }
        }
        Ok(())
    }

    /// Takes `count` bytes of the stream and keeps them.
    fn keep(&mut self, count: usize, into: &mut Vec<u8>, course: &Course) -> Outcome {
        into.clear();
        let buffered = count.min(self.inbox.len());
        into.extend_from_slice(&self.inbox[..buffered]);
        self.inbox.advance(buffered);
        let since = Instant::now();
        while into.len() < count {
            // What came before an error is in its place.
            let left = (count - into.len()) as u64;
            match (&self.socket).take(left).read_to_end(into) {
                Ok(0) => return Err(lost(&io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) => may_go_on(&error, since, course)?,
            }
        }
        Ok(())
    }

    /// Takes the header of the next answer; returns the bytes of the payload that follows.
    fn take_header(&mut self, course: &Course) -> Outcome<usize> {
        loop {
            let cut = self.answers.cut(&self.inbox).map_err(|garbled| {
                BenchError::connection(format!(
                    "what answers is no server of the protocol: {garbled}"
                ))
            })?;
            let payload = match cut {
                Cut::Frame { header, .. } if header.status != 0 => {
                    return Err(refused(header.status));
                }
                Cut::Frame { payload, .. } => payload.len(),
                // Only an answer without a failure has a payload that may be on its way.
                Cut::Partial { whole } if whole > RESPONSE_HEADER_BYTES => {
                    whole - RESPONSE_HEADER_BYTES
                }
                Cut::Partial { whole } => {
                    self.gather(whole, course)?;
                    continue;
                }
            };
            self.inbox.advance(RESPONSE_HEADER_BYTES);
            return Ok(payload);
        }
    }
}

impl Channel for Tcp {
    fn send(&mut self, frame: PreparedFrame<'_>, course: &Course) -> Outcome {
        if frame.head.len() + frame.body.len() > GATHERED_FRAME_BYTES_MAX {
            self.flush(course)?;
            return self.write(frame.head, frame.body, course);
        }
        self.gathered.extend_from_slice(frame.head);
        self.gathered.extend_from_slice(frame.body);
        if self.gathered.len() > GATHERED_BYTES_MAX {
            self.flush(course)?;
        }
        Ok(())
    }

    fn answer(
        &mut self,
        until: Option<Instant>,
        payload: AnswerPayload<'_>,
        course: &Course,
    ) -> Outcome<Option<ChannelAnswer>> {
        self.flush(course)?;
        if let Some(until) = until
            && self.inbox.is_empty()
            && !self.wait(until)?
        {
            return Ok(None);
        }
        let bytes = self.take_header(course)?;
        self.gather(bytes.min(POLLED_HEAD_BYTES), course)?;
        // What lies behind a shorter answer is the next one's.
        let head = match bytes < POLLED_HEAD_BYTES {
            true => None,
            false => self.inbox.first_chunk().copied(),
        };
        match payload {
            AnswerPayload::Discard => self.discard(bytes, course)?,
            AnswerPayload::Keep(into) => self.keep(bytes, into, course)?,
        }
        Ok(Some(ChannelAnswer { bytes, head }))
    }

    fn has_answer(&self) -> bool {
        matches!(self.answers.cut(&self.inbox), Ok(Cut::Frame { .. }))
    }

    fn sleep_until(&mut self, due: Instant) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()).min(LOOK_EVERY));
    }
}

/// Decides about an error of the socket: a time that ran out is only a moment to look around.
fn may_go_on(error: &io::Error, since: Instant, course: &Course) -> Outcome {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => course.patience(since),
        _ => Err(lost(error)),
    }
}

fn lost(error: &io::Error) -> BenchError {
    BenchError::connection(match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed a connection of the load".to_owned(),
        _ => format!("a connection of the load broke: {error}"),
    })
}

fn login_frame(login: &Credentials) -> Outcome<Vec<u8>> {
    match login {
        Credentials::Password { username, password } => encode(&LoginUser {
            username: parse(username, "user name")?,
            password: parse(password, "password")?,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            context: String::new(),
        }),
        Credentials::Token(token) => encode(&LoginWithToken { token: parse(token, "token")? }),
    }
}

fn parse<N: std::str::FromStr>(text: &str, what: &str) -> Outcome<N> {
    text.parse().map_err(|_| BenchError::usage(format!("the {what} is not a valid one")))
}

fn encode<C: Command>(command: &C) -> Outcome<Vec<u8>> {
    let mut out = Vec::new();
    put_request(&mut out, C::CODE.as_u32(), |out| command.encode(out))
        .map_err(|_| BenchError::usage("the login does not fit a request"))?;
    Ok(out)
}
