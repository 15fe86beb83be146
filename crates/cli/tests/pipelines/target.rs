//! Targets as the acceptance tests see them: a section of a file, a server that can be killed, and rows that can be counted.

use std::path::{Path, PathBuf};

use galgo_testkit::service::clickhouse::ClickHouse;
use galgo_testkit::service::postgres::Postgres;
use rusqlite::Connection;
use serde_json::Value;

/// A row that was found in the target: which message it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FoundRow {
    pub(crate) lane: u32,
    pub(crate) number: u64,
}

/// A target.
pub(crate) trait Target {
    /// The section of a pipeline that writes into it.
    fn section(&self) -> String;
    /// Every row of it, in its order if it has one.
    fn rows(&self) -> Vec<FoundRow>;
    /// Whether several processes write into it.
    fn is_shared(&self) -> bool;
    /// Ends it as a crash does; false: there is nothing to end.
    fn kill(&mut self) -> bool;
    /// Starts it again on what it has.
    fn start_again(&mut self);
}

/// The kinds of targets that keep a position, each in a folder of its own below `folder`; those that are not installed are left out.
pub(crate) fn exactly_once(folder: &Path) -> Vec<Box<dyn Target>> {
    let sub = |name: &str| {
        let path = folder.join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let mut all: Vec<Box<dyn Target>> =
        vec![Box::new(SqliteFile(folder.join("orders.db"))), Box::new(Lines(folder.join("lines")))];
    // Other users' servers have to get into the folder.
    open_to_all(folder);
    if let Some(server) = Postgres::start(&sub("postgres"), &["max_connections=50"]) {
        all.push(Box::new(PostgresTable(server)));
    }
    if let Some(server) = ClickHouse::start(&sub("clickhouse")) {
        all.push(Box::new(ClickHouseTable(Some(server))));
    }
    all
}

fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}

const COLUMNS: &str = "lane = { from = \".lane\", type = \"integer\", null = false }\n\
     number = { from = \".number\", type = \"bigint\", null = false }\n\
     text = { from = \".text\", type = \"text\" }\n\
     place = { from = \"@offset\", type = \"bigint\" }\n";

/// A table in a file.
pub(crate) struct SqliteFile(pub(crate) PathBuf);

impl Target for SqliteFile {
    fn section(&self) -> String {
        let file = self.0.display();
        format!(
            "[to.sqlite]\nfile = \"{file}\"\ntable = \"orders\"\n[to.sqlite.columns]\n{COLUMNS}"
        )
    }

    fn rows(&self) -> Vec<FoundRow> {
        let connection = Connection::open(&self.0).unwrap();
        let Ok(mut statement) =
            connection.prepare("SELECT lane, number FROM orders ORDER BY rowid")
        else {
            return Vec::new();
        };
        let found = statement.query_map([], |row| {
            Ok(FoundRow { lane: row.get(0)?, number: row.get::<_, i64>(1)?.unsigned_abs() })
        });
        found.unwrap().map(Result::unwrap).collect()
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn kill(&mut self) -> bool {
        false
    }

    fn start_again(&mut self) {}
}

/// Files of lines.
struct Lines(PathBuf);

impl Target for Lines {
    fn section(&self) -> String {
        format!(
            "[to.file]\npath = \"{}\"\nlines = \"payload\"\nrotate = {{ after = \"1s\" }}\n",
            self.0.display()
        )
    }

    fn rows(&self) -> Vec<FoundRow> {
        let mut rows = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
            paths.sort();
            for path in paths {
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_string_lossy().contains(".ndjson") {
                    // One that is being written, too: its last line may be cut off, and it may get its name meanwhile.
                    let text = std::fs::read_to_string(&path).unwrap_or_default();
                    rows.extend(text.lines().filter_map(row_of_json));
                }
            }
        }
        rows
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn kill(&mut self) -> bool {
        false
    }

    fn start_again(&mut self) {}
}

fn row_of_json(line: &str) -> Option<FoundRow> {
    let value: Value = serde_json::from_str(line).ok()?;
    let lane = u32::try_from(value.get("lane")?.as_u64()?).ok()?;
    Some(FoundRow { lane, number: value.get("number")?.as_u64()? })
}

/// A table of PostgreSQL.
pub(crate) struct PostgresTable(pub(crate) Postgres);

impl Target for PostgresTable {
    fn section(&self) -> String {
        let url = self.0.url();
        format!(
            "[to.postgres]\nurl = \"{url}\"\ntable = \"orders\"\n[to.postgres.columns]\n{COLUMNS}"
        )
    }

    fn rows(&self) -> Vec<FoundRow> {
        let said = self.0.psql("SELECT lane, number FROM orders ORDER BY place");
        rows_of_text(&String::from_utf8(said.stdout).unwrap(), '|')
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn kill(&mut self) -> bool {
        self.0.kill();
        true
    }

    fn start_again(&mut self) {
        self.0.start_again();
    }
}

fn rows_of_text(text: &str, divider: char) -> Vec<FoundRow> {
    let row = |line: &str| {
        let (lane, number) = line.split_once(divider)?;
        Some(FoundRow { lane: lane.parse().ok()?, number: number.parse().ok()? })
    };
    text.lines().map(|line| row(line).unwrap()).collect()
}

/// A table of ClickHouse.
struct ClickHouseTable(Option<ClickHouse>);

impl Target for ClickHouseTable {
    fn section(&self) -> String {
        let url = self.0.as_ref().unwrap().url();
        format!(
            "[to.http]\nurl = \"{url}\"\nbody = \"clickhouse\"\n[to.http.clickhouse]\ntable = \"orders\"\ncreate = true\n\
             columns = {{ lane = \"UInt32\", number = \"UInt64\", text = \"String\" }}\n"
        )
    }

    fn rows(&self) -> Vec<FoundRow> {
        let server = self.0.as_ref().unwrap();
        let tables =
            "SELECT count() FROM system.tables WHERE database = 'default' AND name = 'orders'";
        match server.query(tables).trim() {
            "0" => Vec::new(),
            _ => rows_of_text(
                &server.query(
                    "SELECT lane, number FROM orders ORDER BY galgo_partition, galgo_offset",
                ),
                '\t',
            ),
        }
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn kill(&mut self) -> bool {
        self.0.as_mut().unwrap().kill();
        true
    }

    fn start_again(&mut self) {
        self.0.as_mut().unwrap().start_again();
    }
}

/// Nothing is missing and nothing is there twice.
pub(crate) fn assert_once(name: &str, mut rows: Vec<FoundRow>, numbers: std::ops::Range<u64>) {
    let (found, expected) =
        (rows.len() as u64, (numbers.end - numbers.start) * u64::from(crate::PARTITIONS));
    rows.sort_unstable();
    let twice = rows.windows(2).find(|two| two[0] == two[1]).map(|two| two[0]);
    assert_eq!(twice, None, "{name}: a row is there twice, of {found} for {expected} messages");
    let lanes = (0..crate::PARTITIONS)
        .flat_map(|lane| numbers.clone().map(move |number| FoundRow { lane, number }));
    for expected in lanes {
        assert!(rows.binary_search(&expected).is_ok(), "{name}: {expected:?} is missing");
    }
    assert_eq!(found, expected, "{name}: rows of no message");
}

/// Rows of a lane are in the order of its messages.
pub(crate) fn assert_order(name: &str, rows: &[FoundRow]) {
    for lane in 0..crate::PARTITIONS {
        let numbers: Vec<u64> =
            rows.iter().filter(|row| row.lane == lane).map(|row| row.number).collect();
        assert!(numbers.is_sorted(), "{name}: lane {lane} is out of order");
    }
}
