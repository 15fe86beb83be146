//! Members of a group on a classic server, which lists partitions but tells nobody what it holds.

use std::time::Duration;

use galgo::{ActiveMember, Client, ConsumeError, MemberChange, PartitionReader, Partitioning};
use galgo_wire::command::CommandCode;
use galgo_wire::error_code::ErrorCode;

use crate::support::{Act, Server, numbered, stream, topic};

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.unwrap()
}

async fn gained(member: &mut ActiveMember) -> PartitionReader {
    match soon(member.next_change()).await.unwrap() {
        MemberChange::Gained(reader) => reader,
        other => panic!("{other:?}"),
    }
}

/// A classic server whose group has the caller as its first member.
async fn member(lists: &[&[u32]]) -> (Server, Client, ActiveMember) {
    let server = Server::start(4).await;
    {
        let mut world = server.shared.world.lock();
        world.is_classic = true;
        world.group_lists = lists.iter().map(|list| list.to_vec()).collect();
    }
    let client = server.client().await;
    for partition in 0..4_u32 {
        let to = Partitioning::PartitionId(partition.into());
        client.send(&stream(), &topic(), to, &numbered(0..5)).await.unwrap();
    }
    let member = client.group_member(&stream(), &topic()).group("g").join().await.unwrap();
    (server, client, member)
}

#[tokio::test]
async fn the_partitions_listed_for_a_member_are_gained_and_lost() {
    let (server, _client, mut member) = member(&[&[0, 2], &[1, 3]]).await;
    let (mut first, mut third) = (gained(&mut member).await, gained(&mut member).await);
    assert_eq!((first.partition(), third.partition()), (0, 2));
    for reader in [&mut first, &mut third] {
        let batch = soon(reader.next_batch()).await.unwrap();
        assert_eq!(batch.len(), 5);
        reader.store(4).await.unwrap();
        assert_eq!(reader.stored_offset().await.unwrap(), Some(4));
        let extent = reader.extent().await.unwrap();
        assert_eq!((extent.first, extent.end, extent.stored), (0, 5, Some(4)));
    }
    server.shared.world.lock().group_lists = vec![vec![0], vec![1, 3, 2]];
    assert!(matches!(soon(member.next_change()).await, Ok(MemberChange::Lost(2))));
    assert!(matches!(soon(third.next_batch()).await, Err(ConsumeError::Lost { partition: 2 })));
    server.once(CommandCode::StoreConsumerOffset, 0, Act::Refuse(ErrorCode::NotResolvedConsumer));
    let refused = third.store(3).await.unwrap_err();
    assert!(matches!(refused, ConsumeError::Lost { partition: 2 }), "{refused:?}");
    member.close().await.unwrap();
    assert!(matches!(soon(first.next_batch()).await, Err(ConsumeError::Lost { partition: 0 })));
}

#[tokio::test]
async fn a_gap_is_told_until_the_reader_is_told_where_to_go_on() {
    let (server, client, member) = member(&[&[0, 1, 2, 3]]).await;
    server.shared.world.lock().forget_before(1, 3);
    let mut reader = client.partition_reader(&stream(), &topic(), 1);
    assert_eq!(soon(reader.next_batch()).await.unwrap()[0].offset(), 3, "the oldest there is");
    reader.seek(2);
    for _ in 0..2 {
        let told = soon(reader.next_batch()).await.unwrap_err();
        assert!(
            matches!(told, ConsumeError::Gap { partition: 1, expected: 2, first: 3 }),
            "{told:?}"
        );
    }
    assert!(reader.message_at(2).await.unwrap().is_none());
    assert_eq!(reader.message_at(3).await.unwrap().unwrap().offset(), 3);
    reader.seek(4);
    assert_eq!(soon(reader.next_batch()).await.unwrap()[0].offset(), 4);
    member.close().await.unwrap();
}
