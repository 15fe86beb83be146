//! A PostgreSQL for a test, and who is let in.

use galgo_testkit::service::postgres::Postgres;

/// A server in a folder of its own.
pub(crate) struct Server {
    pub(crate) postgres: Postgres,
    _folder: tempfile::TempDir,
}

impl std::ops::Deref for Server {
    type Target = Postgres;

    fn deref(&self) -> &Postgres {
        &self.postgres
    }
}

/// Starts one, with settings as `name=value`; none where PostgreSQL is not installed.
pub(crate) fn start(settings: &[&str]) -> Option<Server> {
    let folder = tempfile::tempdir().unwrap();
    let postgres = Postgres::start(folder.path(), settings)?;
    Some(Server { postgres, _folder: folder })
}

/// Lets the superuser in as before, and others by these lines of `pg_hba.conf`.
pub(crate) fn let_in(server: &Postgres, lines: &str) {
    let rules = format!("host all postgres 127.0.0.1/32 trust\nlocal all all trust\n{lines}\n");
    std::fs::write(server.data().join("pg_hba.conf"), rules).unwrap();
    server.sql("SELECT pg_reload_conf()");
    galgo_testkit::service::wait_until("the rules are read", || {
        server.sql(
            "SELECT count(*) FROM pg_hba_file_rules WHERE error IS NULL AND auth_method <> 'trust'",
        ) != "0"
    });
}
