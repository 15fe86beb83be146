//! Plans that make sense, and those that do not.

use super::*;

pub(crate) fn plan(kind: Kind) -> Plan {
    Plan {
        kind,
        streams: 1,
        topics: 1,
        partitions: 1,
        producers: 1,
        consumers: 1,
        group: false,
        sizes: Sizes { min: 100, max: 100 },
        batch: 10,
        in_flight: 1,
        extent: Extent::Messages(101),
        warm_up: Duration::ZERO,
        rate: None,
        poll_pause: None,
        preload: None,
    }
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
    let plan = Plan { streams: 2, topics: 2, partitions: 2, ..plan(Kind::Produce) };
    let places = plan.places();
    assert_eq!(places.len(), 8);
    assert_eq!(places[0], Place { stream: 0, topic: 0, partition: 0 });
    assert_eq!(places[3], Place { stream: 1, topic: 1, partition: 0 });
    assert_eq!(places[4], Place { stream: 0, topic: 0, partition: 1 });
}

#[test]
fn a_total_is_rounded_up_to_whole_requests() {
    assert_eq!(plan(Kind::Produce).requests_max(), Some(11));
    let timed = Plan { extent: Extent::Time(Duration::from_secs(1)), ..plan(Kind::Produce) };
    assert_eq!(timed.requests_max(), None);
}

#[test]
fn combinations_that_make_no_sense_are_refused() {
    let refused = |plan: Plan, word: &str| {
        let failure = plan.checked().unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert!(failure.to_string().contains(word), "{failure}");
    };
    refused(Plan { sizes: Sizes { min: 9, max: 8 }, ..plan(Kind::Produce) }, "range");
    refused(Plan { sizes: Sizes { min: 7, max: 7 }, ..plan(Kind::Latency) }, "8 bytes");
    refused(
        Plan { batch: 1000, sizes: Sizes { min: 1, max: 100_000 }, ..plan(Kind::Produce) },
        "64 MiB",
    );
    refused(Plan { producers: 1000, consumers: 97, ..plan(Kind::Both) }, "1097");
    let group = Plan { group: true, rate: Some(Rate::Requests(1.0)), ..plan(Kind::Consume) };
    refused(group, "--group");
    assert!(Plan { consumers: 5000, ..plan(Kind::Produce) }.checked().is_ok());
}

#[test]
fn latency_has_a_schedule_anyway() {
    let plan = plan(Kind::Latency).checked().unwrap();
    assert_eq!(plan.rate, Some(Rate::Messages(1000.0)));
    assert!(plan.pace(0).is_some());
}

#[test]
fn what_is_read_is_written_first() {
    let small = plan(Kind::Consume);
    assert_eq!(small.preload_per_partition(), 100_000);
    let large =
        Plan { sizes: Sizes { min: 1 << 20, max: 1 << 20 }, partitions: 4, ..small.clone() };
    assert_eq!(large.preload_per_partition(), 64);
    assert_eq!(Plan { group: true, ..small.clone() }.preload_per_partition(), 101);
    assert_eq!(Plan { preload: Some(5), ..small }.preload_per_partition(), 10);
}
