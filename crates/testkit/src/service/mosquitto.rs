//! A Mosquitto of its own for a test.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Service, free_ports, listens, program, wait_until};

/// The user who may log in, and the password.
pub const USER: &str = "bridge";
/// See [`USER`].
pub const PASSWORD: &str = "right-password";
/// The largest packet it takes; whoever sends a larger one is cut off.
pub const PACKET_BYTES_MAX: usize = 256 << 10;

/// A running Mosquitto that keeps all messages of a session that is away. It is gone when it is dropped.
#[derive(Debug)]
pub struct Mosquitto {
    program: PathBuf,
    folder: PathBuf,
    /// Where it listens.
    pub port: u16,
    service: Option<Service>,
}

impl Mosquitto {
    /// Starts one whose data is in an empty folder; `None` if it is not installed.
    pub fn start(folder: &Path) -> Option<Self> {
        Self::start_with(folder, "")
    }

    /// Starts one with these lines for its listener.
    pub fn start_with(folder: &Path, more: &str) -> Option<Self> {
        let program = program("mosquitto", &["/usr/sbin"])?;
        let port = free_ports(1);
        let users = folder.join("users");
        let hashed = Command::new("mosquitto_passwd")
            .args(["-b", "-c"])
            .arg(&users)
            .args([USER, PASSWORD])
            .status();
        assert!(hashed.is_ok_and(|status| status.success()), "its users are written");
        let conf = format!(
            "user root\npersistence true\npersistence_location {}/\nautosave_on_changes false\n\
             autosave_interval 1\nmax_queued_messages 0\nmax_inflight_messages 0\nmax_packet_size {PACKET_BYTES_MAX}\n\
             password_file {}\nallow_anonymous false\nlistener {port} 127.0.0.1\n{more}\n",
            folder.display(),
            users.display()
        );
        std::fs::write(folder.join("conf"), conf).unwrap();
        let mut mosquitto = Self { program, folder: folder.into(), port, service: None };
        mosquitto.start_again();
        Some(mosquitto)
    }

    /// Starts it on the data it had.
    pub fn start_again(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.folder.join("conf"));
        self.service = Some(Service::start(&mut command, &self.folder.join("log")));
        let port = self.port;
        wait_until("Mosquitto listens", || listens(port));
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        self.service = None;
    }
}
