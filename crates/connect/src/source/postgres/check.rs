//! Whether the changes of a database could be read, without changing anything.

use super::ChangeOrigin;
use super::catalog::{self, FoundRelation, PublicationState, PublishedTable};
use super::ground::{Ground, Used};
use super::publication::{IDENTITY_ADVICE, absent};
use super::slot::SlotState;
use crate::failure::{Failure, Finding};
use crate::postgres::session::PgSession;
use crate::postgres::trouble::PgError;

/// What a server keeps for a slot before a check says so.
const RETAINED_BYTES: u64 = 1 << 30;

/// Looks at everything that is needed.
pub(super) async fn check(origin: &ChangeOrigin) -> Result<Vec<Finding>, Failure> {
    let mut sql = origin.sql().await?;
    let mut findings = vec![Finding::good(format!("logged in as {}", origin.login.address))];
    let failed = |error: PgError| error.failure("look at the database");
    let ground = Ground::read(&mut sql).await.map_err(failed)?;
    look_at_ground(&ground, &mut findings);
    match origin.replication().await {
        Ok(session) => {
            session.close().await;
            findings.push(Finding::good("the role may replicate"));
        }
        Err(Failure::Refused { reason, .. }) => findings.push(Finding::fault(
            reason,
            "say ALTER ROLE … REPLICATION, and have pg_hba.conf let the role into the database",
        )),
        Err(other) => return Err(other),
    }
    let slot = SlotState::read(&mut sql, &origin.slot).await.map_err(failed)?;
    look_at_slot(origin, &ground, slot.as_ref(), &mut findings);
    look_at_tables(origin, &mut sql, &ground, &mut findings).await.map_err(failed)?;
    sql.close().await;
    Ok(findings)
}

fn look_at_ground(ground: &Ground, findings: &mut Vec<Finding>) {
    for refusal in ground.refusals() {
        if let Failure::Refused { reason, advice } = refusal {
            findings.push(Finding::fault(reason, advice));
        }
    }
    if ground.encoding == "SQL_ASCII" {
        findings.push(Finding::warning(
            "the database has no encoding (SQL_ASCII)",
            "a value that is not UTF-8 stops the pipeline",
        ));
    }
    findings.push(match ground.slot_keep_megabytes {
        -1 => Finding::warning(
            "max_slot_wal_keep_size is -1: while the pipeline does not run, the server keeps its log until its disk is full",
            "set a limit you can afford, watch galgo_connect_slot_retained_bytes, run cleanup when the pipeline is given up",
        ),
        megabytes => Finding::good(format!(
            "max_slot_wal_keep_size is {megabytes} MB: a pipeline that is further behind has to copy its tables again"
        )),
    });
}

fn look_at_slot(
    origin: &ChangeOrigin,
    ground: &Ground,
    slot: Option<&SlotState>,
    findings: &mut Vec<Finding>,
) {
    let name = &origin.slot;
    let full = |used: Used| used.used >= used.of;
    match slot {
        None if !origin.creates => findings.push(Finding::fault(
            format!("the slot {name} is not there, and create = false is set"),
            format!("say SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')"),
        )),
        None if full(ground.slots) => findings.push(Finding::fault(
            format!("all {} replication slots are in use", ground.slots.of),
            "raise max_replication_slots, or drop a slot that nobody reads",
        )),
        None => findings.push(Finding::good(format!("the slot {name} will be made"))),
        Some(slot) if slot.plugin != "pgoutput" || !slot.is_of_this_database => {
            findings.push(Finding::fault(
                format!("the slot {name} is one of another database, or not of pgoutput"),
                "name another one with the key `slot`",
            ));
        }
        Some(slot) if slot.is_lost => findings.push(Finding::fault(
            format!("changes are missing: the server threw away what it kept for the slot {name}"),
            "say snapshot = \"again\" to have the tables copied once more",
        )),
        Some(slot) if slot.retained >= RETAINED_BYTES => findings.push(Finding::warning(
            format!("the server keeps {} MB of its log for the slot {name}", slot.retained >> 20),
            "run the pipeline, or run cleanup if it is given up",
        )),
        Some(_) => findings.push(Finding::good(format!("the slot {name} is there"))),
    }
    let reads = slot.is_some_and(|slot| slot.reader.is_some());
    if !reads && full(ground.senders) {
        findings.push(Finding::fault(
            format!("all {} senders are in use", ground.senders.of),
            "raise max_wal_senders",
        ));
    }
}

async fn look_at_tables(
    origin: &ChangeOrigin,
    sql: &mut PgSession,
    ground: &Ground,
    findings: &mut Vec<Finding>,
) -> Result<(), PgError> {
    let found = catalog::find_tables(sql, &origin.choice).await?;
    let publication = catalog::publication(sql, &origin.publication).await?;
    let published = catalog::published(sql, &origin.publication, &origin.choice, ground).await?;
    for pattern in origin.choice.patterns() {
        if !found.iter().any(|table| pattern.has(&table.schema, &table.name)) {
            findings.push(Finding::fault(
                format!("table {pattern}: there is none"),
                "look at `tables`, and at the database in url",
            ));
        }
    }
    let name = &origin.publication;
    match publication {
        None if origin.creates => {
            findings.push(Finding::good(format!("the publication {name} will be made")));
        }
        None => {
            if let Failure::Refused { reason, advice } = absent(name) {
                findings.push(Finding::fault(reason, advice));
            }
        }
        Some(state) => look_at_publication(name, state, findings),
    }
    for table in &found {
        let look = TableLook { origin, table, publication, published: &published };
        findings.push(look.finding());
    }
    Ok(())
}

fn look_at_publication(name: &str, state: PublicationState, findings: &mut Vec<Finding>) {
    let PublicationState { inserts, updates, deletes, truncates, .. } = state;
    let kinds =
        [(inserts, "insert"), (updates, "update"), (deletes, "delete"), (truncates, "truncate")];
    let lacking: Vec<&str> = kinds.iter().filter(|(is, _)| !is).map(|(_, kind)| *kind).collect();
    findings.push(match lacking.is_empty() {
        true => Finding::good(format!("the publication {name} is there")),
        false => Finding::warning(
            format!("the publication {name} does not tell of {}", lacking.join(", ")),
            format!("say ALTER PUBLICATION {name} SET (publish = 'insert, update, delete, truncate') unless that is meant"),
        ),
    });
}

/// A table, and what is to be said of it.
struct TableLook<'a> {
    origin: &'a ChangeOrigin,
    table: &'a FoundRelation,
    publication: Option<PublicationState>,
    published: &'a [PublishedTable],
}

impl TableLook<'_> {
    fn finding(&self) -> Finding {
        let Self { origin, table, publication, published } = self;
        let name = table.full_name();
        let is_published =
            published.iter().any(|it| it.schema == table.schema && it.name == table.name);
        // A publication of inserts alone needs no identity.
        let changes = publication.is_none_or(|state| state.updates || state.deletes);
        if !table.is_publishable() {
            return Finding::fault(
                format!("table {name}: it is no table whose changes are in the log"),
                "name ordinary, logged tables in `tables`",
            );
        }
        if !table.has_identity && changes {
            return Finding::fault(
                format!(
                    "table {name}: nothing tells its rows apart, so UPDATE and DELETE of it fail once it is published"
                ),
                IDENTITY_ADVICE,
            );
        }
        if !is_published && !origin.creates {
            return Finding::fault(
                format!("table {name}: the publication {} does not tell of it", origin.publication),
                format!("say ALTER PUBLICATION {} ADD TABLE {name}", origin.publication),
            );
        }
        if !is_published && !table.is_own {
            return Finding::fault(
                format!("table {name}: only its owner can publish it"),
                "have the owner make the publication, and say create = false",
            );
        }
        if !table.may_read && origin.copying != super::plan::Copying::Never {
            return Finding::fault(
                format!("table {name}: the role may not read it, so it cannot be copied"),
                format!("say GRANT SELECT ON {name} TO {}", origin.login.address.user),
            );
        }
        Finding::good(format!("table {name}: its changes can be read"))
    }
}
