//! Passwords, TLS, and a value that is in no error.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use galgo_testkit::service::postgres::Postgres;

use crate::rig::{Topic, let_in, refused, section, server, spec};

fn settings(server: &Postgres, user: &str, more: &str) -> String {
    section(server, "'items'", more).replace("postgres@", &format!("{user}@"))
}

/// A role of its own for each method, a wrong password, none, and one that changed.
#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_proved_and_not_told() {
    let Some(server) = server(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    server.sql(
        "CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items VALUES (1); GRANT SELECT ON items TO PUBLIC;
         CREATE ROLE scram LOGIN REPLICATION PASSWORD 'MARKED-päss'; SET password_encryption = md5; CREATE ROLE md5 LOGIN REPLICATION PASSWORD 'MARKED';
         CREATE ROLE bare LOGIN REPLICATION PASSWORD 'MARKED'; CREATE PUBLICATION p FOR TABLE items",
    );
    for slot in ["scram", "md5", "bare"] {
        server.sql(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"));
    }
    let_in(
        &server,
        "host all scram 127.0.0.1/32 scram-sha-256\nhost all md5 127.0.0.1/32 md5\nhost all bare 127.0.0.1/32 password",
    );
    let more = |slot: &str| {
        format!(
            "publication = 'p'\nslot = '{slot}'\ncreate = false\npassword = {{ file = '{}' }}",
            secret.display()
        )
    };
    for (role, password) in [("scram", "MARKED-päss"), ("md5", "MARKED")] {
        let text = settings(&server, role, &more(role));
        std::fs::write(&secret, "MARKED-wrong\n").unwrap();
        let mut topic = Topic::new(spec(role, &text));
        let said = refused(topic.begin().await);
        assert!(said.contains("28P01") && said.contains("pg_hba.conf"), "{said}");
        assert!(!said.contains("MARKED"), "INV-MUTE: {said}");
        std::fs::write(&secret, password).unwrap();
        topic.begin().await.unwrap();
        topic.catch_up(&server).await;
        assert_eq!(topic.ops(), ["r"]);
        let none = text.replace("password =", "# password =");
        let said = refused(Topic::new(spec(role, &none)).begin().await);
        assert!(said.contains("the server wants a password, and the file names none"), "{said}");
    }
    let said =
        refused(Topic::new(spec("bare", &settings(&server, "bare", &more("bare")))).begin().await);
    assert!(said.contains("on a connection that is not encrypted"), "{said}");
}

fn certificate(folder: &Path, data: &Path) {
    let openssl = |arguments: &str| {
        let made = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    openssl(
        "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -out ca.pem -subj /CN=authority -addext basicConstraints=critical,CA:TRUE",
    );
    openssl("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost");
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out server.crt -extfile names",
    );
    for name in ["server.key", "server.crt"] {
        std::fs::copy(folder.join(name), data.join(name)).unwrap();
        let owned =
            Command::new("chown").arg("--reference").arg(data).arg(data.join(name)).status();
        assert!(owned.unwrap().success());
        std::fs::set_permissions(data.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_as_the_url_says() {
    let Some(server) = server(&[]) else { return };
    let Some(_) = galgo_testkit::service::program("openssl", &[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "MARKED").unwrap();
    certificate(folder.path(), &server.data());
    server.sql(
        "CREATE TABLE items (id int PRIMARY KEY); INSERT INTO items VALUES (1); GRANT SELECT ON items TO PUBLIC; CREATE PUBLICATION p FOR TABLE items;
         CREATE ROLE app LOGIN REPLICATION PASSWORD 'MARKED'",
    );
    let ca = format!("ca_file = '{}'", folder.path().join("ca.pem").display());
    let text = |mode: &str, host: &str, more: &str| {
        let url = format!("@{host}:{}/postgres?sslmode={mode}", server.port());
        let text = settings(
            &server,
            "app",
            &format!(
                "publication = 'p'\nslot = 's'\ncreate = false\n{more}\npassword = {{ file = '{}' }}",
                folder.path().join("secret").display()
            ),
        );
        text.replace(&format!("@127.0.0.1:{}/postgres", server.port()), &url)
    };
    let begin = async |mode: &str, host: &str, more: &str| {
        Topic::new(spec("tls", &text(mode, host, more))).begin().await
    };
    server.sql("SELECT pg_create_logical_replication_slot('s', 'pgoutput')");
    // Without TLS at the server.
    let_in(&server, "host all app 127.0.0.1/32 scram-sha-256");
    begin("prefer", "127.0.0.1", "").await.unwrap();
    let said = refused(begin("require", "127.0.0.1", "").await);
    assert!(said.contains("127.0.0.1 does not speak TLS"), "{said}");
    server.sql("ALTER SYSTEM SET ssl = on");
    server.sql("SELECT pg_reload_conf()");
    galgo_testkit::service::wait_until("TLS is on", || server.sql("SHOW ssl") == "on");
    // A password as it is, too: only inside of TLS.
    let_in(&server, "hostssl all app 127.0.0.1/32 password");
    for (mode, host, more) in [
        ("prefer", "127.0.0.1", ""),
        ("require", "127.0.0.1", ""),
        ("verify-full", "localhost", ca.as_str()),
        ("require", "localhost", &ca),
    ] {
        begin(mode, host, more).await.unwrap();
    }
    for (mode, host, more) in [
        ("verify-full", "localhost", ""),
        ("verify-full", "127.0.0.1", &ca),
        ("require", "127.0.0.1", &ca),
    ] {
        let said = refused(begin(mode, host, more).await);
        assert!(said.contains("TLS: ") && said.contains("ca_file"), "{said}");
    }
    assert!(begin("disable", "127.0.0.1", "").await.is_err());
    let mut topic = Topic::new(spec("tls", &text("verify-full", "localhost", &ca)));
    topic.begin().await.unwrap();
    topic.catch_up(&server).await;
    assert_eq!(topic.ops(), ["r"]);
}
