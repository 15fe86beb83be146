"""A Galgo server process of one scenario: its own data directory, ports the system chose."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import tomllib
from pathlib import Path

USERNAME = "iggy"
PASSWORD = "iggy-secret"

TRANSPORTS = ("tcp", "quic", "websocket", "http")

READY_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
LOG_LINES_SHOWN = 60


class Server:
    def __init__(self, name, **settings):
        """Starts a server; `settings` are environment variables without their prefix."""
        self.binary = Path(os.environ["GALGO_BIN"]).resolve()
        self.home = Path(tempfile.mkdtemp(prefix=f"galgo-interop-{name}-"))
        self.addresses = {transport: "127.0.0.1:0" for transport in TRANSPORTS}
        self.settings = settings
        self.process = None
        self._spawn()

    @property
    def address(self):
        return self.addresses["tcp"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)

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
        """Starts the server again: same data directory, same ports."""
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
        for transport, address in self.addresses.items():
            environment[f"GALGO_{transport.upper()}_ADDRESS"] = address
        for name, value in self.settings.items():
            environment[f"GALGO_{name}"] = value
        with open(self.home / "server.log", "a") as log:
            self.process = subprocess.Popen(
                [self.binary, "server", "--data-dir", self.home / "data"],
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
            addresses = self._bound_addresses()
            if addresses:
                self.addresses = addresses
                return
            time.sleep(0.02)
        raise RuntimeError(f"the server is not ready after {READY_TIMEOUT_S} s")

    def _bound_addresses(self):
        try:
            config = tomllib.loads(self._ready_file().read_text())
            return {transport: config[transport]["address"] for transport in TRANSPORTS}
        except (OSError, KeyError, tomllib.TOMLDecodeError):
            return None
