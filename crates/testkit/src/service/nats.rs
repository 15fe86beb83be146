//! A NATS server of its own for a test.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Service, free_ports, listens, program, wait_until};

/// The user who may do anything, and the password.
pub const USER: &str = "bridge";
/// See [`USER`].
pub const PASSWORD: &str = "right-password";
/// The user with the same password who may not publish to `forbidden.>`.
pub const LESSER_USER: &str = "lesser";
/// The largest payload it takes: little enough for a test to go beyond.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 10;

/// A running NATS server with JetStream. It is gone when it is dropped.
#[derive(Debug)]
pub struct Nats {
    program: PathBuf,
    folder: PathBuf,
    /// Where it listens.
    pub port: u16,
    service: Option<Service>,
}

impl Nats {
    /// Starts one whose data is in an empty folder; `None` if it is not installed.
    pub fn start(folder: &Path) -> Option<Self> {
        let program = program("nats-server", &["/usr/sbin"])?;
        let port = free_ports(1);
        let conf = format!(
            "listen: \"127.0.0.1:{port}\"\nmax_payload: {PAYLOAD_BYTES_MAX}\n\
             jetstream {{ store_dir: \"{}\" }}\n\
             authorization {{ users = [\n\
             {{ user: {USER}, password: \"{PASSWORD}\" }},\n\
             {{ user: {LESSER_USER}, password: \"{PASSWORD}\", \
             permissions: {{ publish: {{ deny: \"forbidden.>\" }} }} }} ] }}\n",
            folder.display()
        );
        std::fs::write(folder.join("conf"), conf).unwrap();
        let mut nats = Self { program, folder: folder.into(), port, service: None };
        nats.start_again();
        Some(nats)
    }

    /// Starts it on the data it had.
    pub fn start_again(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.folder.join("conf"));
        self.service = Some(Service::start(&mut command, &self.folder.join("log")));
        let port = self.port;
        wait_until("NATS listens", || listens(port));
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        self.service = None;
    }
}
