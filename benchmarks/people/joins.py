"""Many people join one room within ten seconds: how the server's work grows with their number.

All are connected and have said hello before. Then they join, evenly over the time, and read what comes.
What is counted is the server's CPU time and the bytes it sent, from before the first join to after the last
announcement, less the CPU time that as many connections took in as long a rest before.
"""

from __future__ import annotations

import dataclasses
import math
import re
import select
import statistics
import time
from collections.abc import Callable, Sequence

from benchmarks.people.measure import Measured
from benchmarks.plots import draw_lines
from benchmarks.servers import Server, fastchat
from benchmarks.tuning.clients import connect, encode

SIZES = (1_000, 3_000, 10_000)
WITHIN_S = 10.0
EXPONENT_MAX = 1.05
ROOM = "square"
_REST_S = 4.0
_GRACE_S = 30.0
_CHUNK_BYTES = 1 << 16
_members = re.compile(rb'"type":"presence".{0,4000}?"members":(\d+)')


@dataclasses.dataclass(frozen=True)
class Herd:
    """What so many joins cost the server."""

    users: int
    cpu_s: float
    rest_cpu_s: float
    """What the rest took, as if it had been as long."""
    sent_bytes: int
    events: int
    """Presence events, over all members."""
    elapsed_s: float
    fault: str = ""

    @property
    def joins_cpu_s(self) -> float:
        return self.cpu_s - self.rest_cpu_s


class Crowd:
    """So many clients, who join when they are told to and read everything."""

    def __init__(self, server: Server, users: int) -> None:
        self._connections = [connect(server.line_port, f"user-{i}") for i in range(users)]
        self._by_fd = {connection.fileno(): connection for connection in self._connections}
        self._poll = select.epoll()
        for connection in self._connections:
            connection.setblocking(False)
            self._poll.register(connection.fileno(), select.EPOLLIN)
        self.joined = self.events = self.bytes = 0
        # By how many members each has heard of last: all must hear of all in the end.
        self.told = dict.fromkeys(self._by_fd, 0)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *failure: object) -> None:
        self._poll.close()
        for connection in self._connections:
            connection.close()

    def join(self, within_s: float) -> None:
        """Has everyone join, evenly over the time."""
        began = time.monotonic()
        command = encode(type="join", room=ROOM)
        users = len(self._connections)
        for i, connection in enumerate(self._connections):
            due = began + i * within_s / users
            while (wait_s := due - time.monotonic()) > 0:
                self.read(wait_s)
            connection.send(command)
            if not i % 8:
                self.read(0)

    def read(self, wait_s: float) -> None:
        """Reads what is there, after waiting so long for it at most."""
        for fd, _ in self._poll.poll(max(wait_s, 0)):
            chunk = self._by_fd[fd].recv(_CHUNK_BYTES)
            if not chunk:
                raise ConnectionError("the server closed a connection")
            self.bytes += len(chunk)
            self.joined += chunk.count(b'"type":"joined"')
            self.events += chunk.count(b'"type":"presence"')
            if counts := _members.findall(chunk):
                self.told[fd] = int(counts[-1])

    def read_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        ends = time.monotonic() + timeout_s
        while not done() and time.monotonic() < ends:
            self.read(0.05)
        return done()


def run(users: int, within_s: float = WITHIN_S) -> Herd:
    """One herd, on a server of its own."""
    with fastchat() as server, Crowd(server, users) as crowd:
        before_s, began = server.cpu_s(), time.monotonic()
        crowd.read_until(lambda: False, _REST_S)
        rest = (server.cpu_s() - before_s) / (time.monotonic() - began)
        before_s, began = server.cpu_s(), time.monotonic()
        crowd.join(within_s)
        all_in = crowd.read_until(lambda: crowd.joined == users, _GRACE_S)
        elapsed_s = time.monotonic() - began
        all_told = crowd.read_until(lambda: set(crowd.told.values()) == {users}, _GRACE_S)
        cpu_s, whole_s = server.cpu_s() - before_s, time.monotonic() - began
        fault = "" if all_in and all_told else f"{crowd.joined} of {users} are in, or not all were told"
        return Herd(users, cpu_s, rest * whole_s, crowd.bytes, crowd.events, elapsed_s, fault)


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The power of x with which y grows: the slope of the line through the logarithms, by least squares."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    return statistics.linear_regression(xs, ys).slope


def measure(quick: bool) -> Measured:
    rounds = 1 if quick else 3
    herds: dict[int, list[Herd]] = {size: [] for size in SIZES}
    for _ in range(rounds):
        for size in SIZES:
            herd = run(size)
            herds[size].append(herd)
            print(
                f"    {size:,} in {herd.elapsed_s:.1f} s: {herd.joins_cpu_s:.3f} s of CPU time (and"
                f" {herd.rest_cpu_s:.3f} at rest), {herd.sent_bytes:,} bytes, {herd.events:,} events"
                f"  {herd.fault}",
                flush=True,
            )
    return summarize(herds)


def summarize(herds: dict[int, list[Herd]]) -> Measured:
    """The table, the exponents, and what fell short."""
    cpu = [(size, statistics.median(herd.joins_cpu_s for herd in herds[size])) for size in herds]
    sent = [(size, statistics.median(herd.sent_bytes for herd in herds[size])) for size in herds]
    events = [(size, statistics.median(herd.events for herd in herds[size])) for size in herds]
    grown = {"cpu": exponent(cpu), "bytes": exponent(sent), "events": exponent(events)}
    rows = ["| users | server's CPU, s | µs for each | bytes for each | presence events for each |"]
    rows.append("|--:|--:|--:|--:|--:|")
    for (size, seconds), (_, size_bytes), (_, told) in zip(cpu, sent, events, strict=True):
        rows.append(
            f"| {size:,} | {seconds:.2f} | {1e6 * seconds / size:.0f} | {size_bytes / size:.0f}"
            f" | {told / size:.1f} |"
        )
    rows.append(f"| exponent | {grown['cpu']:.2f} | | {grown['bytes']:.2f} | {grown['events']:.2f} |")
    faults = [herd.fault for rounds in herds.values() for herd in rounds if herd.fault]
    late = [herd.elapsed_s for rounds in herds.values() for herd in rounds if herd.elapsed_s > 1.1 * WITHIN_S]
    faults += [f"the last join was answered after {seconds:.1f} s" for seconds in late]
    values = {
        "exponents": grown,
        "herds": [dataclasses.asdict(herd) for rounds in herds.values() for herd in rounds],
    }
    met = not faults and max(grown["cpu"], grown["bytes"]) <= EXPONENT_MAX

    def draw() -> None:
        first = cpu[0]
        linear = [(size, first[1] * size / first[0]) for size, _ in cpu]
        draw_lines(
            "people-joins",
            f"So many join one room within {WITHIN_S:g} s",
            "users",
            "server's CPU, s",
            {"fastchat": cpu, "as much for each as with the fewest": linear},
            log_x=True,
            log_y=True,
        )

    return Measured({"people-joins": "\n".join(rows)}, values, met, faults, draw)
