//! What the section says.

use super::*;

fn around() -> Surroundings {
    Surroundings { pipeline: "orders".to_owned(), folder: "/etc/galgo".into() }
}

fn section(text: &str) -> Table {
    let file: Table = text.parse().unwrap();
    let section = file.get("to").and_then(|to| to.get("postgres")).unwrap();
    section.as_table().unwrap().clone()
}

fn parsed(more: &str) -> Result<PgTable, String> {
    let text = format!("url = 'postgres://a@b/c'\ntable = 's.t'\n{more}");
    PgTable::read(text.parse().unwrap(), &around()).map_err(|error| error.to_string())
}

#[test]
fn the_example_is_read_with_every_key() {
    let short = section(EXAMPLE);
    assert_eq!(short.keys().collect::<Vec<_>>(), ["password", "table", "url"]);
    PgTable::read(short, &around()).unwrap();
    let uncommented = |line: &str| match line.strip_prefix("# ") {
        Some(key) if key.starts_with('[') || (key.contains(" = ") && !key.starts_with('{')) => {
            key.to_owned()
        }
        _ => line.to_owned(),
    };
    let every: Vec<String> = EXAMPLE.lines().map(uncommented).collect();
    let every = every.join("\n").replace("\"append\"", "\"upsert\"");
    let every = section(&every);
    assert_eq!(every.keys().count(), 15, "{every}");
    let spec = PgTable::read(every, &around()).unwrap();
    assert_eq!(spec.connections(), 4);
    assert_eq!(spec.target.login.ca_file, Some("/etc/galgo/ca.pem".into()));
    assert_eq!(spec.target.login.application, "galgo:orders");
}

#[test]
fn positions_are_beside_the_table() {
    let spec = parsed("payload = 'bytea'").unwrap();
    assert_eq!(spec.target.positions.to_string(), "s.galgo_positions");
    assert!(!spec.needs_json() && parsed("").unwrap().needs_json());
}

#[test]
fn what_is_wrong_is_named() {
    for (text, expected) in [
        ("connections = 0", "connections is 1 to 64"),
        ("timeout = '1ms'", "at least 1s"),
        ("modus = 'append'", "did you mean \"mode\"?"),
        ("mode = 'mirror'", "need columns"),
        (
            "columns.\"ääääääääääääääääääääääääääääääää\" = { from = '.a', type = 'text' }",
            "is longer than",
        ),
    ] {
        let Err(fault) = parsed(text) else { panic!("{text}") };
        assert!(fault.contains(expected), "{fault}");
    }
}
