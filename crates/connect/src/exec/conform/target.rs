//! A program as a target: batches in order, two lanes at a time, again, such as it may refuse, and across a kill.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;

use super::{ConformReport, Over, ProgramTalk};
use crate::batch::{Batch, Form, Row};
use crate::clock::now_micros;
use crate::exec::{Launch, SaidLine, batch_line};
use crate::place::{LaneName, Place, Position};

/// Messages of a batch.
const MESSAGES: u64 = 5;

/// What a program said of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TrialVerdict {
    Done,
    Away,
    Bad,
}

/// A lane that no other run of the suite has.
struct TriedLane {
    name: LaneName,
    /// Where it goes on: in front of that the program said done.
    next: u64,
}

/// A batch the program was given.
struct GivenBatch {
    number: u64,
    offsets: BTreeSet<u64>,
}

/// One run of the suite.
struct Script<'a> {
    talk: ProgramTalk,
    report: &'a mut ConformReport,
    number: u64,
}

pub(super) async fn try_out(
    launch: &Launch,
    talk: ProgramTalk,
    report: &mut ConformReport,
) -> Result<(), Over> {
    let (mut one, mut other) = (TriedLane::new(0), TriedLane::new(1));
    report.good(match talk.positions {
        Some(_) => "ready: it keeps positions, so it is to be exactly once",
        None => "ready: it keeps no positions, so it is at least once",
    });
    let mut script = Script { talk, report, number: 0 };
    script.in_order(&mut one).await?;
    script.side_by_side(&mut one, &mut other).await?;
    script.again(&one).await?;
    script.odd(&mut other).await?;
    script.talk.stop(script.report).await;

    let talk = ProgramTalk::begin(launch, Value::Null, report).await?;
    one.check_position(&talk, 0, "a stop", report);
    let mut script = Script { talk, report, number: 0 };
    // Killed with a batch in its hands: only its positions tell what became of that.
    script.give(&one, one.next, rows(one.next)).await?;
    drop(script.talk);

    let talk = ProgramTalk::begin(launch, Value::Null, report).await?;
    one.check_position(&talk, MESSAGES, "a kill", report);
    let mut script = Script { talk, report, number: 0 };
    let given = script.give(&one, one.next, rows(one.next)).await?;
    let verdict = script.answer(&[given]).await?.1;
    if script.took(&mut one, verdict, "the first batch after a kill") {
        script.report.good("kill: it goes on where it was");
    }
    script.talk.stop(report).await;
    Ok(())
}

impl TriedLane {
    fn new(partition: u32) -> Self {
        let name = LaneName {
            pipeline: "conform".to_owned(),
            stream: "conform".to_owned(),
            topic: format!("run-{}", now_micros()),
            partition,
        };
        Self { name, next: 0 }
    }

    /// After a new start a program that keeps positions knows what it said done of; what it was killed over it may know, whole.
    fn check_position(
        &mut self,
        talk: &ProgramTalk,
        open: u64,
        after: &str,
        report: &mut ConformReport,
    ) {
        let Some(kept) = &talk.positions else { return };
        match kept.get(&self.name.to_string()).copied() {
            Some(next) if next == self.next => {
                report.good(format!("positions: after {after} it goes on with {next}"));
            }
            Some(next) if next == self.next + open => {
                report.good(format!("positions: after {after} it has the batch that was open, and goes on with {next}"));
                self.next = next;
            }
            Some(next) => report.fault(
                format!("positions: it said done of all in front of {}, and after {after} it goes on with {next}", self.next),
                "store rows and position in one step, and say done when that is durable",
            ),
            None => report.fault(
                format!("positions: after {after} its ready does not name {}", self.name),
                "name all lanes it has a position of, as STREAM/TOPIC/PARTITION",
            ),
        }
    }
}

impl Script<'_> {
    async fn in_order(&mut self, lane: &mut TriedLane) -> Result<(), Over> {
        for _ in 0..3 {
            let given = self.give(lane, lane.next, rows(lane.next)).await?;
            let verdict = self.answer(&[given]).await?.1;
            if !self.took(lane, verdict, "a batch of objects {\"n\":..}") {
                return Ok(());
            }
        }
        self.report.good("batches in order: each was done");
        Ok(())
    }

    async fn side_by_side(
        &mut self,
        one: &mut TriedLane,
        other: &mut TriedLane,
    ) -> Result<(), Over> {
        let first = self.give(one, one.next, rows(one.next)).await?;
        let second = self.give(other, other.next, rows(other.next)).await?;
        let number = first.number;
        let mut open = vec![first, second];
        let mut all = true;
        while !open.is_empty() {
            let (answered, verdict) = self.answer(&open).await?;
            open.retain(|given| given.number != answered);
            let lane = if answered == number { &mut *one } else { &mut *other };
            all &= self.took(lane, verdict, "one of two batches at a time");
        }
        if all {
            self.report.good("batches of two lanes at a time: both were done");
        }
        Ok(())
    }

    /// What was delivered comes again when an answer is lost: the program may store it again, but may not refuse it.
    async fn again(&mut self, lane: &TriedLane) -> Result<(), Over> {
        let Some(begin) = lane.next.checked_sub(MESSAGES) else { return Ok(()) };
        let given = self.give(lane, begin, rows(begin)).await?;
        match self.answer(&[given]).await?.1 {
            TrialVerdict::Done => self.report.good("a batch that comes again: it was done"),
            TrialVerdict::Away => self.report.warning(
                "a batch that comes again: the program said away",
                "say done of what is stored already; the pipeline would give it again and again",
            ),
            TrialVerdict::Bad => self.report.fault(
                "a batch that comes again: the program called it bad",
                "say done of what is stored already: the pipeline would stop at it, or set it aside",
            ),
        }
        Ok(())
    }

    /// Messages that are not as the program may like them: it takes them or says which are bad, and lives.
    async fn odd(&mut self, lane: &mut TriedLane) -> Result<(), Over> {
        let odd: [(Form, &[u8]); MESSAGES as usize] = [
            (Form::Json, b"null"),
            (Form::Json, br#"[1e400, 12345678901234567890123, "\u0000"]"#),
            (Form::Text, "\u{2028}\"\\ \u{1F600}".as_bytes()),
            (Form::Bytes, &[0, 0xff, 0xfe]),
            (Form::Text, b""),
        ];
        let rows = (lane.next..).zip(odd);
        let rows = rows.map(|(offset, (form, payload))| row(offset, form, payload.to_vec()));
        let given = self.give(lane, lane.next, rows.collect()).await?;
        match self.answer(&[given]).await?.1 {
            TrialVerdict::Done => {
                lane.next += MESSAGES;
                self.report.good("messages it may refuse: it took them");
            }
            TrialVerdict::Bad => {
                self.report.good("messages it may refuse: it said that they are bad")
            }
            TrialVerdict::Away => self.report.warning(
                "messages it may refuse: the program said away",
                "if it will never take them, say bad, so that the pipeline can go on without them",
            ),
        }
        Ok(())
    }

    async fn give(
        &mut self,
        lane: &TriedLane,
        begin: u64,
        rows: Vec<Row>,
    ) -> Result<GivenBatch, Over> {
        self.number += 1;
        let last = begin + MESSAGES - 1;
        let end = Position {
            next: begin + MESSAGES,
            topic_made_at: 1,
            last_id: last.into(),
            last_time: last,
        };
        let offsets = rows.iter().map(|row| row.place.offset).collect();
        let line = batch_line(self.number, &lane.name, &Batch::new(begin, end, rows));
        self.talk.tell(&line, self.report).await?;
        Ok(GivenBatch { number: self.number, offsets })
    }

    /// Waits for the answer to one of these batches.
    async fn answer(&mut self, open: &[GivenBatch]) -> Result<(u64, TrialVerdict), Over> {
        let heard = self.talk.hear(self.talk.patience, self.report).await?;
        let Some(said) = heard else {
            let reason = format!("a batch was not answered for {:?}", self.talk.patience);
            return Err(self.report.over(
                reason,
                "answer each batch with done, away or bad, and flush standard output after each line",
            ));
        };
        let SaidLine { done, away, bad, offsets, messages, .. } = said;
        if messages.is_some() {
            return Err(self.report.over(
                "it wrote messages where an answer was due",
                "an origin writes the first ones within 2 s of its start, so that it is known as one here",
            ));
        }
        let (number, verdict) = match (done, away, bad) {
            (Some(number), None, None) => (number, TrialVerdict::Done),
            (None, Some(number), None) => (number, TrialVerdict::Away),
            (None, None, Some(number)) => (number, TrialVerdict::Bad),
            _ => {
                return Err(self.report.over(
                    "it wrote a line that is neither done, away nor bad",
                    "answer {\"done\":N}, {\"away\":N,\"reason\":..} or {\"bad\":N,\"offsets\":[..],\"reason\":..}",
                ));
            }
        };
        let Some(given) = open.iter().find(|given| given.number == number) else {
            return Err(self.report.over(
                format!("it answered batch {number}, which it was not given or has answered"),
                "answer each batch once, with the number it came with",
            ));
        };
        if verdict == TrialVerdict::Bad
            && !offsets.iter().all(|offset| given.offsets.contains(offset))
        {
            return Err(self.report.over(
                "it called messages bad that are not in the batch",
                "offsets are those of messages of the batch; none, if it cannot tell which",
            ));
        }
        Ok((number, verdict))
    }

    /// Notes what became of a batch of plain messages; tells whether it was taken.
    fn took(&mut self, lane: &mut TriedLane, verdict: TrialVerdict, which: &str) -> bool {
        match verdict {
            TrialVerdict::Done => lane.next += MESSAGES,
            TrialVerdict::Away => self.report.warning(
                format!("{which}: the program said away"),
                "nothing, if what it writes to is away; else look at what it says to the log",
            ),
            TrialVerdict::Bad => self.report.warning(
                format!("{which}: the program called messages bad"),
                "nothing, if it needs other messages than these; the rest says little then",
            ),
        }
        verdict == TrialVerdict::Done
    }
}

/// A batch of plain messages.
fn rows(begin: u64) -> Vec<Row> {
    let plain = |offset| row(offset, Form::Json, format!("{{\"n\":{offset}}}").into_bytes());
    (begin..begin + MESSAGES).map(plain).collect()
}

fn row(offset: u64, form: Form, payload: Vec<u8>) -> Row {
    Row {
        place: Place { offset, part: 0 },
        id: u128::from(offset) + 1,
        time: offset + 1,
        origin_time: offset + 1,
        headers_block: Bytes::new(),
        form,
        payload: Bytes::from(payload),
    }
}
