//! Tables made and compared.

use super::catalog;
use super::positions;
use super::target::PgTarget;
use crate::failure::{Failure, Finding, Weight};
use crate::postgres::session::PgSession;
use crate::postgres::trouble::PgError;
use crate::table::shape::{self, FoundTable};
use crate::table::{Evolve, Mode};

/// Two processes that start at once make tables one after the other.
const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(hashtextextended('galgo connect', 0))";

/// Makes what is to be made, and finds out whether the rest is there.
pub(super) async fn prepare(target: &PgTarget) -> Result<(), Failure> {
    let mut session = target.open().await?;
    let made = make(target, &mut session).await;
    let findings = made.map_err(|error| target.failure(error))?;
    let fault = findings.into_iter().find(|finding| finding.weight == Weight::Fault);
    let Some(Finding { text, advice, .. }) = fault else {
        let committed = session.run("COMMIT").await;
        committed.map_err(|error| target.failure(error))?;
        session.close().await;
        return Ok(());
    };
    // Closed, it is taken back.
    session.close().await;
    Err(Failure::Refused { reason: text, advice: advice.unwrap_or_default() })
}

async fn make(target: &PgTarget, session: &mut PgSession) -> Result<Vec<Finding>, PgError> {
    target.begin(session, &target.login.application).await?;
    if target.create || target.layout.evolve == Evolve::Add {
        session.run(ONE_AT_A_TIME).await?;
    }
    make_tables(target, session).await?;
    if target.layout.evolve == Evolve::Add {
        add_columns(target, session).await?;
    }
    compare(target, session).await
}

/// Makes tables that are missing and may be made. What is there is left alone: who may not make tables may still write to them.
pub(super) async fn make_tables(target: &PgTarget, session: &mut PgSession) -> Result<(), PgError> {
    let layout = &target.layout;
    if !target.create {
        return Ok(());
    }
    if !catalog::is_there(session, &target.positions).await? {
        session.run(&positions::create(&target.positions)).await?;
    }
    if !catalog::is_there(session, &layout.name).await? {
        session.run(&shape::create(layout, "")).await?;
    }
    Ok(())
}

/// Whether the table is there and columns of the file are not.
pub(super) async fn lacks_columns(
    target: &PgTarget,
    session: &mut PgSession,
) -> Result<bool, PgError> {
    let found = catalog::look(session, &target.layout).await?;
    Ok(!found.columns.is_empty() && !found.missing(&target.layout).is_empty())
}

async fn add_columns(target: &PgTarget, session: &mut PgSession) -> Result<(), PgError> {
    let found = catalog::look(session, &target.layout).await?;
    let missing = match found.columns.is_empty() {
        true => Vec::new(),
        false => found.missing(&target.layout),
    };
    for column in missing {
        session.run(&shape::add(&target.layout, column)).await?;
    }
    Ok(())
}

/// What does not fit; empty if all is as the file says.
pub(super) async fn compare(
    target: &PgTarget,
    session: &mut PgSession,
) -> Result<Vec<Finding>, PgError> {
    let layout = &target.layout;
    let mut findings = of_positions(target, session).await?;
    let mut found = catalog::look(session, layout).await?;
    if found.columns.is_empty() {
        let text = format!("table {} is not there", layout.name);
        let make = shape::create(layout, "");
        findings.push(of_missing(target, session, &layout.name, text, &make).await?);
        return Ok(findings);
    }
    let mut wrong = of_types(target, session, &mut found).await?;
    let unique = |key: &str| format!("CREATE UNIQUE INDEX ON {} ({key})", layout.name.sql());
    wrong.extend(found.compare(layout, &unique));
    if wrong.is_empty() {
        wrong.push(Finding::good(format!("table {} is as the file says", layout.name)));
    }
    findings.extend(wrong);
    let rights: &[&str] = match layout.mode {
        Mode::Append => &["INSERT"],
        Mode::Upsert => &["SELECT", "INSERT", "UPDATE"],
        Mode::Mirror => &["SELECT", "INSERT", "UPDATE", "DELETE"],
    };
    findings.extend(of_rights(target, session, &layout.name, rights).await?);
    if layout.evolve == Evolve::Add
        && !found.missing(layout).is_empty()
        && !catalog::is_owner(session, &layout.name).await?
    {
        findings.push(Finding::fault(
            format!(
                "table {}: role {} may not add columns",
                layout.name, target.login.address.user
            ),
            "have its owner add them, or run the pipeline as its owner",
        ));
    }
    Ok(findings)
}

async fn of_positions(target: &PgTarget, session: &mut PgSession) -> Result<Vec<Finding>, PgError> {
    let name = &target.positions;
    if catalog::is_there(session, name).await? {
        return of_rights(target, session, name, &["SELECT", "INSERT", "UPDATE"]).await;
    }
    let text = format!("table {name} is not there");
    Ok(vec![of_missing(target, session, name, text, &positions::create(name)).await?])
}

async fn of_missing(
    target: &PgTarget,
    session: &mut PgSession,
    name: &crate::table::name::TableName,
    text: String,
    make: &str,
) -> Result<Finding, PgError> {
    if !target.create {
        return Ok(Finding::fault(text, format!("make it: {make}; or create = true")));
    }
    let schema = name.schema.as_deref();
    Ok(match (catalog::may_create(session, name).await?, schema) {
        (Some(true), _) => Finding::good(format!("{text}; it is made when the pipeline starts")),
        (Some(false), _) => Finding::fault(
            format!("{text}, and role {} may make none there", target.login.address.user),
            format!("have somebody make it: {make}; or GRANT CREATE ON SCHEMA"),
        ),
        (None, Some(schema)) => Finding::fault(
            format!("{text}, and neither is schema {schema}"),
            format!("CREATE SCHEMA {}", crate::table::name::identifier(schema)),
        ),
        (None, None) => Finding::fault(
            format!("{text}, and no schema is on the search path"),
            "write the name with its schema: SCHEMA.TABLE",
        ),
    })
}

async fn of_rights(
    target: &PgTarget,
    session: &mut PgSession,
    name: &crate::table::name::TableName,
    rights: &[&str],
) -> Result<Vec<Finding>, PgError> {
    let missing = catalog::missing_rights(session, name, rights).await?;
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let (missing, user) = (missing.join(", "), &target.login.address.user);
    Ok(vec![Finding::fault(
        format!("table {name}: role {user} has no right to {missing}"),
        format!("GRANT {missing} ON {} TO {}", name.sql(), crate::table::name::identifier(user)),
    )])
}

/// Compares types; one that is none is a fault.
async fn of_types(
    target: &PgTarget,
    session: &mut PgSession,
    found: &mut FoundTable,
) -> Result<Vec<Finding>, PgError> {
    let mut findings = Vec::new();
    for column in &target.layout.columns {
        session.run("SAVEPOINT types").await?;
        match catalog::type_name(session, &column.sql_type).await {
            Ok(name) => {
                session.run("RELEASE SAVEPOINT types").await?;
                let there = found.columns.iter_mut().find(|it| it.name == column.name);
                if let Some(there) = there {
                    there.fits = catalog::is_same_type(&column.sql_type, &name, &there.sql_type);
                }
            }
            Err(PgError::Server(words)) if !words.is_fatal => {
                session.run("ROLLBACK TO SAVEPOINT types").await?;
                findings.push(Finding::fault(
                    format!(
                        "column {}: \"{}\" is no type of this database",
                        column.name, column.sql_type
                    ),
                    "correct the type in the file, or create it",
                ));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(findings)
}

/// Removes the positions of a pipeline; the table is left to others.
pub(super) async fn cleanup(target: &PgTarget, pipeline: &str) -> Result<Vec<String>, Failure> {
    let mut session = target.open().await?;
    let removed = remove(target, &mut session, pipeline).await;
    let removed = removed.map_err(|error| target.failure(error))?;
    session.close().await;
    Ok(removed)
}

async fn remove(
    target: &PgTarget,
    session: &mut PgSession,
    pipeline: &str,
) -> Result<Vec<String>, PgError> {
    let name = &target.positions;
    // Nothing was ever made.
    if !catalog::is_there(session, name).await? {
        return Ok(Vec::new());
    }
    let sql = format!("DELETE FROM {} WHERE pipeline = $1::text", name.sql());
    let done = session.run_with(&sql, &[Some(pipeline)]).await?.done;
    Ok(match done.strip_prefix("DELETE ") {
        None | Some("0") => Vec::new(),
        Some(count) => vec![format!("{count} rows of {name}")],
    })
}
