//! A PostgreSQL of its own for a test: made, started, killed, started again.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{free_ports, program, wait_until};

/// Where Debian puts the programs of the server, and others.
const FOLDERS: [&str; 7] = [
    "/usr/lib/postgresql/18/bin",
    "/usr/lib/postgresql/17/bin",
    "/usr/lib/postgresql/16/bin",
    "/usr/lib/postgresql/15/bin",
    "/usr/lib/postgresql/14/bin",
    "/usr/local/pgsql/bin",
    "/usr/pgsql/bin",
];

/// A server that ends, with all its processes, when it is dropped.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    /// Settings of the server, as `name=value`.
    settings: Vec<String>,
}

impl Postgres {
    /// Starts one in an empty folder, with settings as `name=value`; none: PostgreSQL is not installed.
    pub fn start(folder: &Path, settings: &[&str]) -> Option<Self> {
        let initdb = program("initdb", &FOLDERS)?;
        let folder = folder.to_path_buf();
        // The server runs as another user.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        let settings = settings.iter().map(ToString::to_string).collect();
        // A link to it may be elsewhere, without the others.
        let initdb = initdb.canonicalize().unwrap();
        let programs = initdb.parent().unwrap().to_path_buf();
        let server = Self { programs, folder, port: free_ports(1), settings };
        let data = server.data();
        let made = server.run(
            "initdb",
            &["-D", data.to_str().unwrap(), "-U", "postgres", "-A", "trust", "--no-sync"],
            &["-E", "UTF8", "--locale=C.UTF-8"],
        );
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        server.start_again();
        Some(server)
    }

    /// The port it listens on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its data is.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A URL of the superuser.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it again on the same data, also after [`Postgres::kill`]; returns when it answers.
    pub fn start_again(&self) {
        let (data, log) = (self.data(), self.folder.join("log"));
        let folder = self.folder.display();
        let mut options = format!(
            "-p {} -h 127.0.0.1 -k {folder} -c shared_buffers=16MB -c fsync=off",
            self.port
        );
        self.settings.iter().for_each(|setting| options.push_str(&format!(" -c {setting}")));
        let arguments = ["-D", data.to_str().unwrap(), "-w", "-t", "120", "-l"];
        let more = [log.to_str().unwrap(), "-o", &options, "start"];
        let mut started = self.run("pg_ctl", &arguments, &more);
        if !started.status.success() {
            // Another test took the port, or a process of before was not gone yet.
            std::thread::sleep(std::time::Duration::from_secs(1));
            started = self.run("pg_ctl", &arguments, &more);
        }
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let errors = String::from_utf8_lossy(&started.stderr);
        assert!(started.status.success(), "{errors} {said}");
    }

    /// Ends all its processes at once, as a crash does, and waits for their end.
    pub fn kill(&self) {
        let all = self.processes();
        for process in &all {
            let _ = Command::new("kill").args(["-9", process]).output();
        }
        let gone = |process: &String| {
            // One that has ended and that nobody has waited for is gone, too.
            let status = std::fs::read_to_string(format!("/proc/{process}/stat"));
            status.is_err() || status.is_ok_and(|it| it.contains(") Z "))
        };
        wait_until("all processes of PostgreSQL have ended", || all.iter().all(gone));
        // Their numbers may be those of other processes soon.
        let socket = format!(".s.PGSQL.{}.lock", self.port);
        for file in [self.data().join("postmaster.pid"), self.folder.join(socket)] {
            let _ = std::fs::remove_file(file);
        }
    }

    /// Says statements with `psql`; what it answers, without frames, and fails if it fails.
    pub fn sql(&self, statements: &str) -> String {
        let said = self.psql(statements);
        let errors = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.success(), "{errors}");
        String::from_utf8(said.stdout).unwrap().trim_end().to_owned()
    }

    /// Says statements with `psql`, whatever comes of it.
    pub fn psql(&self, statements: &str) -> Output {
        let mut psql = self.client("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statements]);
        psql.output().unwrap()
    }

    /// A program that comes with the server, `pgbench` for example, as the superuser.
    pub fn client(&self, name: &str) -> Command {
        let mut client = Command::new(self.programs.join(name));
        client.env("PGHOST", "127.0.0.1").env("PGPORT", self.port.to_string());
        client.env("PGUSER", "postgres").env("PGDATABASE", "postgres");
        client
    }

    /// Everything that is in it, as text: to see whether anything changed.
    pub fn dump(&self) -> String {
        let dumped = self.client("pg_dump").output().unwrap();
        assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
        let text = String::from_utf8(dumped.stdout).unwrap();
        // A number that is another one each time.
        let lines = text.lines().filter(|line| !line.contains("restrict "));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The server's process and those it made.
    fn processes(&self) -> Vec<String> {
        let Ok(text) = std::fs::read_to_string(self.data().join("postmaster.pid")) else {
            return Vec::new();
        };
        let Some(first) = text.lines().next().map(str::to_owned) else { return Vec::new() };
        let children = format!("/proc/{first}/task/{first}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let children = children.split_whitespace().map(str::to_owned);
        std::iter::once(first.clone()).chain(children).collect()
    }

    /// Runs one of its programs as a user it accepts: it does not run as root.
    fn run(&self, name: &str, arguments: &[&str], more: &[&str]) -> Output {
        let path = self.programs.join(name);
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|it| is_owned_by_root(&it));
        let mut command = match is_root {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(path);
                command
            }
            false => Command::new(path),
        };
        // The server must not hold what a test's output goes to.
        command.current_dir(&self.folder).args(arguments).args(more);
        let out = self.folder.join(format!("{name}.out"));
        let errors = self.folder.join(format!("{name}.errors"));
        let file = |path: &Path| std::fs::File::create(path).unwrap();
        let status = command.stdout(file(&out)).stderr(file(&errors)).status().unwrap();
        let read = |path: &Path| std::fs::read(path).unwrap();
        Output { status, stdout: read(&out), stderr: read(&errors) }
    }
}

fn is_owned_by_root(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.uid() == 0
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}
