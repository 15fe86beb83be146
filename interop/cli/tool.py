"""The classic command-line client as a process."""

import asyncio
import os

from checks import Unexpected
from server import PASSWORD, USERNAME


class Tool:
    def __init__(self, server, transport, address):
        self.home = server.home
        self.transport = transport
        option = {
            "tcp": "--tcp-server-address",
            "quic": "--quic-server-address",
            "ws": "--websocket-server-address",
            "http": "--http-api-url",
        }[transport]
        target = f"http://{address}" if transport == "http" else address
        self.base = [os.environ["IGGY_CLI"], "--transport", transport, option, target]

    async def run(self, *arguments, user=USERNAME, password=PASSWORD, stdin=""):
        """Runs one command; gives back its exit code and what it printed."""
        return await self._run(["--username", user, "--password", password], arguments, stdin)

    async def run_with_token(self, token, *arguments):
        return await self._run(["--token", token], arguments, "")

    async def _run(self, login, arguments, stdin):
        home = str(self.home)
        environment = dict(os.environ, HOME=home, IGGY_HOME=home + "/iggy", RUST_BACKTRACE="0")
        process = await asyncio.create_subprocess_exec(
            *self.base,
            *login,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            cwd=self.home,
        )
        printed, _ = await process.communicate(stdin.encode())
        return process.returncode, printed.decode(errors="replace")

    async def ok(self, *arguments, **options):
        """Runs a command that must succeed; gives back what it printed."""
        code, printed = await self.run(*arguments, **options)
        if code != 0:
            raise Unexpected(f"`{' '.join(arguments)}` ended with {code}: {printed.strip()}")
        return printed

    async def shows(self, *arguments, has=(), **options):
        """Runs a command that must succeed and print all of these."""
        printed = await self.ok(*arguments, **options)
        for wanted in has:
            if wanted not in printed:
                raise Unexpected(f"`{' '.join(arguments)}`: no {wanted!r} in {printed.strip()}")
        return printed

    async def fails(self, *arguments, has=(), **options):
        """Runs a command that must be refused and print all of these."""
        code, printed = await self.run(*arguments, **options)
        if code == 0:
            raise Unexpected(f"`{' '.join(arguments)}` was not refused: {printed.strip()}")
        for wanted in has:
            if wanted.lower() not in printed.lower():
                raise Unexpected(f"`{' '.join(arguments)}`: no {wanted!r} in {printed.strip()}")
