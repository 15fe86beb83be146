"""A Galgo server process of one scenario: its own data directory, a port the system chose."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import tomllib
from pathlib import Path

from apache_iggy import IggyClient

USERNAME = "iggy"
PASSWORD = "iggy-secret"

READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
LOG_LINES_SHOWN = 60


class Server:
    def __init__(self, name):
        self.binary = Path(os.environ["GALGO_BIN"]).resolve()
        self.home = Path(tempfile.mkdtemp(prefix=f"galgo-interop-py-{name}-"))
        self.address = "127.0.0.1:0"
        self.process = None
        self._spawn()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

    async def client(self):
        """A client that is connected and logged in."""
        client = IggyClient(self.address)
        await client.connect()
        await client.login_user(USERNAME, PASSWORD)
        return client

    async def resilient_client(self):
        """A client that logs in again by itself when it has to reconnect."""
        options = "reconnection_interval=200ms&reestablish_after=200ms"
        client = IggyClient.from_connection_string(
            f"iggy+tcp://{USERNAME}:{PASSWORD}@{self.address}?{options}"
        )
        await client.connect()
        return client

    def kill(self):
        """Ends the process as a power failure would, without a chance to tidy up."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Asks the process to stop and raises unless it exits with code 0."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(STOP_TIMEOUT_S)
        if code != 0:
            raise RuntimeError(f"expected exit code 0, got {code}")

    def restart(self):
        """Starts the server again: same data directory, same port."""
        self._ready_file().unlink(missing_ok=True)
        self._spawn()

    def print_log(self):
        print("--- the server's last lines ---")
        for line in (self.home / "server.log").read_text().splitlines()[-LOG_LINES_SHOWN:]:
            print("  " + line)

    def _ready_file(self):
        return self.home / "data/runtime/current_config.toml"

    def _spawn(self):
        environment = dict(os.environ, GALGO_ROOT_USERNAME=USERNAME, GALGO_ROOT_PASSWORD=PASSWORD)
        environment.setdefault("GALGO_HTTP_ADDRESS", "127.0.0.1:0")
        with open(self.home / "server.log", "a") as log:
            self.process = subprocess.Popen(
                [self.binary, "server", "--tcp", self.address, "--data-dir", self.home / "data"]
                + ["--quic", "off", "--websocket", "off", "--http", "off"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        end = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                self.print_log()
                raise RuntimeError(f"the server ended before it was ready: {self.process.returncode}")
            address = self._bound_address()
            if address:
                self.address = address
                return
            time.sleep(0.02)
        raise RuntimeError(f"the server is not ready after {READY_TIMEOUT_S} s")

    def _bound_address(self):
        try:
            return tomllib.loads(self._ready_file().read_text())["tcp"]["address"]
        except (OSError, KeyError, tomllib.TOMLDecodeError):
            return None
