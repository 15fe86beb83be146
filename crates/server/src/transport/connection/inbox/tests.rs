//! Requests out of bytes cut anywhere, refusals in step, memory given back.

use super::*;
use crate::transport::budget::{Budget, BudgetBytes};

const SEND: u32 = 101;
const PING: u32 = 1;
const SEND_MAX: u32 = 8 << 20;
const SMALL_MAX: u32 = 100_000;

const CALLER: PeerStanding = PeerStanding { authenticated: true, send_bytes_max: SEND_MAX };
const ANONYMOUS: PeerStanding = PeerStanding { authenticated: false, send_bytes_max: SEND_MAX };

fn request(code: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32 + 4).to_le_bytes().to_vec();
    bytes.extend_from_slice(&code.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A budget of `bytes`, and what a connection draws on.
fn budget_of(bytes: u64) -> (Budget, Allowance) {
    let budget = Budget::new(BudgetBytes { all: bytes, user: bytes, request: 0 });
    let allowance = budget.allowance(None);
    (budget, allowance)
}

/// Everything the inbox makes of `stream`, read in pieces of at most `piece` bytes.
async fn outcomes(
    stream: &[u8],
    piece: usize,
    caller: PeerStanding,
) -> Vec<Result<(u32, Vec<u8>), ErrorCode>> {
    let (_, allowance) = budget_of(64 << 20);
    let mut inbox = Inbox::new();
    let mut outcomes = Vec::new();
    for mut piece in stream.chunks(piece) {
        while !piece.is_empty() {
            if !inbox.try_make_room(&allowance) {
                inbox.make_room(&allowance).await;
            }
            assert!(inbox.fill(&mut piece).await.unwrap() > 0);
            loop {
                match inbox.front(caller) {
                    Front::Request { code, payload } => {
                        outcomes.push(Ok((code, inbox.payload(payload).to_vec())));
                        inbox.consume();
                    }
                    Front::Refused(error) => outcomes.push(Err(error)),
                    Front::Partial => break,
                }
            }
        }
    }
    assert!(!inbox.is_mid_request());
    outcomes
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

#[tokio::test]
async fn requests_come_out_whole_however_the_bytes_are_cut() {
    let bodies = [0, 1, 7, 100, 5_000, 40_000, 3, 200_000, 0, 33_000];
    let stream: Vec<u8> = bodies.iter().flat_map(|len| request(SEND, &payload(*len))).collect();
    let expected: Vec<_> = bodies.iter().map(|len| Ok((SEND, payload(*len)))).collect();
    for piece in [1, 3, 8, 9, 4096, 32_768, 1 << 20] {
        assert_eq!(outcomes(&stream, piece, CALLER).await, expected, "pieces of {piece}");
    }
}

#[tokio::test]
async fn refused_requests_leave_the_stream_in_step() {
    let mut stream = request(PING, &[]);
    stream.extend_from_slice(&[3, 0, 0, 0, 1, 0, 0, 0]);
    stream.extend(request(PING, &payload((10 << 20) + 1)));
    stream.extend(request(SEND, &payload(SEND_MAX as usize + 1)));
    stream.extend(request(PING, b"end"));
    let expected = vec![
        Ok((PING, vec![])),
        Err(ErrorCode::InvalidCommand),
        Err(ErrorCode::InvalidCommand),
        Err(ErrorCode::TooBigMessagePayload),
        Ok((PING, b"end".to_vec())),
    ];
    for piece in [1000, 1 << 16, 1 << 30] {
        assert_eq!(outcomes(&stream, piece, CALLER).await, expected, "pieces of {piece}");
    }
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// INV-HERE.
#[tokio::test]
async fn any_requests_in_any_pieces_come_out_the_same() {
    for seed in 0..200 {
        let mut numbers = Numbers(seed);
        let (mut stream, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..=numbers.below(12) {
            match numbers.below(9) {
                0 => {
                    stream.extend([numbers.below(4) as u8, 0, 0, 0, 9, 9, 9, 9]);
                    expected.push(Err(ErrorCode::InvalidCommand));
                }
                1 => {
                    let body = payload(30_000 + numbers.below(60_000));
                    stream.extend(request(SEND, &body));
                    expected.push(Ok((SEND, body)));
                }
                2 => {
                    stream
                        .extend(request(SEND, &payload(SMALL_MAX as usize + 1 + numbers.below(9))));
                    expected.push(Err(ErrorCode::TooBigMessagePayload));
                }
                _ => {
                    let (code, body) = (numbers.below(700) as u32, payload(numbers.below(200)));
                    stream.extend(request(code, &body));
                    expected.push(Ok((code, body)));
                }
            }
        }
        let most = [20, 5_000, 1 << 20][numbers.below(3)];
        let piece = 1 + numbers.below(most);
        let caller = PeerStanding { authenticated: true, send_bytes_max: SMALL_MAX };
        assert_eq!(outcomes(&stream, piece, caller).await, expected, "seed {seed}");
    }
}

#[tokio::test]
async fn a_send_before_the_login_is_thrown_away_without_growing_the_buffer() {
    let (_, allowance) = budget_of(1 << 20);
    let mut inbox = Inbox::new();
    let stream = request(SEND, &payload(6 << 20));
    let mut rest: &[u8] = &stream;
    let mut answer = None;
    while answer.is_none() {
        assert!(inbox.try_make_room(&allowance), "no grant is needed");
        assert!(inbox.fill(&mut rest).await.unwrap() > 0);
        if let Front::Refused(error) = inbox.front(ANONYMOUS) {
            answer = Some(error);
        }
        assert!(inbox.buffer.capacity() <= BUFFER_BYTES_BUSY);
    }
    assert_eq!(answer, Some(ErrorCode::Unauthenticated));
    assert!(rest.is_empty());
}

/// INV-BUDGET.
#[tokio::test]
async fn memory_of_a_large_request_goes_back_when_nobody_needs_it() {
    let (budget, allowance) = budget_of(1 << 20);
    let mut inbox = Inbox::new();
    let stream = request(SEND, &payload(900 << 10));
    let mut rest: &[u8] = &stream;
    loop {
        assert!(inbox.try_make_room(&allowance));
        inbox.fill(&mut rest).await.unwrap();
        if matches!(inbox.front(CALLER), Front::Request { .. }) {
            break;
        }
    }
    assert!(budget.free_bytes() < 512 << 10, "the request is covered by a grant");
    inbox.shrink();
    assert!(budget.free_bytes() < 512 << 10, "a request that is here is kept");
    inbox.consume();
    inbox.yield_grant(&allowance);
    assert_eq!(budget.free_bytes(), 1 << 20, "others may be waiting, so it goes back at once");
    inbox.shrink();
    inbox.shrink();
    assert!(!inbox.is_large());
}

/// A client that always had a piece of its next request sent kept the memory of a large one for as long
/// as it liked, and all others waited for it.
#[tokio::test]
async fn memory_of_a_large_request_goes_back_although_the_next_one_has_begun() {
    let (budget, allowance) = budget_of(4 << 20);
    let mut inbox = Inbox::new();
    let large = request(SEND, &payload(900 << 10));
    let mut rest: &[u8] = &large;
    while inbox.front(CALLER) == Front::Partial {
        assert!(inbox.try_make_room(&allowance));
        inbox.fill(&mut rest).await.unwrap();
    }
    inbox.consume();
    inbox.yield_grant(&allowance);
    let mut others = Grant::default();
    assert!(allowance.try_grow(&mut others, 3 << 20), "the budget is not tight at first");
    assert!(budget.free_bytes() < 256 << 10, "the grant is kept while nobody needs it");
    let two = [request(PING, b""), request(PING, b"piece")].concat();
    let (mut sent, mut later) = two.split_at(two.len() - 2);
    inbox.fill(&mut sent).await.unwrap();
    assert!(matches!(inbox.front(CALLER), Front::Request { code: PING, .. }));
    inbox.consume();
    assert!(inbox.is_mid_request());
    inbox.yield_grant(&allowance);
    assert_eq!(budget.free_bytes(), 1 << 20);
    inbox.fill(&mut later).await.unwrap();
    let Front::Request { code: PING, payload } = inbox.front(CALLER) else { panic!("in step") };
    assert_eq!(inbox.payload(payload), b"piece");
}

#[tokio::test]
async fn a_large_request_is_received_without_reading_past_its_end() {
    let (_, allowance) = budget_of(1 << 20);
    let mut inbox = Inbox::new();
    let mut stream = request(SEND, &payload(100 << 10));
    let first = stream.len();
    stream.extend(request(SEND, &payload(100 << 10)));
    let mut rest: &[u8] = &stream;
    loop {
        assert!(inbox.try_make_room(&allowance));
        inbox.fill(&mut rest).await.unwrap();
        if matches!(inbox.front(CALLER), Front::Request { .. }) {
            break;
        }
    }
    assert_eq!(rest.len(), stream.len() - first);
}

/// A request that was announced and never sent took its whole size from the budget of all.
#[tokio::test]
async fn a_request_takes_memory_as_it_arrives_and_not_as_it_is_announced() {
    let (budget, allowance) = budget_of(8 << 20);
    let mut inbox = Inbox::new();
    let stream = request(SEND, &payload(8_000_000));
    let mut rest: &[u8] = &stream;
    let mut seen = 0;
    while inbox.front(CALLER) == Front::Partial {
        assert!(inbox.try_make_room(&allowance));
        let mut piece = &rest[..rest.len().min(10_000)];
        let read = inbox.fill(&mut piece).await.unwrap();
        rest = &rest[read..];
        seen += read;
        let taken = (8 << 20) - budget.free_bytes();
        assert!(taken <= (2 * seen).max(BUFFER_BYTES_FIRST + 4096), "{taken} for {seen}");
    }
    let Front::Request { code: SEND, payload: range } = inbox.front(CALLER) else { panic!() };
    assert_eq!(inbox.payload(range), payload(8_000_000));
}

/// A peer that had not logged in got 32 KiB for as many requests as it left half sent, uncounted.
///
/// INV-STRANGER.
#[tokio::test]
async fn a_stranger_gets_no_byte_more_than_an_idle_buffer_without_a_grant() {
    let (small, large) = (payload(1000), payload(60_000));
    let budget = Budget::of_strangers(1 << 20, 0);
    let allowance = budget.allowance(None);
    let mut inbox = Inbox::new();
    // Many small requests at once, and the beginning of a refused one.
    let mut stream: Vec<u8> = (0..20).flat_map(|_| request(PING, &small)).collect();
    stream.extend_from_slice(&request(SEND, &large)[..50_000]);
    let mut rest = &stream[..];
    let mut requests = 0;
    while !rest.is_empty() {
        assert!(inbox.try_make_room(&allowance));
        inbox.fill(&mut rest).await.unwrap();
        while let Front::Request { .. } = inbox.front(ANONYMOUS) {
            requests += 1;
            inbox.consume();
            inbox.yield_grant(&allowance);
        }
        assert!(inbox.buffer.capacity() <= BUFFER_BYTES_IDLE);
    }
    assert_eq!(requests, 20);
    assert!(inbox.grant.is_empty());

    let mut inbox = Inbox::new();
    let stream = request(PING, &large);
    let mut rest = &stream[..];
    while inbox.front(ANONYMOUS) == Front::Partial {
        assert!(inbox.try_make_room(&allowance));
        assert!(inbox.buffer.capacity() <= BUFFER_BYTES_IDLE || !inbox.grant.is_empty());
        inbox.fill(&mut rest).await.unwrap();
    }
    inbox.consume();
    inbox.yield_grant(&allowance);
    assert!(inbox.grant.is_empty() && inbox.buffer.capacity() <= BUFFER_BYTES_IDLE, "given back");
}

#[tokio::test]
async fn strangers_wait_for_each_other_and_for_nobody_else() {
    let budget = Budget::of_strangers(128 << 10, 0);
    let allowance = budget.allowance(None);
    let large = request(PING, &payload(60_000));
    let half_sent = || async {
        let mut inbox = Inbox::new();
        let mut rest = &large[..100];
        assert!(inbox.try_make_room(&allowance));
        inbox.fill(&mut rest).await.unwrap();
        assert_eq!(inbox.front(ANONYMOUS), Front::Partial);
        (inbox.try_make_room(&allowance), inbox)
    };
    let (first, second) = (half_sent().await, half_sent().await);
    assert!(first.0 && second.0);
    let (third, _inbox) = half_sent().await;
    let (fourth, _inbox) = half_sent().await;
    assert!(third && !fourth, "the last resort, then nothing");
    let mut inbox = Inbox::new();
    let small = request(PING, &payload(100));
    assert!(inbox.try_make_room(&allowance), "a login needs no grant");
    inbox.fill(&mut &small[..]).await.unwrap();
    assert!(matches!(inbox.front(ANONYMOUS), Front::Request { .. }));
}

#[tokio::test]
async fn a_request_without_memory_is_refused_and_what_follows_is_in_step() {
    let (_, allowance) = budget_of(64 << 20);
    let mut inbox = Inbox::new();
    let stream = [request(SEND, &payload(50_000)), request(PING, &[])].concat();
    let mut rest = &stream[..];
    assert!(inbox.try_make_room(&allowance));
    inbox.fill(&mut rest).await.unwrap();
    assert_eq!(inbox.front(CALLER), Front::Partial);
    inbox.give_up();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        match inbox.front(CALLER) {
            Front::Partial => {
                assert!(inbox.try_make_room(&allowance));
                assert!(inbox.fill(&mut rest).await.unwrap() > 0);
            }
            Front::Refused(error) => seen.push(Err(error)),
            Front::Request { code, .. } => {
                seen.push(Ok(code));
                inbox.consume();
            }
        }
    }
    assert_eq!(seen, [Err(ErrorCode::CannotSaveMessagesToSegment), Ok(PING)]);
}

/// A request may wait for its turn while the connection becomes somebody else's, and memory is given back.
#[tokio::test]
async fn a_request_that_waits_for_its_turn_is_where_it_was_told_although_the_buffer_moves() {
    let (budget, allowance) = budget_of(1 << 20);
    let mut inbox = Inbox::new();
    let large = request(SEND, &payload(900 << 10));
    let mut rest: &[u8] = &large;
    while inbox.front(CALLER) == Front::Partial {
        assert!(inbox.try_make_room(&allowance));
        inbox.fill(&mut rest).await.unwrap();
    }
    inbox.consume();
    let two = [request(PING, b"one"), request(PING, b"two")].concat();
    inbox.fill(&mut &two[..]).await.unwrap();
    assert!(matches!(inbox.front(CALLER), Front::Request { code: PING, .. }));
    inbox.consume();
    let Front::Request { code: PING, payload } = inbox.front(CALLER) else { panic!("in step") };
    inbox.change_hands();
    assert_eq!(budget.free_bytes(), 1 << 20, "the buffer is another one now");
    assert_eq!(inbox.payload(payload), b"two");
}
