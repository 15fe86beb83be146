//! A server at the other end that is patient, slow or dead.

use tokio::io::{AsyncReadExt, DuplexStream};

use super::*;
use crate::postgres::frame::FrameCutter;
use crate::postgres::session::Duplex;

fn pair() -> (SlotStream, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (reader, writer) = tokio::io::split(Box::new(ours) as Box<dyn Duplex>);
    let both = CopyBoth { reader, cutter: FrameCutter::default(), writer };
    let pace =
        SlotPace { sender_timeout: Some(Duration::from_secs(6)), patience: Duration::from_secs(5) };
    (SlotStream::new(both, PgLsn(100), pace), theirs)
}

fn change(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![b'd'];
    out.extend(u32::try_from(bytes.len() + 29).unwrap().to_be_bytes());
    out.push(b'w');
    out.extend([0; 24]);
    out.extend(bytes);
    out
}

fn sign_of_life(end: u64, asks: bool) -> Vec<u8> {
    let mut out = vec![b'd', 0, 0, 0, 22, b'k'];
    out.extend(end.to_be_bytes());
    out.extend([0; 8]);
    out.push(asks.into());
    out
}

/// The place and whether an answer is wanted, of the next word we say.
async fn word(theirs: &mut DuplexStream) -> (u64, bool) {
    let mut bytes = [0; 39];
    theirs.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes[..6], [b'd', 0, 0, 0, 38, b'r']);
    assert_eq!(bytes[6..14], bytes[14..22]);
    (u64::from_be_bytes(bytes[6..14].try_into().unwrap()), bytes[38] == 1)
}

#[tokio::test(start_paused = true)]
async fn what_comes_is_given_in_order() {
    let (mut stream, mut theirs) = pair();
    theirs
        .write_all(&[change(b"one"), sign_of_life(7, false), change(b"")].concat())
        .await
        .unwrap();
    assert_eq!(stream.next().await.unwrap(), SlotArrival::Message(Bytes::from_static(b"one")));
    assert_eq!(stream.next().await.unwrap(), SlotArrival::Reached(PgLsn(7)));
    assert_eq!(stream.next().await.unwrap(), SlotArrival::Message(Bytes::new()));
    drop(theirs);
    let end = stream.next().await.unwrap_err();
    assert_eq!(end.to_string(), "the server closed the connection");
}

/// A server that hears nothing for its timeout ends the connection and sends everything again from the start; that went on for
/// ever where the receiver spoke only when its caller asked for more.
#[tokio::test(start_paused = true)]
async fn the_server_hears_of_us_while_nobody_asks_for_more() {
    let (mut stream, mut theirs) = pair();
    assert_eq!(word(&mut theirs).await, (100, true));
    // More than is read ahead: the reader stands still.
    let large = vec![7; AHEAD_BYTES_MAX as usize];
    let (mut read, mut write) = tokio::io::split(theirs);
    let feeding = tokio::spawn(async move {
        for _ in 0..3 {
            write.write_all(&change(&large)).await.unwrap();
        }
        write
    });
    let mut bytes = [0; 39];
    for _ in 0..5 {
        read.read_exact(&mut bytes).await.unwrap();
    }
    assert!(!feeding.is_finished(), "no more than the bound is read ahead");
    for _ in 0..3 {
        assert!(matches!(stream.next().await.unwrap(), SlotArrival::Message(_)));
    }
    feeding.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_is_told_at_once_and_never_taken_back() {
    let (stream, mut theirs) = pair();
    assert_eq!(word(&mut theirs).await, (100, true));
    stream.confirm(PgLsn(200));
    assert_eq!(word(&mut theirs).await.0, 200);
    stream.confirm(PgLsn(150));
    theirs.write_all(&sign_of_life(300, true)).await.unwrap();
    let begun = Instant::now();
    assert_eq!(word(&mut theirs).await, (200, false), "asked, it answers");
    assert!(begun.elapsed() < Duration::from_secs(1));
    stream.confirm(PgLsn(250));
    stream.finish().await;
    assert_eq!(word(&mut theirs).await.0, 250, "the last word is said");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_silent_is_taken_for_dead() {
    let (mut stream, theirs) = pair();
    let reading = tokio::spawn(async move {
        let mut theirs = theirs;
        let mut sink = Vec::new();
        theirs.read_to_end(&mut sink).await
    });
    assert_eq!(stream.next().await.unwrap_err().to_string(), "nothing came for 120 seconds");
    drop(stream);
    assert!(reading.await.unwrap().is_ok());
}
