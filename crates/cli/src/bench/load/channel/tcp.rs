//! Plain TCP: one blocking socket, prepared bytes out, answers thrown away by the kernel where it can.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use galgo::Credentials;
use galgo_wire::command::{Command, LoginUser, LoginWithToken};
use galgo_wire::frame::{ResponseHeader, put_request};
use galgo_wire::limits::RESPONSE_HEADER_BYTES;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};

use crate::bench::load::channel::{Answer, Channel, Frame, POLLED_HEAD_BYTES, Take, refused};
use crate::bench::load::course::Course;
use crate::failure::{Failure, Outcome};

/// Frames up to this size are gathered and written together.
const GATHERED_FRAME_BYTES_MAX: usize = 4096;

/// Bytes gathered before they are written in any case.
const GATHERED_BYTES_MAX: usize = 64 * 1024;

/// Room for what is read of answers.
const INBOX_BYTES: usize = 16 * 1024;

/// Most bytes thrown away by one call.
const DISCARD_BYTES: usize = 1 << 20;

/// How often a wait looks whether it should go on.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A connection over plain TCP.
#[derive(Debug)]
pub(crate) struct Tcp {
    socket: TcpStream,
    gathered: Vec<u8>,
    inbox: VecDeque<u8>,
    room: Vec<u8>,
    rubbish: Vec<u8>,
}

impl Tcp {
    /// Connects and logs in.
    pub(crate) fn open(
        (host, port): (&str, u16),
        login: &Credentials,
        course: &Course,
    ) -> Outcome<Self> {
        let connect = || {
            let socket = TcpStream::connect((host, port))?;
            socket.set_nodelay(true)?;
            socket.set_read_timeout(Some(LOOK_EVERY))?;
            socket.set_write_timeout(Some(LOOK_EVERY))?;
            Ok(socket)
        };
        let socket = connect().map_err(|error: io::Error| {
            Failure::connection(format!("cannot connect to {host}:{port}: {error}"))
        })?;
        let mut channel = Self {
            socket,
            gathered: Vec::new(),
            inbox: VecDeque::new(),
            room: vec![0; INBOX_BYTES],
            rubbish: Vec::new(),
        };
        channel.send(Frame::plain(&login_frame(login)?), course)?;
        channel.answer(None, Take::Discard, course)?;
        Ok(channel)
    }

    fn flush(&mut self, course: &Course) -> Outcome {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let gathered = std::mem::take(&mut self.gathered);
        let written = self.write(&gathered, &[], course);
        self.gathered = gathered;
        self.gathered.clear();
        written
    }

    fn write(&mut self, mut head: &[u8], mut body: &[u8], course: &Course) -> Outcome {
        let since = Instant::now();
        while !head.is_empty() || !body.is_empty() {
            let written = match body.is_empty() {
                true => self.socket.write(head),
                false => self.socket.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]),
            };
            match written {
                Ok(0) => return Err(lost(&io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    let of_head = count.min(head.len());
                    head = head.get(of_head..).unwrap_or_default();
                    body = body.get(count - of_head..).unwrap_or_default();
                }
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
                Ok(read) => self.inbox.extend(self.room.get(..read).unwrap_or_default()),
                Err(error) => may_go_on(&error, since, course)?,
            }
        }
        Ok(())
    }

    /// Waits until there is something to read; `false` when it is `until`.
    fn wait(&self, until: Instant) -> Outcome<bool> {
        let left = until.saturating_duration_since(Instant::now()).min(LOOK_EVERY);
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
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
        self.inbox.drain(..buffered);
        let mut left = count - buffered;
        if left > 0 && self.rubbish.is_empty() {
            self.rubbish = vec![0; DISCARD_BYTES];
        }
        let since = Instant::now();
        while left > 0 {
            let part = self.rubbish.get_mut(..left.min(DISCARD_BYTES)).unwrap_or_default();
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

    fn keep(&mut self, count: usize, into: &mut Vec<u8>, course: &Course) -> Outcome {
        into.clear();
        into.resize(count, 0);
        let buffered = count.min(self.inbox.len());
        for (to, from) in into.iter_mut().zip(self.inbox.drain(..buffered)) {
            *to = from;
        }
        let (mut at, since) = (buffered, Instant::now());
        while let Some(rest) = into.get_mut(at..).filter(|rest| !rest.is_empty()) {
            match self.socket.read(rest) {
                Ok(0) => return Err(lost(&io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => at += read,
                Err(error) => may_go_on(&error, since, course)?,
            }
        }
        Ok(())
    }

    fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        if self.inbox.len() < N {
            return None;
        }
        for (to, from) in bytes.iter_mut().zip(&self.inbox) {
            *to = *from;
        }
        Some(bytes)
    }
}

impl Channel for Tcp {
    fn send(&mut self, frame: Frame<'_>, course: &Course) -> Outcome {
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
        take: Take<'_>,
        course: &Course,
    ) -> Outcome<Option<Answer>> {
        self.flush(course)?;
        if let Some(until) = until
            && self.inbox.is_empty()
            && !self.wait(until)?
        {
            return Ok(None);
        }
        self.gather(RESPONSE_HEADER_BYTES, course)?;
        let header = ResponseHeader::read(self.peek().unwrap_or_default());
        self.inbox.drain(..RESPONSE_HEADER_BYTES);
        if header.status != 0 {
            return Err(refused(header.status));
        }
        let bytes = header.payload_len as usize;
        self.gather(bytes.min(POLLED_HEAD_BYTES), course)?;
        let head = if bytes < POLLED_HEAD_BYTES { None } else { self.peek() };
        match take {
            Take::Discard => self.discard(bytes, course)?,
            Take::Keep(into) => self.keep(bytes, into, course)?,
        }
        Ok(Some(Answer { bytes, head }))
    }

    fn has_answer(&self) -> bool {
        self.peek().is_some_and(|header| {
            let whole = RESPONSE_HEADER_BYTES + ResponseHeader::read(header).payload_len as usize;
            self.inbox.len() >= whole
        })
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

fn lost(error: &io::Error) -> Failure {
    Failure::connection(match error.kind() {
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
    text.parse().map_err(|_| Failure::usage(format!("the {what} is not a valid one")))
}

fn encode<C: Command>(command: &C) -> Outcome<Vec<u8>> {
    let mut out = Vec::new();
    put_request(&mut out, C::CODE.as_u32(), |out| command.encode(out))
        .map_err(|_| Failure::usage("the login does not fit a request"))?;
    Ok(out)
}
