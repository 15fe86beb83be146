"""Streams and topics: create, get, duplicates, bad counts."""

from datetime import timedelta

from checks import equal, refused
from client import connected


async def run(server, checks):
    client = await connected(server)
    async with checks.step("create a stream and find it by name and by id"):
        await client.create_stream("orders")
        stream = await client.get_stream("orders")
        got = (stream.id, stream.name, stream.topics_count, stream.messages_count)
        equal("stream", got, (0, "orders", 0, 0))
        equal("by id", (await client.get_stream(0)).name, "orders")
    async with checks.step("a missing stream is None"):
        equal("stream", await client.get_stream("missing"), None)
    async with checks.step("a second stream of the name is refused"):
        await refused(client.create_stream("orders"), "StreamNameAlreadyExists")
    async with checks.step("create a topic and find it by name and by id"):
        await client.create_topic("orders", "placed", 3)
        topic = await client.get_topic("orders", "placed")
        got = (topic.id, topic.name, topic.partitions_count, topic.messages_count)
        equal("topic", got, (0, "placed", 3, 0))
        equal("by id", (await client.get_topic(0, 0)).name, "placed")
    async with checks.step("create a topic with every option"):
        await client.create_topic(
            "orders",
            "full",
            1,
            compression_algorithm="gzip",
            replication_factor=2,
            message_expiry=timedelta(minutes=10),
            max_topic_size=2 * 2**30,
        )
        equal("topic", (await client.get_topic("orders", "full")).id, 1)
        equal("topics", (await client.get_stream("orders")).topics_count, 2)
    async with checks.step("a missing topic is None"):
        equal("topic", await client.get_topic("orders", "missing"), None)
        equal("topic", await client.get_topic("missing", "placed"), None)
    async with checks.step("a second topic of the name is refused"):
        await refused(client.create_topic("orders", "placed", 1), "TopicNameAlreadyExists")
    async with checks.step("a topic in a missing stream is refused"):
        await refused(client.create_topic("missing", "x", 1), "StreamIdNotFound")
    async with checks.step("too many partitions are refused"):
        await refused(client.create_topic("orders", "wide", 1001), "TooManyPartitions")
    async with checks.step("names that are not ASCII"):
        await client.create_stream("журнал 日志")
        equal("name", (await client.get_stream("журнал 日志")).name, "журнал 日志")
