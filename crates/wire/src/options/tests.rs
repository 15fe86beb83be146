//! Choices by name: set, taken back, kept, resolved.

use super::*;
use crate::command::Durability;

fn pair(name: &str, value: &str) -> [TopicOption; 1] {
    [TopicOption { name: name.to_owned(), value: value.to_owned() }]
}

fn server() -> OptionChoices {
    let mut choices = OptionChoices::of_servers();
    choices.set("message_expiry", "400s").unwrap();
    choices
}

#[test]
fn each_row_has_a_key_and_a_flag_like_its_name() {
    for row in TOPIC_OPTIONS {
        assert_eq!(row.key, row.name.replace('.', "_"));
        assert!(row.name.replace(['.', '_'], "-").ends_with(row.flag), "{row:?}");
        assert!(row.meaning().ends_with('.'), "{row:?}");
        assert!(!row.meaning().contains("  "), "{row:?}");
        row.values.iter().for_each(|value| row.check(value).unwrap());
    }
    let mut flags: Vec<_> = TOPIC_OPTIONS.iter().map(|row| row.flag).collect();
    flags.sort_unstable();
    flags.dedup();
    assert_eq!(flags.len(), TOPIC_OPTIONS.len());
}

#[test]
fn what_holds_is_what_the_topic_chose_or_else_the_server() {
    let none = OptionChoices::default();
    let holds = none.effective(&server());
    assert_eq!(holds.durability, Durability::Fsync);
    assert_eq!(holds.retention_hold_for, Age::from_secs(604_800));
    assert_eq!(holds.message_expiry.us(), 400_000_000);
    let chosen = none.with(&pair("durability", "os")).unwrap();
    let chosen = chosen.with(&pair("retention.hold_for", "1h 30m")).unwrap();
    let holds = chosen.effective(&server());
    assert_eq!(holds.durability, Durability::Os);
    assert_eq!(holds.retention_hold_for.us(), 5_400_000_000);
    let back = chosen.with(&pair("durability", "")).unwrap();
    let back = back.with(&pair("retention.hold_for", "")).unwrap();
    assert_eq!(back, none);
    assert!(back.is_empty());
}

#[test]
fn segments_get_as_old_as_a_quarter_of_the_expiry() {
    let age = |expiry: &str, chosen: &str| {
        let mut choices = OptionChoices::default();
        choices.set("message_expiry", expiry).unwrap();
        choices.set("segment.max_age", chosen).unwrap();
        choices.effective(&OptionChoices::of_servers()).segment_max_age
    };
    assert_eq!(age("400s", ""), Age::from_secs(100));
    assert_eq!(age("1s", ""), Age::from_secs(60));
    assert_eq!(age("never", ""), Age::NEVER);
    assert_eq!(age("never", "1s"), Age::from_secs(1));
    assert_eq!(age("400s", "never"), Age::NEVER);
}

#[test]
fn options_are_shown_in_their_usual_form_with_where_they_come_from() {
    let mut choices = OptionChoices::default();
    for (name, value) in [
        ("retention.hold_consumers", "true"),
        ("max_size", "1024MiB"),
        ("retention.hold_for", "90m"),
    ] {
        choices.set(name, value).unwrap();
    }
    let resolved = choices.resolved(&server());
    let shown = resolved.iter().map(|it| (it.name.as_str(), it.value.as_str(), it.default));
    let shown: Vec<_> = shown.collect();
    assert_eq!(
        shown,
        [
            ("durability", "fsync", true),
            ("deduplication", "off", true),
            ("message_expiry", "6m 40s", true),
            ("max_size", "1 GiB", false),
            ("retention.hold_for", "1h 30m", false),
            ("retention.hold_consumers", "on", false),
            ("segment.max_age", "1m 40s", true),
        ]
    );
}

#[test]
fn what_is_no_option_is_refused_and_changes_nothing() {
    let mut choices = OptionChoices::default();
    choices.set("durability", "os").unwrap();
    let before = choices.clone();
    let unknown = OptionError::Unknown { name: "compression".to_owned() };
    assert_eq!(choices.set("compression", "zstd"), Err(unknown));
    let long = "1".repeat(VALUE_BYTES_MAX + 1);
    for (name, value) in [
        ("retention.hold_for", "soon"),
        ("retention.hold_consumers", "yes"),
        ("durability", "default"),
        ("durability", "raid"),
        ("deduplication", "maybe"),
        ("message_expiry", "0"),
        ("max_size", "0"),
        ("max_size", long.as_str()),
    ] {
        let error = choices.set(name, value).unwrap_err();
        assert!(error.to_string().contains("expected"), "{error}");
    }
    assert_eq!(choices, before);
}

/// INV-OPTION-KEPT.
#[test]
fn what_a_later_version_set_is_kept_until_it_is_set_again() {
    let mut choices = OptionChoices::default();
    choices.keep("compression", "zstd:3");
    choices.keep("durability", "quorum");
    choices.keep("segment.max_age", "1h");
    assert!(!choices.is_empty());
    let pairs = choices.pairs();
    let expected = [("compression", "zstd:3"), ("durability", "quorum"), ("segment.max_age", "1h")];
    assert_eq!(pairs, expected.map(|(name, value)| (name, value.to_owned())).into());
    assert_eq!(choices.effective(&server()).durability, Durability::Fsync);
    choices.set("durability", "os").unwrap();
    assert_eq!(choices.pairs()["durability"], "os");
    choices.set("durability", "").unwrap();
    assert!(!choices.pairs().contains_key("durability"));
}

#[test]
fn every_value_reads_back_as_it_is_shown() {
    let server = OptionChoices::of_servers();
    for option in OptionChoices::default().resolved(&server) {
        OptionRow::of(&option.name).unwrap().check(&option.value).unwrap();
    }
}
