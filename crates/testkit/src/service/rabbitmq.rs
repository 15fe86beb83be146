//! A RabbitMQ of its own for a test.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Service, free_ports, listens, program, wait_until};

/// The largest message it takes: little enough for a test to go beyond.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// A running RabbitMQ with the user `guest` and the password `guest`. It is gone when it is dropped.
#[derive(Debug)]
pub struct Rabbitmq {
    program: PathBuf,
    folder: PathBuf,
    /// Of AMQP; the two behind it are for its own use.
    pub port: u16,
    service: Option<Service>,
}

impl Rabbitmq {
    /// Starts one whose data is in an empty folder; `None` if it is not installed.
    pub fn start(folder: &Path) -> Option<Self> {
        let program = program("rabbitmq-server", &["/usr/sbin"])?;
        let port = free_ports(3);
        let conf = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\nmax_message_size = {MESSAGE_BYTES_MAX}\n\
             log.console = false\n"
        );
        std::fs::write(folder.join("rabbitmq.conf"), conf).unwrap();
        std::fs::write(folder.join("plugins"), "[].\n").unwrap();
        let owned = Command::new("chown").args(["-R", "rabbitmq"]).arg(folder).status().unwrap();
        assert!(owned.success(), "the server runs as its own user");
        let mut rabbitmq = Self { program, folder: folder.into(), port, service: None };
        rabbitmq.start_again();
        Some(rabbitmq)
    }

    /// Starts it on the data it had.
    pub fn start_again(&mut self) {
        let _ = std::fs::remove_file(self.folder.join("pid"));
        let mut command = Command::new(&self.program);
        self.surroundings(&mut command);
        // Its log is beside its data, which belongs to its own user.
        self.service = Some(Service::start(&mut command, &self.folder.join("out")));
        let port = self.port;
        // It listens last of all.
        wait_until("RabbitMQ listens", || listens(port));
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        if let Some(id) = self.process_id() {
            let _ = Command::new("kill").args(["-9", &id.to_string()]).status();
            wait_until("RabbitMQ is gone", || !Path::new(&format!("/proc/{id}")).exists());
        }
        self.service = None;
        let port = (self.port + 2).to_string();
        // Its directory of nodes outlives it.
        let _ = Command::new("epmd").args(["-port", &port, "-kill"]).output();
    }

    /// What its tool prints when it is asked for this.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(self.program.with_file_name("rabbitmqctl"));
        self.surroundings(&mut command);
        let output = command.args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "rabbitmqctl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn process_id(&self) -> Option<u32> {
        std::fs::read_to_string(self.folder.join("pid")).ok()?.trim().parse().ok()
    }

    fn surroundings(&self, command: &mut Command) {
        let folder = |name: &str| self.folder.join(name).into_os_string();
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", path)
            .env("RABBITMQ_NODENAME", format!("t{}@localhost", self.port))
            .env("RABBITMQ_MNESIA_BASE", folder("mnesia"))
            .env("RABBITMQ_LOG_BASE", folder("log"))
            .env("RABBITMQ_CONFIG_FILE", folder("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder("plugins"))
            .env("RABBITMQ_PID_FILE", folder("pid"))
            .env("RABBITMQ_DIST_PORT", (self.port + 1).to_string())
            .env("ERL_EPMD_PORT", (self.port + 2).to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
            );
    }
}

impl Drop for Rabbitmq {
    fn drop(&mut self) {
        self.kill();
    }
}
