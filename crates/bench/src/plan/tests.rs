//! Plans that make sense, and those that do not.

use super::*;
use crate::error::BenchCause;

pub(crate) fn plan(kind: LoadKind) -> LoadPlan {
    LoadPlan { batch: 10, length: RunLength::Messages(101), ..LoadPlan::new(kind) }
}

#[test]
fn every_partition_has_a_worker_and_every_worker_a_partition() {
    for (workers, all) in [(1, 1), (1, 7), (3, 7), (7, 7), (9, 7), (64, 1)] {
        let mut seen = vec![false; all];
        for number in 0..workers {
            let mine = share(number, workers, all);
            assert!(!mine.is_empty(), "{workers} {all}");
            for index in mine {
                seen[index] = true;
            }
        }
        assert!(seen.into_iter().all(|seen| seen), "{workers} {all}");
    }
}

#[test]
fn places_are_spread_over_topics_first() {
    let plan = LoadPlan { streams: 2, topics: 2, partitions: 2, ..plan(LoadKind::Produce) };
    let places = plan.places();
    assert_eq!(places.len(), 8);
    assert_eq!(places[0], Spot { stream: 0, topic: 0, partition: 0 });
    assert_eq!(places[3], Spot { stream: 1, topic: 1, partition: 0 });
    assert_eq!(places[4], Spot { stream: 0, topic: 0, partition: 1 });
}

#[test]
fn a_total_is_rounded_up_to_whole_requests() {
    assert_eq!(plan(LoadKind::Produce).requests_max(), Some(11));
    let timed =
        LoadPlan { length: RunLength::Time(Duration::from_secs(1)), ..plan(LoadKind::Produce) };
    assert_eq!(timed.requests_max(), None);
}

#[test]
fn combinations_that_make_no_sense_are_refused() {
    let refused = |plan: LoadPlan, word: &str| {
        let failure = plan.checked().unwrap_err();
        assert!(matches!(failure.cause, BenchCause::Usage(_)));
        assert!(failure.to_string().contains(word), "{failure}");
    };
    refused(LoadPlan { sizes: Sizes { min: 9, max: 8 }, ..plan(LoadKind::Produce) }, "range");
    refused(LoadPlan { sizes: Sizes { min: 7, max: 7 }, ..plan(LoadKind::Latency) }, "8 bytes");
    refused(
        LoadPlan { batch: 1000, sizes: Sizes { min: 1, max: 100_000 }, ..plan(LoadKind::Produce) },
        "64 MiB",
    );
    refused(LoadPlan { producers: 1000, consumers: 97, ..plan(LoadKind::Both) }, "1097");
    let group =
        LoadPlan { group: true, rate: Some(Rate::Requests(1.0)), ..plan(LoadKind::Consume) };
    refused(group, "--group");
    assert!(LoadPlan { consumers: 5000, ..plan(LoadKind::Produce) }.checked().is_ok());
}

#[test]
fn latency_has_a_schedule_anyway() {
    let plan = plan(LoadKind::Latency).checked().unwrap();
    assert_eq!(plan.rate, Some(Rate::Messages(1000.0)));
    assert!(plan.pace(0).is_some());
}

#[test]
fn what_is_read_is_written_first() {
    let small = plan(LoadKind::Consume);
    assert_eq!(small.preload_per_partition(), 100_000);
    let large =
        LoadPlan { sizes: Sizes { min: 1 << 20, max: 1 << 20 }, partitions: 4, ..small.clone() };
    assert_eq!(large.preload_per_partition(), 64);
    assert_eq!(LoadPlan { group: true, ..small.clone() }.preload_per_partition(), 101);
    assert_eq!(LoadPlan { preload: Some(5), ..small }.preload_per_partition(), 10);
}
