"""A server of one's own for a load test: any free ports, a folder that goes with it, and restarts."""

from __future__ import annotations

import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from typing import Self

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0

UNLIMITED = ("limits.messages_per_s=0", "limits.connections_per_address=0", "limits.connections=0")
"""A load generator is one address that says everything."""


class DidNotStart(Exception):
    """With what it printed."""


class OwnServer:
    """`fastchat serve` with a store in a temporary folder. A context manager; its methods block."""

    def __init__(self, settings: Sequence[str], *, store: str | None, log: pathlib.Path) -> None:
        """``settings`` are as for `--set`; ``store`` is a file in the temporary folder if nothing is said."""
        self._folder = tempfile.TemporaryDirectory(prefix="fastchat-load-")
        self.store_path = pathlib.Path(self._folder.name) / "chat.db"
        self._store = store or f"sqlite://{self.store_path}"
        self._settings = (*UNLIMITED, *settings)
        self._changing = threading.Lock()
        self._log = log
        log.write_bytes(b"")
        self.http = self.line = "127.0.0.1:0"
        self._start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _start(self) -> None:
        reader, writer = os.pipe()
        command = [sys.executable, "-m", "fastchat", "serve", "--http", self.http, "--line", self.line]
        command += ["--store", self._store, "--ready-fd", str(writer)]
        for setting in self._settings:
            command += ["--set", setting]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FASTCHAT_")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[writer],
                env=environment,
                start_new_session=True,  # Ctrl-C is for the load test, which then stops the server
            )
        os.close(writer)
        with os.fdopen(reader, "rb") as ready_file:
            ready = select.select([ready_file], [], [], START_TIMEOUT_S)[0] and ready_file.readline()
        if not ready:
            self._end(signal.SIGTERM)
            raise DidNotStart(self.log)
        addresses = json.loads(ready)
        self.http, self.line = str(addresses["http"]), str(addresses["line"])

    def restart(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Ends it with a signal and starts it again, on the same ports and the same store."""
        with self._changing:
            self._end(number)
            self._start()

    def stop(self) -> int:
        """SIGTERM, unless it has ended already. Returns its exit code."""
        with self._changing:
            return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        self._process.send_signal(number)
        try:
            return self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()
        self._folder.cleanup()
