//! What a section may say.

use super::envelope::EnvelopeTypes;
use super::*;

pub(super) const DIALECT: Dialect = Dialect {
    document: "jsonb",
    envelope: EnvelopeTypes {
        text: "text",
        integer: "integer",
        big_integer: "bigint",
        time: "timestamptz",
        id: "uuid",
        json: "jsonb",
        bytes: "bytea",
    },
    refuses_nul: Some("jsonb"),
};

pub(super) fn settings(columns: &str) -> TableSettings {
    TableSettings {
        section: "[to.test]".to_owned(),
        table: "orders".to_owned(),
        mode: Mode::Append,
        key: Vec::new(),
        newer: None,
        columns: (!columns.is_empty()).then(|| columns.parse().unwrap()),
        rest: None,
        nul: Nul::Bad,
        evolve: Evolve::None,
        payload: PayloadForm::Json,
    }
}

fn fault(change: impl FnOnce(&mut TableSettings)) -> String {
    let mut settings = settings("a = { from = '.a', type = 'text' }");
    change(&mut settings);
    Layout::new(settings, &DIALECT).unwrap_err().to_string()
}

#[test]
fn the_envelope_has_the_place_of_a_message_as_its_key() {
    let layout = Layout::new(settings(""), &DIALECT).unwrap();
    let names: Vec<_> = layout.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["topic", "partition", "offset", "part", "time", "id", "headers", "payload"]);
    assert_eq!(layout.key, [0, 1, 2, 3]);
    assert!(layout.needs_json());
    let text = TableSettings { payload: PayloadForm::Text, ..settings("") };
    assert!(!Layout::new(text, &DIALECT).unwrap().needs_json());
    assert_eq!(
        shape::create(&layout, ""),
        "CREATE TABLE IF NOT EXISTS \"orders\" (\"topic\" text NOT NULL, \"partition\" integer NOT NULL, \
         \"offset\" bigint NOT NULL, \"part\" integer NOT NULL, \"time\" timestamptz NOT NULL, \"id\" uuid NOT NULL, \
         \"headers\" jsonb NOT NULL, \"payload\" jsonb, PRIMARY KEY (\"topic\", \"partition\", \"offset\", \"part\"))"
    );
}

#[test]
fn what_does_not_go_together_is_refused_with_what_would() {
    let says = |fault: String, what: &str| assert!(fault.contains(what), "{fault}");
    says(fault(|it| it.mode = Mode::Upsert), "need a key");
    says(fault(|it| it.key = vec!["b".to_owned()]), "\"b\" is none of its columns");
    says(fault(|it| it.newer = Some("a".to_owned())), "in the modes \"upsert\"");
    says(fault(|it| it.rest = Some("a".to_owned())), "column a is there twice");
    says(fault(|it| it.table = "a.b.c".to_owned()), "no name of a table");
    says(
        fault(|it| {
            it.columns = None;
            it.rest = Some("doc".to_owned());
        }),
        "the envelope keeps the whole payload",
    );
    says(
        fault(|it| {
            it.columns = None;
            it.mode = Mode::Mirror;
        }),
        "need columns",
    );
    let columns = |text: &str| {
        let columns = text.to_owned();
        fault(|it| it.columns = Some(columns.parse().unwrap()))
    };
    says(columns(""), "columns is empty");
    says(columns("a = { from = 'a', type = 'text' }"), "column a: \"a\" is no path");
    says(columns("a = { from = '@when', type = 'text' }"), "@when is not known; there are @time");
    says(columns("a = { from = '.a', type = 'text; drop' }"), "is no type of SQL");
    says(columns("a = { from = '.a', typ = 'text' }"), "unknown field `typ`");
    says(columns("\"\" = { from = '.a', type = 'text' }"), "is empty");
}
