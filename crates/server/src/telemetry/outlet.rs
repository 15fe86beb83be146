//! Lines on their way out of the process, to a reader that may be slow, stuck or gone.
//!
//! A pipe that nobody reads takes 64 KiB and then keeps its writer waiting for ever; one whose reader is
//! gone fails each write. Neither may reach whoever has something to say, so lines go into a queue, and a
//! thread of its own writes them.
//!
//! INV-OUTLET: saying a line never waits for its reader, never fails and never panics.
//! No more than [`WAITING_BYTES_MAX`] wait; what finds no room is lost.
//! INV-OUTLET-TOLD: a lost line is counted, and the number is told once lines get through again.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use galgo_wire::index::part;
use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, poll};

/// Most bytes of lines that wait for their reader.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// Lines out of this process, in the order they were said.
#[derive(Debug)]
pub(crate) struct Outlet {
    queue: Mutex<LineQueue>,
    /// A line came, or may go.
    came: Condvar,
    /// All that waited has been written, or is lost.
    empty: Condvar,
}

#[derive(Debug)]
struct LineQueue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that did not get out since the start.
    lost: u64,
    /// How many of them were told of.
    told: u64,
    /// The thread that writes, once there is one.
    writer: Option<ThreadId>,
    /// Whether it has a line that is not written yet.
    writing: bool,
    /// Whether lines are kept back for now.
    held: bool,
}

impl Outlet {
    /// An outlet that keeps its lines until [`Outlet::open`].
    pub(crate) const fn new() -> Self {
        let queue = LineQueue {
            lines: VecDeque::new(),
            bytes: 0,
            lost: 0,
            told: 0,
            writer: None,
            writing: false,
            held: false,
        };
        Self { queue: Mutex::new(queue), came: Condvar::new(), empty: Condvar::new() }
    }

    /// Starts the thread that writes to `sink`, unless there is one. `tell` says, by way of this outlet, how
    /// many lines were lost; it is called once lines get through again.
    ///
    /// # Errors
    /// Those of the system when it gives no thread.
    pub(crate) fn open(
        &'static self,
        name: &str,
        sink: impl Write + Send + 'static,
        tell: fn(u64),
    ) -> io::Result<()> {
        let mut queue = self.queue.lock();
        if queue.writer.is_none() {
            let thread = thread::Builder::new().name(name.to_owned());
            let writer = thread.spawn(move || self.write_all_lines(sink, tell))?;
            queue.writer = Some(writer.thread().id());
        }
        Ok(())
    }

    /// Takes a line, with its end, to be written; counts it as lost where too much waits already.
    pub(crate) fn say(&self, line: &[u8]) {
        let mut queue = self.queue.lock();
        // What the writer itself has to say is how many lines were lost, which must not get lost.
        let is_full = queue.bytes + line.len() > WAITING_BYTES_MAX;
        if is_full && queue.writer != Some(thread::current().id()) {
            queue.lost += 1;
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line.to_vec());
        drop(queue);
        self.came.notify_one();
    }

    /// Lines that did not get out since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.queue.lock().lost
    }

    /// Keeps lines back from now on, as far as there is room.
    pub(crate) fn hold(&self) {
        self.queue.lock().held = true;
    }

    /// Lets lines go again, those kept back first.
    pub(crate) fn release(&self) {
        self.queue.lock().held = false;
        self.came.notify_one();
    }

    /// Lets lines go again, without those that were kept back; does nothing when none are.
    pub(crate) fn drop_held(&self) {
        let mut queue = self.queue.lock();
        if std::mem::take(&mut queue.held) {
            queue.lines.clear();
            queue.bytes = 0;
        }
    }

    /// Waits until everything said before is written or lost, `patience` at most; tells whether it is.
    pub(crate) fn flush(&self, patience: Duration) -> bool {
        let due = Instant::now() + patience;
        let mut queue = self.queue.lock();
        if queue.writer.is_none() {
            return queue.lines.is_empty();
        }
        while queue.writing || !queue.lines.is_empty() {
            if self.empty.wait_until(&mut queue, due).timed_out() {
                return false;
            }
        }
        true
    }

    fn write_all_lines(&self, mut sink: impl Write, tell: fn(u64)) {
        let mut torn = false;
        loop {
            let line = self.next();
            // What is left of a line whose end was not written would run into the next one.
            let whole = if torn { write_whole(&mut sink, b"\n") } else { LineWritten::All };
            let written = match whole {
                LineWritten::All => write_whole(&mut sink, &line),
                LineWritten::Part | LineWritten::None => LineWritten::None,
            };
            match written {
                LineWritten::All => torn = false,
                LineWritten::Part => torn = true,
                LineWritten::None => {}
            }
            let lost = self.written(matches!(written, LineWritten::All));
            if lost > 0 {
                tell(lost);
            }
        }
    }

    /// Waits for the next line.
    fn next(&self) -> Vec<u8> {
        let mut queue = self.queue.lock();
        queue.writing = false;
        if queue.lines.is_empty() {
            self.empty.notify_all();
        }
        loop {
            if !queue.held
                && let Some(line) = queue.lines.pop_front()
            {
                queue.bytes -= line.len();
                queue.writing = true;
                return line;
            }
            self.came.wait(&mut queue);
        }
    }

    /// Takes note of what became of a line; returns how many lost ones are to be told of.
    fn written(&self, whole: bool) -> u64 {
        let mut queue = self.queue.lock();
        if !whole {
            queue.lost += 1;
            return 0;
        }
        let untold = queue.lost - queue.told;
        queue.told = queue.lost;
        untold
    }
}

/// How much of a line was written.
enum LineWritten {
    All,
    Part,
    None,
}

fn write_whole(sink: &mut impl Write, line: &[u8]) -> LineWritten {
    let mut rest = line;
    while !rest.is_empty() {
        match sink.write(rest) {
            Ok(count) if count > 0 => {
                rest = part(rest, count.., "a sink takes no more than it was given")
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            _ if rest.len() == line.len() => return LineWritten::None,
            _ => return LineWritten::Part,
        }
    }
    LineWritten::All
}

/// A standard stream, written without the lock that the standard library has for it: whoever waits with that
/// lock for a stuck reader keeps everybody from it, a thread that panics included.
pub(crate) struct StandardStream<F>(pub(crate) F);

impl<F: AsFd> Write for StandardStream<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(&self.0, bytes) {
                // Whoever started us may have left the pipe in a state where writing does not wait.
                Err(rustix::io::Errno::AGAIN) => wait_for_room(self.0.as_fd())?,
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn wait_for_room(stream: BorrowedFd<'_>) -> io::Result<()> {
    match poll(&mut [PollFd::from_borrowed_fd(stream, PollFlags::OUT)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
