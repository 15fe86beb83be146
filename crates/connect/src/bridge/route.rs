//! Where in another system a message goes: a routing key, a subject, a topic.
//!
//! A plain name is that name. Anything else is an [`Expression`]: `"orders.\(.country)"` in jq, `.country`, `@topic`.
//!
//! Part of INV-MUTE: what is wrong with a message is said without the values of its fields.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use crate::batch::Row;
use crate::place::LaneName;
use crate::transform::Expression;

/// Where messages go, the same for all or made of each.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct MessageRoute {
    /// As it is in the file.
    written: String,
    made: Made,
}

#[derive(Clone, Debug)]
enum Made {
    Fixed(String),
    Each(Arc<Expression>),
}

impl MessageRoute {
    /// The name, if it is the same for every message.
    pub(crate) fn fixed(&self) -> Option<&str> {
        match &self.made {
            Made::Fixed(name) => Some(name),
            Made::Each(_) => None,
        }
    }

    /// Whether it looks into payloads, which have to be JSON then.
    pub(crate) fn needs_json(&self) -> bool {
        self.fixed().is_none() && !self.written.trim_start().starts_with('@')
    }

    /// The name for a row. Blocks while a program runs.
    ///
    /// # Errors
    /// What is wrong with the row, without its values.
    pub(crate) fn of(&self, lane: &LaneName, row: &Row) -> Result<String, String> {
        match &self.made {
            Made::Fixed(name) => Ok(name.clone()),
            Made::Each(expression) => match expression.evaluate(lane, row) {
                Ok(Some(name)) => Ok(name),
                Ok(None) => Err(format!("{self} gives nothing for it")),
                Err(bad) => Err(format!("{self}: {bad}")),
            },
        }
    }

    /// The names for rows, in their order.
    pub(crate) async fn of_all(
        &self,
        lane: &LaneName,
        rows: &[Row],
    ) -> Vec<Result<String, String>> {
        if self.fixed().is_some() {
            return rows.iter().map(|row| self.of(lane, row)).collect();
        }
        let (route, lane, owned) = (self.clone(), lane.clone(), rows.to_vec());
        let made = tokio::task::spawn_blocking(move || {
            owned.iter().map(|row| route.of(&lane, row)).collect()
        });
        match made.await {
            Ok(names) => {
                let names: Vec<_> = names;
                assert_eq!(names.len(), rows.len(), "INV-PREFIX: each row has a name or a fault");
                names
            }
            // The process ends.
            Err(_) => rows.iter().map(|_| Err(format!("{self} was not run to its end"))).collect(),
        }
    }
}

impl TryFrom<String> for MessageRoute {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
        let begins =
            |text: &str| text.bytes().next().is_none_or(|byte| byte.is_ascii_alphanumeric());
        if written.bytes().all(is_plain) && begins(&written) {
            return Ok(Self { made: Made::Fixed(written.clone()), written });
        }
        // A text in quotes in which nothing is filled in.
        if let Ok(name) = serde_json::from_str::<String>(&written) {
            return Ok(Self { made: Made::Fixed(name), written });
        }
        match Expression::compile(&written) {
            Ok(expression) => Ok(Self { made: Made::Each(Arc::new(expression)), written }),
            Err(fault) => Err(format!(
                "{fault}; a name is letters, digits and - _ . / :, or stands in quotes of its own: '\"a name\"'"
            )),
        }
    }
}

impl fmt::Display for MessageRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Form;
    use crate::batch::tests::row;

    fn route(written: &str) -> Result<MessageRoute, String> {
        written.to_owned().try_into()
    }

    fn made(written: &str, payload: &'static str) -> Result<String, String> {
        let (stream, topic) = ("shop".into(), "orders".into());
        let lane = LaneName { pipeline: "p".into(), stream, topic, partition: 2 };
        let mut row = row(41, 0);
        row.payload = payload.into();
        row.form = Form::Json;
        route(written).unwrap().of(&lane, &row)
    }

    #[test]
    fn a_name_is_itself_and_anything_else_is_made_of_the_message() {
        let payload = r#"{"country":"es","a":{"b":12345678901}}"#;
        for (written, fixed, expected) in [
            ("orders", true, "orders"),
            ("orders.created", true, "orders.created"),
            ("now", true, "now"),
            ("a/b:c-d_e", true, "a/b:c-d_e"),
            ("", true, ""),
            (r#""two words.{}""#, true, "two words.{}"),
            (r#""shop.\(.country).x""#, false, "shop.es.x"),
            (".a.b", false, "12345678901"),
            ("@topic", false, "orders"),
            (r#"if .country == "es" then "spain" else "rest" end"#, false, "spain"),
        ] {
            assert_eq!(made(written, payload).as_deref(), Ok(expected), "{written}");
            let route = route(written).unwrap();
            assert_eq!(route.fixed().is_some(), fixed, "{written}");
            assert_eq!(route.needs_json(), !fixed && !written.starts_with('@'), "{written}");
        }
    }

    #[test]
    fn what_cannot_be_made_is_said_without_values() {
        let payload = r#"{"secret":"MARK","list":["MARK"]}"#;
        assert_eq!(made(".missing", payload).unwrap_err(), ".missing gives nothing for it");
        for written in [".secret.x", ".list", r#"error("MARK\(.secret)")"#, ".secret | tonumber"] {
            let reason = made(written, payload).unwrap_err();
            let about = reason.strip_prefix(written).unwrap();
            assert!(!about.contains("MARK"), "INV-MUTE: {reason}");
        }
        let fault = route("two words").unwrap_err();
        assert!(fault.contains("or stands in quotes of its own"), "{fault}");
    }
}
