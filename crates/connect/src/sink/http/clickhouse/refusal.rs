//! What ClickHouse refuses, by the numbers of its errors.

use crate::failure::Failure;
use crate::web::{NoAnswer, WebAnswer};

/// Why a statement was not done.
#[derive(Debug)]
pub(super) enum StatementRefusal {
    No(Failure),
    Nothing(NoAnswer),
}

/// The number of the error in an answer: in a header, or where an old server writes it.
fn code(answer: &WebAnswer) -> Option<u32> {
    let header = answer.headers.get("x-clickhouse-exception-code");
    if let Some(code) = header.and_then(|it| it.to_str().ok()?.parse().ok()) {
        return Some(code);
    }
    let text = answer.body.strip_prefix(b"Code: ")?;
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    str::from_utf8(text.get(..end)?).ok()?.parse().ok()
}

/// What an answer that is no success comes to. No text of it is shown: it quotes rows.
pub(super) fn failure(answer: &WebAnswer) -> Failure {
    let Some(code) = code(answer) else {
        let said = format!("the target answers {}", answer.status);
        return match answer.status.as_u16() {
            401 | 403 => {
                Failure::refused(said, "look at user and password in [to.http.clickhouse]")
            }
            300..=499 => Failure::refused(said, "look at url: does ClickHouse answer there?"),
            _ => Failure::away(said),
        };
    };
    let said = |what: &str| format!("ClickHouse error {code}: {what}");
    let refused = |what: &str, advice: &str| Failure::refused(said(what), advice);
    match code {
        16 | 10 | 20 | 47 => refused(
            "no such column",
            "compare columns with the table; galgo connect check says more",
        ),
        60 | 81 => refused(
            "no such table or database",
            "make it, or set create = true in [to.http.clickhouse]",
        ),
        192..=195 | 516 => {
            refused("wrong user or password", "look at user and password in [to.http.clickhouse]")
        }
        164 | 291 | 497 => refused(
            "no right",
            "grant the user SELECT and INSERT on the table, SELECT on system.columns and KILL QUERY",
        ),
        115 => refused("a setting is not known", "look at settings in [to.http.clickhouse]"),
        62 | 50 | 42 => {
            refused("the statement is not understood", "look at table, columns and their types")
        }
        // The condition of an insert: the lane is somewhere else.
        395 => Failure::Moved,
        // The same insert runs, or an insert that had begun was ended: only the rows tell.
        159 | 209 | 210 | 216 | 236 | 319 | 394 => {
            Failure::Unknown { reason: said("the insert was not finished in time") }
        }
        6 | 26 | 27 | 33 | 38 | 41 | 53 | 69 | 70 | 72 | 117 | 130 | 131 | 349 | 457 | 441
        | 675 => Failure::Batch { reason: said("a row does not fit the table") },
        380 => Failure::away(said("an insert of the lane cannot be ended yet")),
        // Memory, too many parts, read-only for now, and what is not known: nothing is lost by waiting.
        _ => Failure::away(said("it cannot be done now")),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn class(status: u16, body: &str, header: Option<&str>) -> &'static str {
        let mut headers = HeaderMap::new();
        if let Some(code) = header {
            headers.insert("x-clickhouse-exception-code", code.parse().unwrap());
        }
        let status = StatusCode::from_u16(status).unwrap();
        let answer = WebAnswer { status, headers, body: Bytes::from(body.to_owned()) };
        let failure = failure(&answer);
        assert!(!format!("{failure:?}").contains("MARKED"), "INV-MUTE");
        failure.class()
    }

    #[test]
    fn errors_are_told_by_their_numbers() {
        for (status, body, header, expected) in [
            (404, "Code: 60, e.displayText() = DB::Exception: Table MARKED", None, "refused"),
            (500, "Code: 27, e.displayText() = DB::Exception: Cannot parse MARKED", None, "batch"),
            (500, "Code: 241. DB::Exception: MARKED", None, "away"),
            (500, "MARKED", Some("117"), "batch"),
            (500, "Code: 216, MARKED", None, "unknown"),
            (500, "Code: 395, MARKED", None, "moved"),
            (500, "Code: 115, MARKED", None, "refused"),
            (500, "Code: 99999999999999, MARKED", None, "away"),
            (500, "", None, "away"),
            (401, "MARKED", None, "refused"),
            (404, "<html>MARKED", None, "refused"),
            (502, "Bad gateway MARKED", None, "away"),
        ] {
            assert_eq!(class(status, body, header), expected, "{body}");
        }
    }
}
