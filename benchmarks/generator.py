"""The load generator as a process: started, told to go, asked what it saw."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import select
import subprocess
from collections.abc import Iterator

from .processes import LOAD_CORE, prefer, start_process
from .programs import build_program
from .servers import Server

_PHASE_TIMEOUT_S = 900.0


@dataclasses.dataclass(frozen=True)
class Load:
    """What one phase did. Delays in microseconds, from sending to each verified delivery (or to the pong)."""

    sent: int
    acked: int
    deliveries: int
    sender_deliveries: int
    bytes: int
    missing: int
    lagged: int
    out_of_order: int
    errors: int
    closed: int
    elapsed_s: float
    delays_us: dict[str, int]

    @property
    def p50_ms(self) -> float:
        return self.delays_us["p50"] / 1e3

    @property
    def p99_ms(self) -> float:
        return self.delays_us["p99"] / 1e3

    @property
    def all_deliveries(self) -> int:
        """Senders are members too: what reaches them is the same work for the server."""
        return self.deliveries + self.sender_deliveries

    @property
    def unacknowledged(self) -> int:
        return self.sent - self.acked

    @property
    def event_bytes(self) -> float:
        return self.bytes / self.deliveries if self.deliveries else 0.0

    @property
    def faults(self) -> str:
        """What went wrong, or an empty string."""
        names = ("missing", "lagged", "out_of_order", "errors", "closed", "unacknowledged")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names if getattr(self, name))


class Generator:
    """All its connections are open and have joined."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def go(self, messages: int = 0) -> None:
        """Start one phase; `messages` limits it where it is not 0."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go %d\n" % messages)

    def result(self) -> Load:
        """Wait for the end of the phase."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], _PHASE_TIMEOUT_S)[0]:
            raise TimeoutError("the load generator has not ended its phase")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load generator has ended; its standard error says why")
        values = json.loads(line)
        return Load(**{field.name: values[field.name] for field in dataclasses.fields(Load)})

    def run(self, messages: int = 0) -> Load:
        self.go(messages)
        return self.result()

    def run_timed(self, server: Server, messages: int = 0) -> tuple[Load, float]:
        """As `run`; also returns the seconds of the server's CPU time from before the phase to after it."""
        before_s = server.cpu_s()
        result = self.run(messages)
        return result, server.cpu_s() - before_s

    def ended(self) -> bool:
        return self._process.poll() is not None

    def prefer(self) -> None:
        """Let it see an answer when it arrives, whatever the other generator is doing on their core."""
        prefer(self._process.pid)


@contextlib.contextmanager
def generator(server: Server, dialect: str, mode: str, **options: int | float | str) -> Iterator[Generator]:
    """Start the load generator and wait until all its connections have joined."""
    command = [str(build_program("load")), "--port", str(server.port(dialect))]
    command += ["--dialect", dialect, "--mode", mode]
    for name, value in options.items():
        command += ["--" + name.replace("_", "-"), str(value)]
    pipe = subprocess.PIPE
    process = start_process(LOAD_CORE, command, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        said = process.stderr.readline()
        if said != b"ready\n":
            raise RuntimeError(f"load generator: {(said + process.stderr.read()).decode().strip()}")
        yield Generator(process)
    finally:
        process.kill()
        process.wait()
        for line in process.stderr.read().decode(errors="replace").splitlines():
            print(f"    load generator: {line}", flush=True)
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()
