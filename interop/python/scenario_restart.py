"""A server that is killed, or asked to stop, and comes back with everything acknowledged."""

from apache_iggy import PollingStrategy, SendMessage

from checks import equal
from client import resilient


async def run(server, checks):
    client = await resilient(server)
    await client.create_stream("ledger")
    await client.create_topic("ledger", "entries", 2)
    sent = 0

    async def send(count):
        nonlocal sent
        batch = [SendMessage(f"entry {n}") for n in range(sent, sent + count)]
        await client.send_messages("ledger", "entries", 1, batch)
        sent += count

    async def complete():
        messages = await client.poll_messages(
            "ledger", "entries", 1, PollingStrategy.First(), 10_000, False
        )
        got = [(it.offset(), it.payload().decode()) for it in messages]
        equal("messages", got, [(n, f"entry {n}") for n in range(sent)])

    await send(100)
    commit = await client.poll_messages("ledger", "entries", 1, PollingStrategy.Next(), 40, True)
    async with checks.step("after kill -9 the same client goes on"):
        server.kill()
        server.restart()
        await complete()
        await send(10)
        await complete()
    async with checks.step("after kill -9 the committed offset is kept"):
        messages = await client.poll_messages(
            "ledger", "entries", 1, PollingStrategy.Next(), 1, False
        )
        equal("next", messages[0].offset(), commit[-1].offset() + 1)
    async with checks.step("after SIGTERM the same client goes on"):
        server.stop()
        server.restart()
        await complete()
        await send(10)
        await complete()
    async with checks.step("five kills in a row, each right behind an acknowledgement"):
        for _ in range(5):
            await send(1)
            server.kill()
            server.restart()
        await complete()
