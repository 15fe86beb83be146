"""Named steps: one that fails says what was expected and what came; the steps after it still run."""

import asyncio
from contextlib import asynccontextmanager

# A classic client that gets the wrong error code reconnects for ever, so every step has an end.
STEP_TIMEOUT_S = 60
SCENARIO_TIMEOUT_S = 300


class Unexpected(Exception):
    """What was expected did not come."""


class Checks:
    def __init__(self):
        self.scenario = ""
        self.passed = 0
        self.failed = 0

    @asynccontextmanager
    async def step(self, name, timeout_s=STEP_TIMEOUT_S):
        """Runs the block as one step; its failure is printed and counted, not raised."""
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # a panic of the client's own is not an Exception
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            self.failed += 1
            print(f"FAILED  {self.scenario}: {name}\n        {type(error).__name__}: {error}", flush=True)
        else:
            self.passed += 1
            print(f"ok      {self.scenario}: {name}", flush=True)


def equal(what, got, expected):
    """Raises unless both are equal."""
    if got != expected:
        raise Unexpected(f"{what}: expected {expected!r}, got {got!r}")


async def refused(call, name):
    """Raises unless the call fails with an error whose text has this name in it."""
    try:
        got = await call
    except Exception as error:
        if name.lower() in str(error).replace(" ", "").lower():
            return
        raise Unexpected(f"expected error {name}, got {error}") from error
    raise Unexpected(f"expected error {name}, got {got!r}")
