"""Runs the classic Python client, apache-iggy 0.8.0, unchanged against a freshly started Galgo server.

Usage: GALGO_BIN=target/release/galgo python main.py [SCENARIO]…; without names every scenario runs,
each against a server of its own on an empty data directory. The last line is `N passed, N failed`,
and the exit code is 1 when a step failed.
"""

import asyncio
import sys

import scenario_groups
import scenario_messages
import scenario_restart
import scenario_sessions
import scenario_streams
from checks import SCENARIO_TIMEOUT_S, Checks
from server import Server

SCENARIOS = {
    "sessions": scenario_sessions.run,
    "streams": scenario_streams.run,
    "messages": scenario_messages.run,
    "groups": scenario_groups.run,
    "restart": scenario_restart.run,
}


async def main(wanted):
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        print(f"no scenario {unknown}; there are: {', '.join(SCENARIOS)}", file=sys.stderr)
        return 2
    checks = Checks()
    for name in wanted or SCENARIOS:
        failed_before = checks.failed
        checks.scenario = name
        with Server(name) as server:
            async with checks.step("the scenario runs to its end", SCENARIO_TIMEOUT_S):
                await SCENARIOS[name](server, checks)
            async with checks.step("the server stops cleanly on SIGTERM"):
                server.stop()
            if checks.failed > failed_before:
                server.print_log()
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
