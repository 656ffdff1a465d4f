"""Clients that the load generator has none of: readers that pause, one who floods, some who come and go."""

from __future__ import annotations

import contextlib
import heapq
import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks.servers import Server

_TIMEOUT_S = 20.0
_CHUNK_BYTES = 1 << 20
_missed = re.compile(rb'"type":"lagged".{0,160}?"missed":(\d+)')
_at = re.compile(rb'"at":(\d+)')


def encode(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def encode_sends(room: str, prefix: str, count: int, first: int = 0) -> bytes:
    """So many messages with ids of their own, ready to be written in one piece."""
    text = "m" * 64
    pieces = [
        encode(type="send", room=room, id=f"{prefix}{i:09}", text=text) for i in range(first, first + count)
    ]
    return b"".join(pieces)


def connect(port: int, user: str, host: str = "127.0.0.1", receive_buffer_bytes: int = 0) -> socket.socket:
    """A connection that has said hello and was welcomed. A small buffer makes a slow reader's pauses felt."""
    connection = socket.socket()
    connection.settimeout(_TIMEOUT_S)
    if receive_buffer_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    connection.connect((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(encode(type="hello", user=user))
    read_until(connection, b'"type":"welcome"')
    return connection


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    """Everything up to the end of the line that has the mark, and whatever came with it."""
    data = b""
    while mark not in data or not data.endswith(b"\n"):
        chunk = connection.recv(_CHUNK_BYTES)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        data += chunk
    return data


class Tally:
    """What a reader's bytes held: messages, and events it was told it missed. Pure."""

    def __init__(self) -> None:
        self.received = 0
        self.received_bytes = 0
        self.missed = 0
        self.newest_at_ms = 0
        self._rest = b""

    def count(self, chunk: bytes) -> None:
        """The next bytes, cut anywhere."""
        self.received_bytes += len(chunk)
        data = self._rest + chunk
        cut = data.rfind(b"\n") + 1
        whole, self._rest = data[:cut], data[cut:]
        self.received += whole.count(b'"type":"message"')
        if b'"type":"lagged"' in whole:
            self.missed += sum(int(missed) for missed in _missed.findall(whole))
        newest = whole.rfind(b'"type":"message"')
        if newest >= 0 and (found := _at.search(whole, newest)):
            self.newest_at_ms = int(found[1])

    def forget(self) -> None:
        """Begins anew; the newest message stays the newest."""
        self.received = self.received_bytes = self.missed = 0


class Reader(Tally):
    """A member that reads when it is told to."""

    def __init__(self, port: int, user: str, receive_buffer_bytes: int = 0, host: str = "127.0.0.1") -> None:
        super().__init__()
        self.connection = connect(port, user, host, receive_buffer_bytes)

    def join(self, room: str, after: int | None = None) -> None:
        """Asks to come in; what is answered is read like everything else."""
        self.connection.sendall(encode(type="join", room=room, **({} if after is None else {"after": after})))
        self.connection.setblocking(False)

    def read(self, most_bytes: int = _CHUNK_BYTES) -> int:
        """Takes what is there, at most so much; returns the bytes."""
        try:
            chunk = self.connection.recv(most_bytes)
        except BlockingIOError:
            return 0
        if not chunk:
            raise ConnectionError("the server closed a reader's connection")
        self.count(chunk)
        return len(chunk)

    def age_s(self) -> float:
        """How old the newest message is that it has read."""
        return time.time() - self.newest_at_ms / 1e3


@contextlib.contextmanager
def readers(port: int, count: int, prefix: str, receive_buffer_bytes: int = 0) -> Iterator[list[Reader]]:
    """So many readers, connected and greeted; they join when they are told to."""
    opened: list[Reader] = []
    try:
        opened.extend(Reader(port, f"{prefix}{i}", receive_buffer_bytes) for i in range(count))
        yield opened
    finally:
        for reader in opened:
            reader.connection.close()


def read_with_pauses(members: Sequence[Reader], seconds: float, pause_s: float, seed: int = 1) -> None:
    """Each reads until nothing has come for a moment, then pauses: exponentially, ``pause_s`` on average."""
    chance, moment_s = random.Random(seed), 0.01
    now = time.monotonic()
    ends = now + seconds
    due = [(now + chance.expovariate(1 / pause_s), i) for i in range(len(members))]
    heapq.heapify(due)
    reading: dict[int, float] = {}  # since when nothing has come, by member
    while now < ends:
        while due and due[0][0] <= now:
            reading[heapq.heappop(due)[1]] = now
        for i, since in list(reading.items()):
            if members[i].read():
                reading[i] = now
            elif now > since + moment_s:
                del reading[i]
                heapq.heappush(due, (now + chance.expovariate(1 / pause_s), i))
        time.sleep(0.001)
        now = time.monotonic()


def read_steadily(members: Sequence[Reader], seconds: float, bytes_per_s: float) -> list[float]:
    """Each reads at most so much a second; returns how old the newest message of each was, now and then."""
    step_s, ages = 0.02, list[float]()
    began = due = time.monotonic()
    while due < began + seconds:
        for member in members:
            member.read(int(bytes_per_s * step_s))
        if due > began + seconds / 2:
            ages += [member.age_s() for member in members if member.newest_at_ms]
        due += step_s
        time.sleep(max(0.0, due - time.monotonic()))
    return ages


class _Background:
    """Something that goes on in a thread until it is told to stop."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._guarded)

    def run(self) -> None:
        raise NotImplementedError

    def _guarded(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self._failure = error

    def __enter__(self) -> _Background:
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.over.set()
        self._thread.join()
        if self._failure is not None and failure[0] is None:
            raise self._failure


class Flood(_Background):
    """One user who says as much as the server takes, in one room."""

    def __init__(self, server: Server, room: str) -> None:
        super().__init__()
        self._connection = connect(server.line_port, "flooder")
        self._connection.sendall(encode(type="join", room=room))
        read_until(self._connection, b'"type":"joined"')
        self._room = room
        self.sent = self.refused = 0

    def run(self) -> None:
        self._connection.setblocking(False)
        first, out = 0, b""
        while not self.over.is_set():
            if not out:
                out = encode_sends(self._room, "f", 1000, first)
                first += 1000
            idle = True
            with contextlib.suppress(BlockingIOError):
                out = out[self._connection.send(out) :]
                idle = False
            with contextlib.suppress(BlockingIOError):
                answers = self._connection.recv(_CHUNK_BYTES)
                self.sent += answers.count(b'"type":"sent"')
                self.refused += answers.count(b'"code":"rate_limited"')
                idle = False
            if idle:
                time.sleep(0.001)
        self._connection.close()


class Bursts(_Background):
    """Somebody who connects again and again, each time to say ``count`` messages in one piece."""

    def __init__(self, server: Server, room: str, count: int, every_s: float) -> None:
        super().__init__()
        self._server, self._room, self._count, self._every_s = server, room, count, every_s
        self.bursts = self.sent = 0

    def run(self) -> None:
        due = time.monotonic()
        while not self.over.is_set():
            connection = connect(self._server.line_port, f"burst{self.bursts}")
            connection.sendall(encode(type="join", room=self._room))
            read_until(connection, b'"type":"joined"')
            connection.sendall(
                encode_sends(self._room, f"b{self.bursts}-", self._count) + encode(type="ping", ref="end")
            )
            self.sent += read_until(connection, b'"type":"pong"').count(b'"type":"sent"')
            connection.close()
            self.bursts += 1
            due += self._every_s
            self.over.wait(max(0.0, due - time.monotonic()))


class Churn(_Background):
    """Some who come into a room and leave it, ``per_s`` times a second in all."""

    def __init__(self, server: Server, room: str, people: int, per_s: float) -> None:
        super().__init__()
        self._connections = [connect(server.line_port, f"churn{i}") for i in range(people)]
        self._room, self._per_s = room, per_s
        self.came_at: list[float] = []

    def run(self) -> None:
        for connection in self._connections:
            connection.setblocking(False)
        due, number = time.monotonic(), 0
        while not self.over.is_set():
            turn, who = divmod(number, len(self._connections))
            connection = self._connections[who]
            with contextlib.suppress(BlockingIOError):
                connection.recv(_CHUNK_BYTES)
            if turn % 2 == 0:
                self.came_at.append(time.monotonic())
            connection.sendall(encode(type="join" if turn % 2 == 0 else "leave", room=self._room))
            number, due = number + 1, due + 1 / self._per_s
            time.sleep(max(0.0, due - time.monotonic()))
        for connection in self._connections:
            connection.close()


def watch_presence(port: int, room: str, wait: Callable[[], object]) -> list[float]:
    """When a member was told who came and went while ``wait`` ran."""
    told: list[float] = []
    with contextlib.closing(connect(port, "watcher")) as connection:
        connection.sendall(encode(type="join", room=room))
        read_until(connection, b'"type":"joined"')
        connection.settimeout(0.05)
        over = threading.Event()

        def watch() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    if b'"type":"presence"' in connection.recv(_CHUNK_BYTES):
                        told.append(time.monotonic())

        thread = threading.Thread(target=watch)
        thread.start()
        wait()
        over.set()
        thread.join()
    return told
