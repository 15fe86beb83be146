//! What a service manager such as systemd is told: that the server is ready, and that it stops.
//!
//! The protocol is `sd_notify(3)`: one datagram of `NAME=value` lines to the socket that `NOTIFY_SOCKET`
//! names. Without that variable nobody asked and nothing is sent; a manager that does not listen is
//! none of the server's business, so failures are not errors.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Whom to tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceManager {
    socket: Option<OsString>,
}

impl ServiceManager {
    /// The one that `NOTIFY_SOCKET` names, or none.
    pub(crate) fn of_process() -> Self {
        Self { socket: std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) }
    }

    /// Connections are taken, as `status` says.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", status.replace('\n', " ")));
    }

    /// The server ends in order from here on.
    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = send(socket, state)
        {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

/// Sends to a path, or to a name of the abstract kind, written with `@` in front.
fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.send_to_addr(state.as_bytes(), &address(socket)?)?;
    Ok(())
}

#[cfg(target_os = "linux")]
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::ffi::OsStrExt as _;
    match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(socket),
    }
}

/// Abstract names are Linux's own.
#[cfg(not(target_os = "linux"))]
fn address(socket: &OsStr) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 512];
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    }

    #[test]
    fn a_manager_is_told_of_each_state() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager { socket: Some(path.into_os_string()) };
        manager.ready("tcp 127.0.0.1:8090");
        assert_eq!(received(&socket), "READY=1\nSTATUS=tcp 127.0.0.1:8090");
        manager.stopping();
        assert_eq!(received(&socket), "STOPPING=1");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_name_is_understood_and_nobody_there_is_no_failure() {
        let name = format!("@galgo-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&address(name.as_ref()).unwrap()).unwrap();
        let manager = ServiceManager { socket: Some(name.into()) };
        manager.stopping();
        assert_eq!(received(&socket), "STOPPING=1");
        drop(socket);
        manager.stopping();
        ServiceManager::default().ready("nobody asked");
    }
}
