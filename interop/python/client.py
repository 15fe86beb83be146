"""Classic clients as a program would make them."""

from apache_iggy import IggyClient

from server import PASSWORD, USERNAME


async def connected(server):
    """A client that is connected and logged in."""
    client = IggyClient(server.address)
    await client.connect()
    await client.login_user(USERNAME, PASSWORD)
    return client


async def resilient(server):
    """A client that logs in again by itself when it has to reconnect."""
    options = "reconnection_interval=200ms&reestablish_after=200ms"
    client = IggyClient.from_connection_string(
        f"iggy+tcp://{USERNAME}:{PASSWORD}@{server.address}?{options}"
    )
    await client.connect()
    return client
