//! Refusals in the middle of what is on its way.

use galgo::{
    Client, Credentials, ErrorCode, Message, Permissions, PollRequest, PollingStrategy,
    ProduceError, SendError, UserOptions,
};
use galgo_wire::permission::GlobalPermissions;

use crate::place::{Place, named, number, s, t};

const PARTITIONS: u32 = 3;
const MESSAGES: u32 = 3_000;
const KEYS: u32 = 7;

fn may_send(send_messages: bool) -> Option<Permissions> {
    let global = GlobalPermissions { send_messages, read_topics: true, ..Default::default() };
    Some(Permissions { global, ..Default::default() })
}

/// The numbers in each partition.
async fn stored(client: &Client) -> Vec<Vec<u32>> {
    let mut all = Vec::new();
    for partition in 0..PARTITIONS {
        let request = PollRequest::new(&s(), &t(), partition);
        let request = request.strategy(PollingStrategy::First).count(2 * MESSAGES);
        all.push(client.poll(request).await.unwrap().messages().iter().map(number).collect());
    }
    all
}

/// A producer's batches were on their way when the user lost the right to send and got it back. The refused ones were
/// missing, those behind them were stored. Chains stop what is behind, so the caller, once told, goes on where it was
/// refused, and every key keeps its order.
pub(crate) async fn rights_that_go_and_come_leave_no_hole(place: &Place) {
    let root = place.with_topic(PARTITIONS).await;
    let options = UserOptions::default();
    root.create_user("ann", "ann-secret", options).await.unwrap();
    let ann = named("ann");
    root.update_permissions(&ann, may_send(true)).await.unwrap();
    let client = place.client(Credentials::password("ann", "ann-secret")).await.unwrap();
    let producer = client.producer(&s(), &t()).batch_messages(10).build().await.unwrap();
    let mut left: Vec<u32> = (0..MESSAGES).collect();
    let mut refusals = 0;
    while !left.is_empty() {
        let mut receipts = Vec::new();
        for message in &left {
            // Now and then, so that it hits batches that are under way.
            if refusals < 5 && receipts.len() as u32 == 200 + 50 * refusals {
                root.update_permissions(&ann, may_send(false)).await.unwrap();
            }
            let key = (message % KEYS).to_string();
            let body = Message::new(message.to_string());
            match producer.send_keyed_with_receipt(key, body).await {
                Ok(receipt) => receipts.push((*message, receipt)),
                Err(_) => break,
            }
        }
        if let Err(error) = producer.flush().await {
            let ProduceError::Failed(SendError::Server(refusal)) = &error.cause else {
                panic!("{error:?}")
            };
            assert!(refusal.is(ErrorCode::Unauthorized), "{error}");
            refusals += 1;
        }
        root.update_permissions(&ann, may_send(true)).await.unwrap();
        for (message, receipt) in receipts {
            if receipt.await.is_ok() {
                left.retain(|other| *other != message);
            }
        }
        for numbers in stored(&root).await {
            for key in 0..KEYS {
                let of_key: Vec<u32> =
                    numbers.iter().copied().filter(|number| number % KEYS == key).collect();
                let expected: Vec<u32> =
                    (0..of_key.len() as u32).map(|turn| key + turn * KEYS).collect();
                assert_eq!(of_key, expected, "the beginning of what was sent with the key");
            }
        }
    }
    assert!(refusals > 0, "nothing was refused");
    let total: usize = stored(&root).await.iter().map(Vec::len).sum();
    assert_eq!(total, MESSAGES as usize);
}
