"""The real server as a child process of a test."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any, Self

# A busy machine may be slow; nothing waits this long unless it fails.
START_TIMEOUT_S = 45.0
STOP_TIMEOUT_S = 45.0

# Tests check what is said at the stop, not how patiently the server waits for a client that never reads; and
# they leave the data folder of whoever runs them alone.
TEST_SETTINGS = ("server.drain_s=1", "store.url=memory:")


class ServerProcess:
    """`fastchat serve` on ports that the kernel chose.

    A context manager: leaving it stops the server with SIGTERM (unless the test has ended it already) and
    asserts that it exited with 0 and that its log has no traceback.

    Its methods block and are for fixtures and for tests without a loop; inside a loop await
    `asyncio.to_thread(server.wait)` and the like.
    """

    def __init__(
        self,
        *settings: str,
        arguments: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        module: str = "fastchat",
    ) -> None:
        """Starts the server with `--set` for each of `settings` ("limits.burst=2") and further `arguments`.

        Rooms are in memory, unless a setting or an argument says otherwise; `environment` is added to this
        process's. Another `module` is a command like `fastchat`.
        Returns when it is ready. Raises AssertionError with its log when it ends before that.
        """
        ready_fd, write_fd = os.pipe()
        command = [
            sys.executable,
            "-m",
            module,
            "serve",
            "--http",
            "127.0.0.1:0",
            "--line",
            "127.0.0.1:0",
        ]
        command += ["--ready-fd", str(write_fd), *arguments]
        for setting in (*TEST_SETTINGS, *settings):
            command += ["--set", setting]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[write_fd],
                env={
                    **{key: value for key, value in os.environ.items() if not key.startswith("FASTCHAT_")},
                    **(environment or {}),
                },
            )
        finally:
            os.close(write_fd)
        self.expected_exit_code = 0
        self._log: list[str] = []
        self._log_grew = threading.Condition()
        self._log_ended = False
        self._log_reader = threading.Thread(target=self._read_log, daemon=True)
        self._log_reader.start()
        with os.fdopen(ready_fd, "rb") as ready_file:
            ready = select.select([ready_file], [], [], START_TIMEOUT_S)[0] and ready_file.readline()
        if not ready:
            self.kill()
            raise AssertionError(f"the server did not start:\n{self.log}")
        self.ready: dict[str, Any] = json.loads(ready)
        """What `--ready-fd` said: `http`, `line` and `pid`."""

    @property
    def http(self) -> str:
        """HOST:PORT of HTTP and WebSocket."""
        return str(self.ready["http"])

    @property
    def line(self) -> str:
        """HOST:PORT of the line port."""
        return str(self.ready["line"])

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        """Everything that it has printed so far."""
        return "".join(self._log)

    def wait_for_log(self, text: str, timeout_s: float = 10.0) -> None:
        """Returns as soon as the log contains `text`; AssertionError when it doesn't in time."""
        with self._log_grew:
            self._log_grew.wait_for(lambda: text in self.log or self._log_ended, timeout_s)
        assert text in self.log, f"{text!r} is not in the log:\n{self.log}"

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Waits until it has ended by itself or by a signal. Returns its exit code."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the server did not end within {timeout_s} s:\n{self.log}") from None
        self._close_log()
        return code

    def stop(self) -> int:
        """SIGTERM unless it has ended already. Returns its exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL: as if the power went. Its exit code is then expected to be -SIGKILL."""
        self.expected_exit_code = -signal.SIGKILL
        self.process.kill()
        self.process.wait()
        self._close_log()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        code = self.stop()
        if failure == (None, None, None):
            assert code == self.expected_exit_code, f"the server exited with {code}:\n{self.log}"
            assert "Traceback" not in self.log, f"the server's log has a traceback:\n{self.log}"

    def _read_log(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._log_grew:
                self._log.append(line.decode(errors="replace"))
                self._log_grew.notify_all()
        with self._log_grew:
            self._log_ended = True
            self._log_grew.notify_all()

    def _close_log(self) -> None:
        self._log_reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
