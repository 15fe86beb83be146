"""Messages: send, poll with each strategy, auto-commit, and what is refused."""

from apache_iggy import PollingStrategy, SendMessage

from checks import equal, refused
from client import connected

STREAM = "mail"
TOPIC = "letters"


async def run(server, checks):
    client = await connected(server)
    await client.create_stream(STREAM)
    await client.create_topic(STREAM, TOPIC, 2)

    async def poll(strategy, count=100, partition=0, commit=False):
        return await client.poll_messages(STREAM, TOPIC, partition, strategy, count, commit)

    def offsets(messages):
        return [message.offset() for message in messages]

    async with checks.step("an empty partition gives an empty list"):
        for strategy in (PollingStrategy.First(), PollingStrategy.Last(), PollingStrategy.Next()):
            equal("messages", await poll(strategy), [])
        equal("messages", await poll(PollingStrategy.Offset(value=0)), [])
    async with checks.step("text and bytes go in and come back"):
        await client.send_messages(STREAM, TOPIC, 0, [SendMessage("grüße"), SendMessage(b"\x00\xff")])
        messages = await poll(PollingStrategy.First())
        equal("payloads", [it.payload() for it in messages], ["grüße".encode(), b"\x00\xff"])
        equal("lengths", [it.length() for it in messages], [len("grüße".encode()), 2])
        equal("offsets", offsets(messages), [0, 1])
        equal("partitions", [it.partition_id() for it in messages], [0, 0])
        equal("ids differ", len({it.id() for it in messages} - {0}), 2)
        equal("one timestamp", len({it.timestamp() for it in messages}), 1)
        equal("checksums", all(it.checksum() for it in messages), True)
    async with checks.step("a large batch and a large message"):
        await client.send_messages(STREAM, TOPIC, 1, [SendMessage(f"m{n}") for n in range(10_000)])
        messages = await poll(PollingStrategy.First(), 20_000, 1)
        equal("payloads", [it.payload() for it in messages], [b"m%d" % n for n in range(10_000)])
        await client.send_messages(STREAM, TOPIC, 1, [SendMessage(b"x" * 8_000_000)])
        equal("length", (await poll(PollingStrategy.Last(), 1, 1))[0].length(), 8_000_000)
    async with checks.step("each strategy"):
        await client.send_messages(STREAM, TOPIC, 0, [SendMessage(f"m{n}") for n in range(2, 10)])
        equal("offset", offsets(await poll(PollingStrategy.Offset(value=4), 3)), [4, 5, 6])
        equal("beyond", offsets(await poll(PollingStrategy.Offset(value=10))), [])
        equal("first", offsets(await poll(PollingStrategy.First(), 2)), [0, 1])
        equal("last", offsets(await poll(PollingStrategy.Last(), 2)), [8, 9])
        time = (await poll(PollingStrategy.Last(), 1))[0].timestamp()
        equal("time", offsets(await poll(PollingStrategy.Timestamp(value=time), 1)), [2])
        equal("later", offsets(await poll(PollingStrategy.Timestamp(value=time + 1), 1)), [])
    async with checks.step("next moves on with auto-commit only"):
        equal("next", offsets(await poll(PollingStrategy.Next(), 3)), [0, 1, 2])
        equal("next again", offsets(await poll(PollingStrategy.Next(), 3, commit=True)), [0, 1, 2])
        equal("committed", offsets(await poll(PollingStrategy.Next(), 3, commit=True)), [3, 4, 5])
        equal("committed", offsets(await poll(PollingStrategy.Next(), 9, commit=True)), [6, 7, 8, 9])
        equal("the end", offsets(await poll(PollingStrategy.Next(), 9, commit=True)), [])
    async with checks.step("counts are shown"):
        equal("topic", (await client.get_topic(STREAM, TOPIC)).messages_count, 10_011)
        equal("stream", (await client.get_stream(STREAM)).messages_count, 10_011)
    async with checks.step("what is missing is named"):
        one = [SendMessage("x")]
        await refused(client.send_messages("missing", TOPIC, 0, one), "StreamIdNotFound")
        await refused(client.send_messages(STREAM, "missing", 0, one), "TopicIdNotFound")
        await refused(client.send_messages(STREAM, TOPIC, 9, one), "PartitionNotFound")
        await refused(poll(PollingStrategy.First(), partition=9), "PartitionNotFound")
