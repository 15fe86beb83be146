//! A look at the table, and rows tried in a transaction that is taken back.

use super::schema;
use super::target::PgTarget;
use super::write::PgWriter;
use crate::batch::{Batch, Row};
use crate::failure::{Failure, Finding, Weight};
use crate::place::{LaneName, Position};

/// There is a row with this key: the message has been delivered, most likely.
const UNIQUE_VIOLATION: &str = "(23505)";

/// Looks at everything that is needed, and changes nothing.
pub(super) async fn check(
    target: &PgTarget,
    pipeline: &str,
    sample: &[Row],
) -> Result<Vec<Finding>, Failure> {
    let failure = |error| target.failure(error);
    let mut session = target.open().await?;
    let address = &target.login.address;
    let mut findings = vec![Finding::good(format!("logged in as {address}"))];
    target.begin(&mut session, &target.login.application).await.map_err(failure)?;
    findings.extend(schema::compare(target, &mut session).await.map_err(failure)?);
    if findings.iter().all(|finding| finding.weight < Weight::Fault) {
        match schema::make_tables(target, &mut session).await {
            // To add them, if only to take that back, would keep everybody else waiting.
            Ok(()) if schema::lacks_columns(target, &mut session).await.map_err(failure)? => {
                findings.push(Finding::good("no rows were tried: columns are to be added first"));
            }
            Ok(()) => {
                let mut writer = PgWriter::new(session);
                findings.extend(try_rows(target, &mut writer, pipeline, sample).await?);
                session = writer.session;
            }
            Err(error) => match target.failure(error) {
                Failure::Refused { reason, advice } => {
                    findings.push(Finding::fault(reason, advice))
                }
                failure => return Err(failure),
            },
        }
    }
    // Closed, it is taken back; said in so many words it is taken back now.
    session.run("ROLLBACK").await.map_err(failure)?;
    session.close().await;
    Ok(findings)
}

async fn try_rows(
    target: &PgTarget,
    writer: &mut PgWriter,
    pipeline: &str,
    sample: &[Row],
) -> Result<Vec<Finding>, Failure> {
    let failure = |error| target.failure(error);
    let lane = LaneName {
        pipeline: pipeline.to_owned(),
        stream: String::new(),
        topic: String::new(),
        partition: 0,
    };
    // What is looked at when a transaction ends would not be looked at: this one does not.
    writer.session.run("SET CONSTRAINTS ALL IMMEDIATE").await.map_err(failure)?;
    let (mut findings, mut taken, mut there) = (Vec::new(), 0_usize, 0_usize);
    for row in sample {
        // A sample is of many lanes, and in no order: each row is tried by itself.
        let end = Position { next: row.place.offset.saturating_add(1), ..Position::default() };
        let batch = Batch::new(row.place.offset, end, vec![row.clone()]);
        writer.session.run("SAVEPOINT sample").await.map_err(failure)?;
        let put = writer.put_rows(target, &lane, &batch).await;
        let ended = match put {
            Ok(()) => {
                taken += 1;
                "RELEASE SAVEPOINT sample"
            }
            Err(Failure::Bad { reason, .. } | Failure::Batch { reason }) => {
                match reason.contains(UNIQUE_VIOLATION) {
                    true => there += 1,
                    false => findings.push(Finding::fault(
                        format!(
                            "the message at offset {} is not taken: {reason}",
                            row.place.offset
                        ),
                        "change the columns or the table, or choose errors.on_bad",
                    )),
                }
                "ROLLBACK TO SAVEPOINT sample"
            }
            Err(Failure::Refused { reason, advice }) => {
                findings.push(Finding::fault(reason, advice));
                return Ok(findings);
            }
            Err(failure) => return Err(failure),
        };
        writer.session.run(ended).await.map_err(failure)?;
    }
    if taken > 0 {
        findings
            .push(Finding::good(format!("{taken} messages were tried and taken, and taken back")));
    }
    if there > 0 {
        findings.push(Finding::good(format!("rows of {there} messages are there already")));
    }
    Ok(findings)
}
