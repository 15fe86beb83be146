"""Consumer groups: iterate, call back, commit each way, offsets by hand."""

import asyncio
from datetime import timedelta

from apache_iggy import AutoCommit, AutoCommitAfter, AutoCommitWhen, PollingStrategy, SendMessage

from checks import equal
from client import connected

STREAM = "work"

COMMITS = {
    "every 100 ms": AutoCommit.Interval(timedelta(milliseconds=100)),
    "when polled": AutoCommit.When(AutoCommitWhen.PollingMessages()),
    "with all of a batch": AutoCommit.When(AutoCommitWhen.ConsumingAllMessages()),
    "with each message": AutoCommit.When(AutoCommitWhen.ConsumingEachMessage()),
    "with every third": AutoCommit.When(AutoCommitWhen.ConsumingEveryNthMessage(3)),
}


async def filled(client, topic, partitions=3, each=20):
    await client.create_topic(STREAM, topic, partitions)
    for partition in range(partitions):
        messages = [SendMessage(f"{partition} {number}") for number in range(each)]
        await client.send_messages(STREAM, topic, partition, messages)


async def group(client, topic, commit, name="readers"):
    return await client.consumer_group(
        name,
        STREAM,
        topic,
        polling_strategy=PollingStrategy.Next(),
        batch_length=5,
        auto_commit=commit,
        poll_interval=timedelta(milliseconds=1),
    )


async def take(consumer, count):
    """The partition and offset of the next `count` messages."""
    taken = []
    async for message in consumer.iter_messages():
        taken.append((message.partition_id(), message.offset()))
        if len(taken) == count:
            return taken


async def run(server, checks):
    client = await connected(server)
    await client.create_stream(STREAM)
    everything = [(partition, offset) for partition in range(3) for offset in range(20)]

    for number, (name, commit) in enumerate(COMMITS.items()):
        async with checks.step(f"a group that commits {name} reads everything once"):
            await filled(client, f"topic {number}")
            consumer = await group(client, f"topic {number}", commit)
            equal("messages", sorted(await take(consumer, 60)), everything)
    async with checks.step("a callback sees everything, and what it processed is committed"):
        await filled(client, "called back")
        after = AutoCommit.After(AutoCommitAfter.ConsumingEachMessage())
        consumer = await group(client, "called back", after)
        seen, done = [], asyncio.Event()

        async def note(message):
            seen.append((message.partition_id(), message.offset()))
            if len(seen) == 60:
                done.set()

        await consumer.consume_messages(note, done)
        equal("messages", sorted(seen), everything)
    async with checks.step("offsets are stored and deleted by hand"):
        await filled(client, "by hand", partitions=1)
        consumer = await group(client, "by hand", AutoCommit.Disabled())
        await take(consumer, 5)
        await consumer.store_offset(3, 0)
        equal("consumed", consumer.get_last_consumed_offset(0), 4)
        await consumer.delete_offset(0)
        names = (consumer.name(), consumer.stream(), consumer.topic())
        equal("names", names, ("readers", STREAM, "by hand"))
    async with checks.step("two members share the partitions"):
        await filled(client, "shared", partitions=4)
        when = AutoCommit.When(AutoCommitWhen.ConsumingEachMessage())
        members = [await group(await connected(server), "shared", when) for _ in range(2)]
        seen, done = [], asyncio.Event()

        async def collect(message):
            seen.append((message.partition_id(), message.offset()))
            if len(seen) == 80:
                done.set()

        await asyncio.gather(*(member.consume_messages(collect, done) for member in members))
        equal("messages", len(seen), 80)
        equal("each once", len(set(seen)), 80)
