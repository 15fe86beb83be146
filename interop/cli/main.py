"""Runs the classic command-line client, iggy-cli 0.13.0, unchanged against a freshly started Galgo server.

Usage: GALGO_BIN=… IGGY_CLI=… python main.py [TRANSPORT]…; without names every command runs once over
each transport, against a server of its own. The last line is `N passed, N failed`, and the exit code
is 1 when a step failed.
"""

import asyncio
import sys

import commands
from checks import SCENARIO_TIMEOUT_S, Checks
from server import Server
from tool import Tool

TRANSPORTS = {"tcp": "tcp", "quic": "quic", "ws": "websocket", "http": "http"}


async def main(wanted):
    checks = Checks()
    for name in wanted or TRANSPORTS:
        failed_before = checks.failed
        checks.scenario = f"command line over {name}"
        with Server(f"cli-{name}") as server:
            tool = Tool(server, name, server.addresses[TRANSPORTS[name]])
            async with checks.step("the scenario runs to its end", SCENARIO_TIMEOUT_S):
                await commands.run(tool, checks)
            async with checks.step("the server stops cleanly on SIGTERM"):
                server.stop()
            if checks.failed > failed_before:
                server.print_log()
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
