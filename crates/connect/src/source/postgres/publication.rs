//! The publication: which tables' changes are in the log for us. Made, completed and removed.
//!
//! A table whose rows nothing tells apart is never put into a publication by us: the server would refuse every `UPDATE` and
//! `DELETE` of it from then on, and a program that has nothing to do with us would fail.

use std::time::{Duration, Instant};

use postgres_protocol::escape::{escape_identifier, escape_literal};

use super::ChangeOrigin;
use super::catalog::{self, FoundRelation, PublishedTable};
use super::ground::Ground;
use super::slot::{self, SlotState};
use crate::failure::Failure;
use crate::postgres::session::PgSession;

/// What stands in the advice for a table without identity.
pub(super) const IDENTITY_ADVICE: &str =
    "add a primary key, or say ALTER TABLE … REPLICA IDENTITY FULL; or leave it out of `tables`";

/// Has the publication tell of all tables that are asked for; gives them as they are to be copied.
///
/// # Errors
/// [`Failure::Refused`]: one of them is not there or cannot be published, or the right to do so is missing.
pub(super) async fn ensure(
    origin: &ChangeOrigin,
    sql: &mut PgSession,
    ground: &Ground,
) -> Result<Vec<PublishedTable>, Failure> {
    let name = &origin.publication;
    let doing = format!("look at the publication {name}");
    let failed = |error: crate::postgres::trouble::PgError| error.failure(&doing);
    let state = catalog::publication(sql, name).await.map_err(failed)?;
    let found = catalog::find_tables(sql, &origin.choice).await.map_err(failed)?;
    let have = catalog::published(sql, name, &origin.choice, ground).await.map_err(failed)?;
    match state {
        None if origin.creates => {
            named_are_there(origin, &found)?;
            publish(origin, sql, &found, Publish::New).await?;
        }
        None => return Err(absent(name)),
        Some(state) if origin.creates && !state.is_of_all => {
            let lacking = |table: &FoundRelation| !table.is_partition && !has(&have, table);
            let lacking: Vec<FoundRelation> = found.into_iter().filter(lacking).collect();
            if !lacking.is_empty() {
                publish(origin, sql, &lacking, Publish::More).await?;
                let tables = names(&lacking);
                tracing::warn!(
                    publication = name,
                    tables,
                    "tables are told of from now on; their rows of before are not copied unless the pipeline is new"
                );
            }
        }
        Some(_) => {}
    }
    let published = catalog::published(sql, name, &origin.choice, ground).await.map_err(failed)?;
    complete(origin, &published)?;
    Ok(published)
}

fn has(published: &[PublishedTable], table: &FoundRelation) -> bool {
    published.iter().any(|it| it.schema == table.schema && it.name == table.name)
}

fn names(tables: &[FoundRelation]) -> String {
    let names: Vec<String> = tables.iter().map(FoundRelation::full_name).collect();
    names.join(", ")
}

pub(super) fn absent(name: &str) -> Failure {
    Failure::refused(
        format!("the publication {name} is not there, and create = false is set"),
        format!(
            "have its owner say CREATE PUBLICATION {name} FOR TABLE … WITH (publish_via_partition_root = true)"
        ),
    )
}

/// Every table that is named has to be in the publication, under its own name.
fn complete(origin: &ChangeOrigin, published: &[PublishedTable]) -> Result<(), Failure> {
    let lacking = origin.choice.patterns().iter().find(|pattern| {
        pattern.is_one() && !published.iter().any(|table| pattern.has(&table.schema, &table.name))
    });
    let name = &origin.publication;
    if let Some(pattern) = lacking {
        return Err(Failure::refused(
            format!("the publication {name} does not tell of {pattern}"),
            format!(
                "say ALTER PUBLICATION {name} ADD TABLE {pattern}; for a table of partitions also \
                 ALTER PUBLICATION {name} SET (publish_via_partition_root = true)"
            ),
        ));
    }
    match published.is_empty() {
        true => Err(Failure::refused(
            format!("the publication {name} tells of no table that is asked for"),
            "look at `tables`: a star stands for the tables that are in the schema now",
        )),
        false => Ok(()),
    }
}

/// How tables get into a publication.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Publish {
    New,
    More,
}

/// Every table that is named has to be there.
fn named_are_there(origin: &ChangeOrigin, found: &[FoundRelation]) -> Result<(), Failure> {
    let mut named = origin.choice.patterns().iter().filter(|pattern| pattern.is_one());
    let absent = named
        .find(|pattern| !found.iter().any(|table| pattern.has(&table.schema, &table.name)))
        .map(|pattern| format!("the table {pattern} is not there"));
    let none = || found.is_empty().then(|| "no table that is asked for is there".to_owned());
    match absent.or_else(none) {
        Some(reason) => {
            Err(Failure::refused(reason, "look at `tables`, and at the database in url"))
        }
        None => Ok(()),
    }
}

async fn publish(
    origin: &ChangeOrigin,
    sql: &mut PgSession,
    tables: &[FoundRelation],
    how: Publish,
) -> Result<(), Failure> {
    if let Some(table) = tables.iter().find(|table| !table.is_publishable()) {
        return Err(Failure::refused(
            format!("{} is no table whose changes are in the log", table.full_name()),
            "name ordinary, logged tables in `tables`",
        ));
    }
    if let Some(table) = tables.iter().find(|table| !table.has_identity) {
        return Err(Failure::refused(
            format!(
                "nothing tells the rows of {} apart: UPDATE and DELETE of it would fail once it is published",
                table.full_name()
            ),
            IDENTITY_ADVICE,
        ));
    }
    let list: Vec<String> = tables.iter().map(FoundRelation::in_publication).collect();
    let (list, name) = (list.join(", "), escape_identifier(&origin.publication));
    let statement = match how {
        Publish::New => format!(
            "CREATE PUBLICATION {name} FOR TABLE {list} WITH (publish_via_partition_root = true)"
        ),
        Publish::More => format!("ALTER PUBLICATION {name} ADD TABLE {list}"),
    };
    let doing = format!("publish {} as {}", names(tables), origin.publication);
    sql.query(&statement).await.map(|_| ()).map_err(|error| error.failure(&doing))?;
    let publication = origin.publication.as_str();
    tracing::info!(publication, tables = names(tables), "tables are published");
    Ok(())
}

/// How long a cleanup waits for the last reader of the slot to be gone.
const READER_PATIENCE: Duration = Duration::from_secs(5);

/// Removes slot and publication; tells what. The slot also when somebody else made it: the server keeps its log for it.
pub(super) async fn cleanup(origin: &ChangeOrigin) -> Result<Vec<String>, Failure> {
    let mut sql = origin.sql().await?;
    let mut removed = Vec::new();
    let doing = "look what is to be removed";
    let begun = Instant::now();
    let state = loop {
        let state = SlotState::read(&mut sql, &origin.slot).await;
        let state = state.map_err(|error| error.failure(doing))?;
        // The server takes a moment to notice that a pipeline has ended.
        let is_read = state.as_ref().is_some_and(|state| state.reader.is_some());
        if !is_read || begun.elapsed() > READER_PATIENCE {
            break state;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    if let Some(state) = state {
        if state.reader.is_some() {
            return Err(Failure::refused(
                format!("the slot {} is being read", origin.slot),
                "stop the pipeline first, on every machine",
            ));
        }
        slot::remove(&mut sql, &origin.slot).await?;
        removed.push(format!("replication slot {}", origin.slot));
    }
    let name = &origin.publication;
    let there = catalog::publication(&mut sql, name).await.map_err(|error| error.failure(doing))?;
    if origin.creates && there.is_some() {
        let drop = format!("DROP PUBLICATION {}", escape_identifier(name));
        let doing = format!("remove the publication {name}");
        sql.query(&drop).await.map_err(|error| error.failure(&doing))?;
        removed.push(format!("publication {name}"));
    }
    sql.close().await;
    Ok(removed)
}

/// A word that is put into the log, outside of any transaction; gives the place behind it.
pub(super) fn word_sql(about: &str) -> String {
    format!("SELECT pg_logical_emit_message(false, 'galgo', {})", escape_literal(about))
}
