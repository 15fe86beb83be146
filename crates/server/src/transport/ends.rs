//! Why connections ended, in the log: what anybody can bring about without a login is told once, then summed up.
//!
//! For each such reason there is at most one line in [`PERIOD`], however many connections end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::conversation::End;

/// Time between two lines about one reason.
const PERIOD: Duration = Duration::from_secs(10);

/// Connections that ended for reasons that are summed up.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    half_sent: EndTally,
    no_login: EndTally,
    slow: EndTally,
}

/// Connections that ended for one reason.
#[derive(Debug, Default)]
struct EndTally(Mutex<EndsCounted>);

#[derive(Debug, Default)]
struct EndsCounted {
    /// Those since the last line.
    untold: u64,
    /// Where the last of them was from.
    last: Option<SocketAddr>,
    told_at: Option<Instant>,
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
struct EndsLine {
    connections: u64,
    last: Option<SocketAddr>,
}

impl Ends {
    /// Takes note of the end of a connection of the binary protocol.
    pub(crate) fn note(&self, address: SocketAddr, end: &End) {
        match end {
            End::Peer | End::Stopping => tracing::debug!(%address, "connection closed"),
            End::Refused(error) => {
                tracing::debug!(%address, error = error.as_u32(), "connection refused");
            }
            End::FrameTimeout => self.half_sent(address),
            End::LoginTimeout => {
                tracing::debug!(%address, "connection closed: no login");
                self.no_login.add(address);
            }
            End::Failed(error) if error.kind() == io::ErrorKind::TimedOut => {
                tracing::debug!(%address, "connection closed: the client reads too slowly");
                self.slow.add(address);
            }
            End::Failed(error) => tracing::debug!(%address, %error, "connection lost"),
        }
        self.tell(Instant::now());
    }

    /// Takes note of a request that stayed half sent, over whatever.
    pub(crate) fn half_sent(&self, address: SocketAddr) {
        tracing::debug!(%address, "connection closed: a request stayed half sent");
        self.half_sent.add(address);
        self.tell(Instant::now());
    }

    /// Tells what is due to be told.
    pub(crate) fn tell(&self, now: Instant) {
        if let Some(EndsLine { connections, last }) = self.half_sent.due(now) {
            tracing::info!(connections, ?last, "connections closed: requests stayed half sent");
        }
        if let Some(EndsLine { connections, last }) = self.no_login.due(now) {
            tracing::info!(connections, ?last, "connections closed: no login");
        }
        if let Some(EndsLine { connections, last }) = self.slow.due(now) {
            tracing::info!(connections, ?last, "connections closed: clients read too slowly");
        }
    }
}

impl EndTally {
    fn add(&self, address: SocketAddr) {
        let mut counted = self.0.lock();
        counted.untold += 1;
        counted.last = Some(address);
    }

    fn due(&self, now: Instant) -> Option<EndsLine> {
        let mut counted = self.0.lock();
        let is_due = counted.told_at.is_none_or(|told| now.duration_since(told) >= PERIOD);
        if counted.untold == 0 || !is_due {
            return None;
        }
        counted.told_at = Some(now);
        Some(EndsLine {
            connections: std::mem::take(&mut counted.untold),
            last: counted.last.take(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 900 connections that left a request half sent were 900 lines, which filled the log's pipe.
    #[test]
    fn a_flood_is_one_line_and_its_sum() {
        let (tally, start) = (EndTally::default(), Instant::now());
        let address: SocketAddr = ([10, 0, 0, 1], 1).into();
        let told = |connections| Some(EndsLine { connections, last: Some(address) });
        tally.add(address);
        assert_eq!(tally.due(start), told(1));
        for _ in 0..900 {
            tally.add(address);
            assert_eq!(tally.due(start), None);
        }
        assert_eq!(tally.due(start + PERIOD), told(900));
        assert_eq!(tally.due(start + 2 * PERIOD), None, "nothing more to tell");
    }
}
