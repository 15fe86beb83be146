//! Whether Redis would take messages, and keep them.

use std::collections::HashMap;

use super::RedisTarget;
use crate::batch::Row;
use crate::bridge::sample_lane;
use crate::failure::{Failure, Finding};
use crate::redis::link::RedisLink;

/// Looks; changes nothing.
pub(super) async fn check(target: &RedisTarget, sample: &[Row]) -> Result<Vec<Finding>, Failure> {
    let found = async {
        let link = target.access.connect().await?;
        let mut findings = vec![Finding::good(target.find_stream(&link).await?)];
        target.try_script(&link).await?;
        findings.extend(what_it_keeps(&link).await?);
        findings.push(check_rows(target, &link, sample).await?);
        Ok(findings)
    };
    match found.await {
        Err(Failure::Refused { reason, advice }) => Ok(vec![Finding::fault(reason, advice)]),
        other => other,
    }
}

async fn check_rows(
    target: &RedisTarget,
    link: &RedisLink,
    sample: &[Row],
) -> Result<Finding, Failure> {
    let lane = sample_lane(&target.pipeline);
    let streams = target.stream.of_all(&lane, sample).await;
    let mut wrongs = Vec::new();
    for (row, stream) in sample.iter().zip(streams) {
        match target.entry(&lane, row, stream) {
            Err(reason) => wrongs.push(reason),
            Ok(entry) => {
                let kind: String = link.ask(redis::cmd("TYPE").arg(&entry.stream)).await?;
                if kind != "stream" && kind != "none" {
                    wrongs.push(format!(
                        "{} gives a key that is there already and is no stream",
                        target.stream
                    ));
                }
            }
        }
    }
    Ok(match wrongs.first() {
        None => Finding::good(format!("{} rows have a stream", sample.len())),
        Some(first) => Finding::fault(
            format!("{} of {} rows cannot be added: {first}", wrongs.len(), sample.len()),
            "correct stream in the file, or set errors.on_bad",
        ),
    })
}

/// How long Redis keeps what it is told.
async fn what_it_keeps(link: &RedisLink) -> Result<Vec<Finding>, Failure> {
    let Ok(info) = link.ask::<String>(&redis::cmd("INFO")).await else {
        // Not everybody may ask.
        return Ok(vec![Finding::warning(
            "Redis does not tell how it keeps what it is told",
            "let the user run INFO, or make sure of appendonly yes and maxmemory-policy noeviction",
        )]);
    };
    let lines = info.lines().filter_map(|line| line.trim_end().split_once(':'));
    let told: HashMap<&str, &str> = lines.collect();
    let says = |key: &str, value: &str| told.get(key) == Some(&value);
    let mut findings = Vec::new();
    if says("cluster_enabled", "1") {
        findings.push(Finding::fault(
            "it is a cluster, in which a stream and the position of a lane cannot be changed in one step",
            "use a Redis that is no cluster",
        ));
    }
    if says("role", "slave") {
        findings
            .push(Finding::fault("it is a replica and takes no writes", "name its master in url"));
    }
    match says("aof_enabled", "1") {
        true => findings.push(Finding::good("Redis writes what it is told to its disk (appendonly)")),
        false => findings.push(Finding::warning(
            "Redis keeps what it is told in memory between snapshots: a crash loses it, and the position with it, so that it is delivered \
             again as far as the topic reaches",
            "set appendonly yes",
        )),
    }
    if told.get("maxmemory_policy").is_some_and(|policy| policy.starts_with("allkeys")) {
        findings.push(Finding::warning(
            "Redis may drop any key when its memory is full, a stream without its position or the other way round",
            "set maxmemory-policy noeviction",
        ));
    }
    Ok(findings)
}
