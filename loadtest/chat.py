"""One client's conversation: connects, says hello, joins, talks, and comes back with what it has seen."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import gevent
import orjson
from gevent.event import AsyncResult

from .connection import Address, Connection, Lost
from .cursors import OwnMessages, RoomCursor
from .figures import Figures
from .framing import Malformed
from .subscriber import Asked, Document, StillThere, Subscriber

ANSWER_TIMEOUT_S = 30.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0


class Refused(Exception):
    """A command was answered with an error, or not at all. It has been counted as a failure."""


class Edge(NamedTuple):
    """One kind of connection: ``name`` is its type in the statistics."""

    name: str
    connect: Callable[..., tuple[Connection, list[bytes]]]
    address: Address


class Chat(Subscriber):
    """A client with a greenlet of its own that reads. ``open`` it first.

    While it ``returns`` it comes back by itself after its connection was lost. That is a failure unless it
    ``expects_loss``.
    """

    __slots__ = (
        "_closing", "_dropping", "_edge", "_next_id", "_reader", "_refs", "_stamp", "connection",
        "expects_loss", "pace", "receive_buffer_bytes", "returns",
    )  # fmt: skip

    def __init__(self, edge: Edge, name: str, figures: Figures) -> None:
        super().__init__(name, edge.name, figures)
        self.connection: Connection | None = None
        self.returns = True
        self.expects_loss = False
        self.pace: Callable[[Connection], None] | None = None
        """Called before each read; may wait, as slow readers do."""
        self.receive_buffer_bytes = 0
        self._edge = edge
        self._stamp = figures.stamp
        self._refs = 0
        self._next_id = 0
        self._reader: gevent.Greenlet | None = None
        self._closing = self._dropping = False

    @property
    def is_open(self) -> bool:
        """Whether it has a connection, and is in its rooms."""
        return self.connection is not None and all(room.joined for room in self.rooms.values())

    def open(self) -> None:
        """Connects and says hello. Raises Refused."""
        welcomed = AsyncResult()
        self._closing = False
        self._reader = gevent.spawn(self._live, welcomed)
        self._reader.link_exception(
            lambda broken: self.fail("closed", f"the reader broke: {broken.exception!r}")
        )
        if not self._get(welcomed, "hello"):
            raise Refused("hello")

    def join(self, room: str) -> None:
        """Joins a room that this client is not in, from its head on. Raises Refused."""
        self.rooms[room] = RoomCursor(room)
        try:
            self._ask("join", room=room)
        except Refused:
            self.rooms.pop(room, None)
            raise

    def leave(self, room: str) -> None:
        """Leaves a room; what of one's own has not come by then, no longer will. Raises Refused."""
        self._ask("leave", room=room)
        self.check_own(room)
        self.rooms.pop(room, None)
        self.own.pop(room, None)

    def say(self, room: str, text: str) -> None:
        """Sends a message and does not wait for anything; without a connection it goes when there is one."""
        self._next_id += 1
        # Ids belong to the name, and no two users have the same one.
        message_id = str(self._next_id)
        data = self._stamp()
        own = self.own.get(room)
        if own is None:
            own = self.own[room] = OwnMessages()
        own.send(message_id, text, data["sent_ns"] / 1e9)
        self.figures.count["messages"] += 1
        cursor = self.rooms.get(room)
        if cursor is not None and cursor.joined:
            self._send(room, message_id, {"text": text, "data": data})

    def say_again(self, room: str, message_id: str, text: str) -> None:
        self._send(room, message_id, {"text": text})

    def _send(self, room: str, message_id: str, content: Document) -> None:
        with contextlib.suppress(Lost):  # the reader hears of it, too, and says it again
            self._write(
                orjson.dumps({"type": "send", "ref": message_id, "room": room, "id": message_id, **content})
            )

    def drop(self) -> None:
        """Loses the connection, without a word to the server."""
        if self.connection is not None:
            self._dropping = True
            self.connection.cut()

    def close(self, timeout_s: float = 5.0) -> None:
        """Says goodbye and waits until the connection has ended."""
        self._closing = True
        for room in list(self.own):
            self.check_own(room)
        if self._reader is not None:
            if self.connection is not None:
                self.connection.finish_sending()
                self._reader.join(timeout_s)
            self._reader.kill()
        self._forget_connection()

    def _ask(self, kind: str, **fields: Any) -> None:
        self._refs += 1
        answer = AsyncResult()
        self.answers[self._refs] = Asked(kind, time.monotonic(), answer)
        try:
            self._write(orjson.dumps({"type": kind, "ref": self._refs, **fields}))
        except Lost as error:
            raise Refused(kind) from error
        if not self._get(answer, kind):
            raise Refused(kind)

    def _get(self, answer: AsyncResult, kind: str) -> bool:
        """Whether the answer was what was wanted. What never comes is a failure of its own."""
        try:
            return bool(answer.get(timeout=ANSWER_TIMEOUT_S))
        except gevent.Timeout:
            self.fail("late", f"no answer to {kind} within {ANSWER_TIMEOUT_S:.0f} s")
            return False

    def _write(self, command: bytes) -> None:
        if self.connection is None:
            raise Lost("not connected")
        self.connection.write(self.connection.framing.encode(command))

    # The reader's life: connect, read, come back.

    def _live(self, welcomed: AsyncResult) -> None:
        while True:
            try:
                self.attempt = time.monotonic()
                self._read(self._connect(welcomed))
            except (Lost, Malformed, StillThere, OSError, orjson.JSONDecodeError) as error:
                self._end_connection(error)
            if self._closing or not self.returns:
                welcomed.set(False)
                return
            gevent.sleep(self._choose_wait_s())

    def _connect(self, welcomed: AsyncResult) -> list[bytes]:
        self.connection, messages = self._edge.connect(
            self._edge.address, receive_buffer_bytes=self.receive_buffer_bytes
        )
        self.figures.count["connections"] += 1
        self._refs += 1
        self.answers[self._refs] = Asked("hello", self.attempt, welcomed)
        hello: Document = {"type": "hello", "ref": self._refs, "user": self.name}
        known = [room for room in self.rooms.values() if room.epoch is not None]
        if known:
            hello["resume"] = {room.name: room.cursor for room in known}
            hello["epochs"] = {room.name: room.epoch for room in known}
        self._write(orjson.dumps(hello))
        return messages

    def _read(self, messages: list[bytes]) -> None:
        """Reads until the connection is lost, and raises Lost."""
        connection = self.connection
        assert connection is not None
        framing, receive = connection.framing, self.receive
        while True:
            now = time.monotonic()
            for message in messages:
                receive(orjson.loads(message), now, len(message))
            if framing.replies:
                connection.write(bytes(framing.replies))
                framing.replies.clear()
            if framing.close_code is not None:
                raise Lost(f"closed with {framing.close_code}")
            if self.pace is not None:
                self.pace(connection)
            messages = framing.feed(connection.receive())

    def _end_connection(self, error: Exception) -> None:
        had_one = self.connection is not None
        self._forget_connection()
        if self._closing:
            return
        if had_one and not isinstance(error, StillThere):
            self.lost_at = time.monotonic()
            self.returning = bool(self.rooms)
            self.figures.count["connections lost"] += 1
        if not (self.expects_loss or self._dropping or isinstance(error, StillThere)):
            self.fail("closed" if had_one else "refused", str(error))
        self._dropping = False

    def _forget_connection(self) -> None:
        if self.connection is not None:
            self.figures.count["bytes received"] += self.connection.bytes_received
            self.figures.count["bytes sent"] += self.connection.bytes_sent
            self.connection.close()
            self.connection = None
        for room in self.rooms.values():
            room.joined = False
        for asked in self.answers.values():
            if asked.kind != "hello":
                asked.answer.set(False)
        self.answers.clear()

    def _choose_wait_s(self) -> float:
        """At first what the server's ``bye`` has asked for; then later and later, and not all together."""
        wait_s = self.wait_s
        self.wait_s = min(_LONGEST_WAIT_S, max(_FIRST_WAIT_S, wait_s * 2))
        return wait_s * random.uniform(0.75, 1.0)
