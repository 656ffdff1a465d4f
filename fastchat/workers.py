"""Several workers on the same ports, each a whole node: starts them, and again those that have ended.

The parent holds the addresses, so that a port 0 is the same for all and stays theirs, and serves nobody. It
has no event loop and no threads, so that it can be forked at any time. A worker hears of the parent's end by
a pipe of which the parent alone has the other side.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from fastchat import log, serving
from fastchat.building import VERSION
from fastchat.config import ConfigError, Settings, parse_address
from fastchat.errors import StartError
from fastchat.ready import announce, write_line
from fastchat.sockets import bound_address, reserve
from fastchat.worker_metrics import Place

AGAIN_MIN_S = 0.5
AGAIN_MAX_S = 30.0
"""How long a worker that has ended is waited with: twice as long each time, as long as it ends soon again."""

STEADY_S = 60.0
"""A worker that has lived for so long has not ended soon."""

KILL_AFTER_DRAIN_S = 15.0
"""How much longer than ``server.drain_s`` a worker may take to end."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

logger = log.get_logger(__name__)


@dataclass(slots=True)
class Worker:
    """One child: its process while it lives, and when it is to be started otherwise."""

    number: int
    pid: int | None = None
    started_at: float = 0.0
    start_at: float | None = 0.0
    failures: int = 0
    """How often in a row it has ended soon; from the first end on never 0."""
    ready_fd: int | None = None
    told: bytearray = field(default_factory=bytearray)
    """What it has said of its start, as JSON: its addresses, or the error."""

    @property
    def report(self) -> dict[str, str]:
        """What it has said, empty before."""
        return json.loads(self.told) if self.told.endswith(b"\n") else {}


def run(
    settings: Settings,
    reload: Callable[[], Settings] | None = None,
    ready_fd: int | None = None,
    ready_file: Path | None = None,
) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code. Raises StartError."""
    with Supervisor(settings, reload) as supervisor:
        return supervisor.run(ready_fd, ready_file)


class Supervisor:
    """The parent of ``server.workers`` workers. A context manager: at its end none of them lives."""

    def __init__(self, settings: Settings, reload: Callable[[], Settings] | None) -> None:
        self._settings = settings
        self._reload = reload
        self._reserved: list[socket.socket] = []
        self._workers = [Worker(number) for number in range(settings.server.workers)]
        self._selector = selectors.DefaultSelector()
        self._lifeline, self._lifeline_end = os.pipe()
        self._woken, self._waker = socket.socketpair()
        self._folder = Path(tempfile.mkdtemp(prefix="fastchat-workers-"))
        self._handlers: dict[signal.Signals, object] = {}
        self._announced = False
        self._kill_at: float | None = None
        self._failed = False

    # Lifecycle

    def __enter__(self) -> Supervisor:
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        for number in SIGNALS:
            self._handlers[number] = signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *failure: object) -> None:
        self._stop()
        while self._alive:
            self._turn()
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._close_own()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, ready_fd: int | None, ready_file: Path | None) -> int:
        """Starts the workers, and returns when all have ended. Raises StartError where one cannot start."""
        self._reserve()
        while self._kill_at is None or self._alive:
            self._start_due()
            if not self._announced and all(worker.report.get("http") for worker in self._workers):
                self._announced = True
                pids = [worker.pid for worker in self._workers]
                addresses = self._workers[0].report
                announce(VERSION, self._settings, addresses, ready_fd, ready_file, workers=pids)
            self._turn()
        return 1 if self._failed else 0

    def _reserve(self) -> None:
        http, line = self._settings.http, self._settings.line
        self._reserved.append(reserve(http.listen, "http.listen", "--http"))
        http = http.model_copy(update={"listen": parse_address(bound_address(self._reserved[-1]))})
        if line.listen is not None:
            self._reserved.append(reserve(line.listen, "line.listen", "--line"))
            line = line.model_copy(update={"listen": parse_address(bound_address(self._reserved[-1]))})
        self._settings = self._settings.model_copy(update={"http": http, "line": line})

    @property
    def _alive(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.pid is not None]

    def _stop(self) -> None:
        """Has all workers drain."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._settings.server.drain_s + KILL_AFTER_DRAIN_S
            self._forward(signal.SIGTERM)

    def _forward(self, number: signal.Signals) -> None:
        for worker in self._alive:
            assert worker.pid is not None
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, number)

    # What happens

    def _turn(self) -> None:
        """Waits for what comes next, and deals with it."""
        due = [
            worker.start_at for worker in self._workers if worker.pid is None and worker.start_at is not None
        ]
        if self._kill_at is not None:
            due = [self._kill_at]
        timeout_s = None if not due else max(0.0, min(due) - time.monotonic())
        for key, _ in self._selector.select(timeout_s):
            if key.fileobj is not self._woken:
                self._hear(key.data)
        with contextlib.suppress(BlockingIOError):
            for number in self._woken.recv(4096):
                self._on_signal(signal.Signals(number))
        if self._kill_at is not None and time.monotonic() >= self._kill_at and self._alive:
            logger.error(
                "workers did not end in time, and are killed", pids=[each.pid for each in self._alive]
            )
            self._forward(signal.SIGKILL)
            self._kill_at += KILL_AFTER_DRAIN_S
        self._reap()

    def _on_signal(self, number: signal.Signals) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif number == signal.SIGHUP:
            self._forward(signal.SIGHUP)
            self._reload_own()

    def _reload_own(self) -> None:
        """Workers that are started from now on have the settings that the others have by then."""
        if self._reload is not None:
            with contextlib.suppress(ConfigError):  # the workers say what is wrong
                self._settings = self._settings.model_copy(update={"fanout": self._reload().fanout})

    def _hear(self, worker: Worker) -> None:
        """Takes in what a worker says of its start."""
        assert worker.ready_fd is not None
        if data := os.read(worker.ready_fd, 65536):
            worker.told += data
            return
        self._selector.unregister(worker.ready_fd)
        os.close(worker.ready_fd)
        worker.ready_fd = None
        if worker.failures and "http" in worker.report:
            logger.info("a worker serves again", worker=worker.number, pid=worker.pid)

    def _reap(self) -> None:
        for worker in self._alive:
            assert worker.pid is not None
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                while worker.ready_fd is not None:
                    self._hear(worker)
                self._on_end(worker, os.waitstatus_to_exitcode(status))

    def _on_end(self, worker: Worker, code: int) -> None:
        pid, worker.pid, worker.start_at = worker.pid, None, None
        if self._kill_at is not None:
            # One that was still starting ends by the signal itself.
            self._failed = self._failed or code not in (0, -signal.SIGTERM)
            return
        if not self._announced:
            reason = worker.report.get(
                "error", f"worker {worker.number} ended at its start ({_ending(code)})"
            )
            raise StartError(reason)
        now = time.monotonic()
        worker.failures = 1 if now - worker.started_at >= STEADY_S else worker.failures + 1
        delay_s = min(AGAIN_MAX_S, AGAIN_MIN_S * 2 ** (worker.failures - 1))
        worker.start_at = now + delay_s
        logger.error(
            "a worker has ended, and is started again",
            worker=worker.number,
            pid=pid,
            ending=_ending(code),
            reason=worker.report.get("error"),
            in_s=delay_s,
        )

    # Starting

    def _start_due(self) -> None:
        if self._kill_at is not None:
            return
        for worker in self._workers:
            if worker.pid is None and worker.start_at is not None and worker.start_at <= time.monotonic():
                self._fork(worker)

    def _fork(self, worker: Worker) -> None:
        ready_read_fd, ready_write_fd = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal must find the handlers either of the parent or of the worker.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._be_worker(worker.number, ready_write_fd, ready_read_fd, mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(ready_write_fd)
        worker.pid, worker.started_at, worker.start_at = pid, time.monotonic(), None
        worker.told.clear()
        worker.ready_fd = ready_read_fd
        self._selector.register(ready_read_fd, selectors.EVENT_READ, worker)

    def _be_worker(
        self, number: int, ready_fd: int, parents_fd: int, mask: set[int | signal.Signals]
    ) -> NoReturn:
        """In the child; nothing of the parent's is run behind this."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for each in SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            os.close(parents_fd)
            os.close(self._lifeline_end)
            self._close_own(in_worker=True)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            log.configure(self._settings.log.level, self._settings.log.format, worker=number)
            status = self._serve(number, ready_fd)
        except KeyboardInterrupt:
            pass
        except BaseException:
            logger.exception("the worker has failed")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _serve(self, number: int, ready_fd: int) -> int:
        def on_ready(addresses: dict[str, str]) -> None:
            write_line(ready_fd, json.dumps(addresses) + "\n")

        try:
            place = Place(number, self._folder)
            return serving.run_worker(self._settings, self._reload, place, on_ready, self._lifeline)
        except StartError as error:
            write_line(ready_fd, json.dumps({"error": str(error)}) + "\n")
            return 1

    def _close_own(self, *, in_worker: bool = False) -> None:
        """Closes what only the parent has."""
        for reserved in self._reserved:
            reserved.close()
        for worker in self._workers:
            if worker.ready_fd is not None:
                os.close(worker.ready_fd)
        self._selector.close()
        self._woken.close()
        self._waker.close()
        if not in_worker:
            os.close(self._lifeline)
            os.close(self._lifeline_end)


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
