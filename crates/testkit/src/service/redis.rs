//! A Redis of its own for a test.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Service, free_ports, listens, program, wait_until};

/// The user who may do anything, and the password.
pub const USER: &str = "bridge";
/// See [`USER`].
pub const PASSWORD: &str = "right-password";
/// The user with the same password who may look and keep positions, but not add to streams.
pub const LESSER_USER: &str = "lesser";

/// A running Redis that writes what it is told to its disk. It is gone when it is dropped.
#[derive(Debug)]
pub struct Redis {
    program: PathBuf,
    folder: PathBuf,
    /// Where it listens.
    pub port: u16,
    service: Option<Service>,
}

impl Redis {
    /// Starts one whose data is in an empty folder; `None` if it is not installed.
    pub fn start(folder: &Path) -> Option<Self> {
        Self::start_with(folder, free_ports(1), "")
    }

    /// Starts one that listens at a port, with these lines in its configuration.
    pub fn start_with(folder: &Path, port: u16, more: &str) -> Option<Self> {
        let program = program("redis-server", &["/usr/bin", "/usr/sbin"])?;
        // A line of its own may say another port.
        let conf = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsave \"\"\nappendonly yes\nappendfsync always\n\
             user default on >{PASSWORD} ~* &* +@all\nuser {USER} on >{PASSWORD} ~* &* +@all\n\
             user {LESSER_USER} on >{PASSWORD} ~* &* -@all +@connection +@scripting +@read +hset\n{more}\n",
            folder.display()
        );
        std::fs::write(folder.join("conf"), conf).unwrap();
        let mut redis = Self { program, folder: folder.into(), port, service: None };
        redis.start_again();
        Some(redis)
    }

    /// Starts it on the data it had.
    pub fn start_again(&mut self) {
        let mut command = Command::new(&self.program);
        command.arg(self.folder.join("conf"));
        self.service = Some(Service::start(&mut command, &self.folder.join("log")));
        let port = self.port;
        wait_until("Redis listens", || listens(port));
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        self.service = None;
    }
}
