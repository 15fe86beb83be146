//! What a section of this kind may say.

use super::*;

fn around() -> Surroundings {
    Surroundings { pipeline: "p".to_owned(), folder: PathBuf::from("/folder") }
}

fn section(text: &str) -> Result<SqliteSpec, ConfigError> {
    let mut whole: Table = text.parse().unwrap();
    let Some(toml::Value::Table(mut to)) = whole.remove("to") else { panic!("no section") };
    let Some(toml::Value::Table(section)) = to.remove("sqlite") else { panic!("no section") };
    SqliteSpec::read(section, &around())
}

#[test]
fn the_example_is_a_section_with_and_without_its_comments() {
    let spec = section(EXAMPLE).unwrap();
    assert_eq!(spec.database.file, PathBuf::from("/folder/orders.db"));
    assert!(spec.needs_json() && spec.database.create);
    // Every key that is commented out is one that there is.
    let whole = EXAMPLE
        .replace("# Without", "## Without")
        .replace("\n# ", "\n")
        .replace("mode = \"append\" ", "mode = \"upsert\" ")
        .replace("newer = \"updated\"", "newer = \"seen\"");
    let whole = section(&whole).unwrap();
    assert_eq!(whole.database.layout.columns.len(), 4);
}

#[test]
fn what_does_not_fit_sqlite_is_refused() {
    let fault = |text: &str| section(text).err().unwrap().to_string();
    let schema = fault("[to.sqlite]\nfile = 'a'\ntable = 'a.b'");
    assert!(schema.contains("SQLite has no schemas"), "{schema}");
    let typo = fault("[to.sqlite]\nfile = 'a'\ntabel = 'b'");
    assert!(typo.contains("did you mean \"table\""), "{typo}");
    let time = fault("[to.sqlite]\nfile = 'a'\ntable = 'b'\ntimeout = '5'");
    assert!(time.contains("is no time"), "{time}");
}

#[test]
fn a_column_of_numbers_takes_no_other_text_and_one_of_times_does() {
    use std::borrow::Cow;

    use super::cells::{Affinity, is_wrong_type};
    use crate::table::rows::Cell;

    let wrong = |sql_type: &str, cell: &Cell<'_>| is_wrong_type(cell, Affinity::of(sql_type));
    let text = |text: &'static str| Cell::Text(Cow::Borrowed(text));
    for sql_type in ["bigint", "INTEGER", "numeric(12,2)", "REAL", "double precision"] {
        assert!(wrong(sql_type, &text("two")), "{sql_type}");
        assert!(wrong(sql_type, &text("infinity")), "{sql_type}");
        assert!(!wrong(sql_type, &text("-12.50")), "{sql_type}");
        assert!(
            !wrong(sql_type, &Cell::Number("1e3")) && !wrong(sql_type, &Cell::Null),
            "{sql_type}"
        );
    }
    for sql_type in ["text", "timestamptz", "date", "json", "blob"] {
        assert!(!wrong(sql_type, &text("2026-11-30")), "{sql_type}");
    }
}
