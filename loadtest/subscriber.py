"""What a client receives: answers are timed, logs followed, failures told. Pure: no sockets or clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from .cursors import OwnMessages, RoomCursor, Seam

Document = dict[str, Any]


class Answer(Protocol):
    """Where somebody waits for an answer: True if it was what was wanted."""

    def set(self, value: bool) -> None: ...

    def ready(self) -> bool: ...


class Asked(NamedTuple):
    """A command that has not been answered yet."""

    kind: str
    at: float
    answer: Answer


class Measures(Protocol):
    """What a subscriber tells its figures."""

    count: Any

    def time(self, edge: str, name: str, took_s: float, length: int = 0) -> None: ...

    def fail(self, edge: str, name: str, reason: str) -> None: ...

    def receive_delivery(self, edge: str, data: Any, now: float, length: int) -> None: ...


class Subscriber:
    """A client's rooms, what it has said and asked, and what comes of it. Times are in seconds."""

    __slots__ = (
        "answers", "attempt", "edge_name", "figures", "lost_at", "name", "own", "returning", "rooms", "timed",
        "wait_s",
    )  # fmt: skip

    def __init__(self, name: str, edge_name: str, figures: Measures) -> None:
        self.name = name
        self.edge_name = edge_name
        self.figures = figures
        self.rooms: dict[str, RoomCursor] = {}
        self.own: dict[str, OwnMessages] = {}
        self.answers: dict[int, Asked] = {}
        self.timed = True
        """Whether its deliveries say something about the server: not if it reads slowly."""
        self.attempt = 0.0
        """When the connection was begun."""
        self.lost_at = 0.0
        """When the one before was lost."""
        self.returning = False
        """Whether something that was missed is still to come."""
        self.wait_s = 0.0
        """How long to wait before the next attempt."""

    def receive(self, document: Document, now: float, length: int) -> None:
        """One answer or event, of ``length`` bytes, that was read at ``now``."""
        handler = _HANDLERS.get(document["type"])
        if handler is not None:
            handler(self, document, now, length)

    def say_again(self, room: str, message_id: str, text: str) -> None:
        """Sends a message once more, which may have been stored before the connection was lost."""
        raise NotImplementedError

    def fail(self, name: str, reason: str) -> None:
        self.figures.fail(self.edge_name, name, reason)

    def check_own(self, room: str) -> None:
        """Tells of acknowledged messages that should have come back by now."""
        own, cursor = self.own.get(room), self.rooms.get(room)
        if own is not None and cursor is not None:
            for _ in own.take_lost(cursor.cursor):
                self.fail("lost", "an acknowledged message did not come")

    # Events of a log.

    def _receive_event(self, document: Document, now: float, length: int) -> None:
        count = self.figures.count
        count["deliveries"] += 1
        room = self.rooms.get(document["room"])
        if room is None or not room.joined:
            self.fail("repeat", "an event of a room that was left")
            return
        seq = document["seq"]
        live = seq > room.head_at_join
        missing = room.missing
        seam = room.receive_event(seq)
        if seam is not Seam.WHOLE:
            self._tell(seam, room.missing - missing)
        if document["from"] == self.name:
            self._receive_own(document)
        elif live and self.timed:
            self.figures.receive_delivery(self.edge_name, document.get("data"), now, length)
        if not live:
            count["replayed"] += 1
            if self.returning:
                self._look_whether_back(now)

    def _receive_own(self, document: Document) -> None:
        own = self.own.get(document["room"])
        if own is not None and "id" in document and not own.receive_own(document["id"]):
            self.fail("repeat", "a message has appeared twice")

    def _receive_lagged(self, document: Document, now: float, length: int) -> None:
        room = self.rooms.get(document["room"])
        if room is None:
            return
        missing = room.missing
        seam = room.receive_lagged(document["from"], document["to"])
        if seam is not Seam.WHOLE:
            self._tell(seam, room.missing - missing)
        self.figures.count["events lagged"] += document["missed"]
        self.fail("lagged", "the server said that events are gone")
        if self.returning:
            self._look_whether_back(now)

    def _tell(self, seam: Seam, missing: int) -> None:
        if seam is Seam.HOLE:
            self.figures.count["events missing"] += missing
            self.fail("hole", "events of the log are missing")
        else:
            self.fail("repeat", "an event came twice")

    # Answers.

    def _receive_sent(self, document: Document, now: float, length: int) -> None:
        own = self.own.get(document["room"])
        if own is None or "id" not in document:
            return
        since = own.receive_sent(document["id"], document["seq"])
        if since is not None:
            self.figures.time(self.edge_name, "sent", now - since, length)

    def _receive_welcome(self, document: Document, now: float, length: int) -> None:
        self.wait_s = 0.0
        asked = self.answers.pop(document["ref"]) if not self.rooms else self.answers.get(document["ref"])
        self.figures.time(self.edge_name, "connect", now - self.attempt, length)
        if asked is not None:
            asked.answer.set(True)

    def _receive_joined(self, document: Document, now: float, length: int) -> None:
        room = self.rooms[document["room"]]
        asked = self.answers.get(document["ref"])
        if document["reset"] and room.cursor > 0:
            self.fail("reset", "what had been said is gone")
        room.receive_joined(document["head"], document["epoch"], reset=document["reset"])
        if asked is not None and asked.kind == "join":
            del self.answers[document["ref"]]
            self.figures.time(self.edge_name, "join", now - asked.at, length)
            asked.answer.set(True)
        if (own := self.own.get(room.name)) is not None:
            for message_id, text in own.send_again():
                self.figures.count["messages said again"] += 1
                self.say_again(room.name, message_id, text)
        if self.returning:
            self._look_whether_back(now)

    def _look_whether_back(self, now: float) -> None:
        if all(room.caught_up for room in self.rooms.values()):
            self.returning = False
            self.figures.time(self.edge_name, "return", now - self.attempt)
            self.figures.time(self.edge_name, "away", now - self.lost_at)

    def _receive_left(self, document: Document, now: float, length: int) -> None:
        if (room := self.rooms.get(document["room"])) is not None:
            room.joined = False
        asked = self.answers.pop(document["ref"], None)
        if asked is not None:
            asked.answer.set(True)

    def _receive_error(self, document: Document, now: float, length: int) -> None:
        code, ref = document["code"], document.get("ref")
        asked = self.answers.pop(ref, None) if isinstance(ref, int) else None
        if code == "name_taken" and self.rooms:
            # The server has not heard yet that the connection before this one has ended.
            self.figures.count["names still taken"] += 1
            self.wait_s = 0.2
            raise StillThere
        self.fail("error", code)
        if isinstance(ref, str):
            for own in self.own.values():
                own.drop(ref)
        if asked is not None:
            asked.answer.set(False)

    def _receive_bye(self, document: Document, now: float, length: int) -> None:
        self.wait_s = document.get("reconnect_after_ms", 0) / 1000
        self.figures.count["byes"] += 1


class StillThere(Exception):
    """The server believes in this client's last connection still: try again in ``wait_s``."""


_HANDLERS: dict[str, Callable[[Subscriber, Document, float, int], None]] = {
    "message": Subscriber._receive_event,
    "edited": Subscriber._receive_event,
    "deleted": Subscriber._receive_event,
    "reacted": Subscriber._receive_event,
    "sent": Subscriber._receive_sent,
    "lagged": Subscriber._receive_lagged,
    "joined": Subscriber._receive_joined,
    "welcome": Subscriber._receive_welcome,
    "left": Subscriber._receive_left,
    "error": Subscriber._receive_error,
    "bye": Subscriber._receive_bye,
}
