//! Files and what is said of their mistakes.

use super::*;

fn fault(text: &str) -> String {
    PipelineFile::parse(text, Path::new("")).err().unwrap().to_string()
}

#[test]
fn every_mistake_is_named_with_what_would_be_right() {
    let ends = "[from.galgo]\nstream = 's'\ntopics = ['t']\n[to.nowhere]\n";
    for (text, said) in [
        ("name = ", "line 1: "),
        ("name = 'a b'\n[from.galgo]\n[to.x]\n", "name: \"a b\" is no name of a pipeline"),
        ("nam = 'p'\n[from.galgo]\n[to.x]\n", "unknown key \"nam\"; did you mean \"name\"?"),
        ("name = 'p'\n[from.galgo]\n", "missing field `to`"),
        ("name = 'p'\n[from.a]\n[to.b]\n", "one of the two ends has to be galgo"),
        ("name = 'p'\n[from.galgo]\n[to.galgo]\n", "galgo mirror copies from topic to topic"),
        ("name = 'p'\n[from.galgo]\n[to.a]\n[to.b]\n", "[to.KIND]: there are two, a and b"),
        ("name = 'p'\n[from.galgo]\ntopic = 't'\n[to.a]\n", "did you mean \"topics\"?"),
        ("name = 'p'\n[from.galgo]\nstream = 's'\ntopics = []\n[to.a]\n", "topics is empty"),
        (&format!("name = 'p'\n{ends}"), "[to.nowhere]: there is no such kind"),
    ] {
        let fault = fault(text);
        assert!(fault.contains(said), "{text}: {fault}");
    }
}

#[test]
fn a_place_to_begin_is_a_word_or_a_time() {
    let origin = |start: &str| {
        let text = format!("stream = 's'\ntopics = ['t']\nstart = '{start}'");
        settings::<GalgoOrigin>("from.galgo", text.parse().unwrap()).map(|it| it.start)
    };
    assert_eq!(origin("next"), Ok(StartAt::Next));
    assert_eq!(origin("1970-01-01T00:00:01Z"), Ok(StartAt::Time(1_000_000)));
    let said = origin("yesterday").unwrap_err().to_string();
    assert!(said.contains("write first, next, or a time"), "{said}");
}

#[test]
fn dead_letters_need_a_topic_and_a_topic_needs_dead_letters() {
    let errors = |text: &str| {
        let errors: ErrorSettings = settings("errors", text.parse().unwrap()).unwrap();
        errors.check().map_err(|error| error.to_string())
    };
    assert_eq!(errors("on_bad = 'dead-letter'\ndead_letter = 's/t'"), Ok(()));
    assert!(errors("on_bad = 'dead-letter'").unwrap_err().contains("needs dead_letter"));
    assert!(errors("dead_letter = 's/t'").unwrap_err().contains("only"));
    assert!(
        errors("on_bad = 'dead-letter'\ndead_letter = 's'").unwrap_err().contains("STREAM/TOPIC")
    );
}
