"""Connecting and logging in, right and wrong."""

from apache_iggy import IggyClient

from checks import refused
from client import connected
from server import PASSWORD, USERNAME


async def run(server, checks):
    async with checks.step("ping needs no login"):
        client = IggyClient(server.address)
        await client.connect()
        await client.ping()
    async with checks.step("login with the right password"):
        client = await connected(server)
        await client.ping()
    async with checks.step("a wrong password and an unknown user get the same error"):
        client = IggyClient(server.address)
        await client.connect()
        await refused(client.login_user(USERNAME, "not the password"), "InvalidCredentials")
        await refused(client.login_user("nobody", PASSWORD), "InvalidCredentials")
    async with checks.step("a login after a failed one"):
        await client.login_user(USERNAME, PASSWORD)
        await client.create_stream("after a failure")
    async with checks.step("a connection string logs in by itself"):
        client = IggyClient.from_connection_string(
            f"iggy+tcp://{USERNAME}:{PASSWORD}@{server.address}"
        )
        await client.connect()
        await client.create_stream("by connection string")
