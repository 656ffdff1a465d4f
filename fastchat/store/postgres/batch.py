"""The events of one commit: what the database is given, and what its answer means for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from fastchat.messages import Code, WireError
from fastchat.store.facts import audit_of, facts_of
from fastchat.store.interface import Draft, Facts, Kind, Stored
from fastchat.store.pairs import users_of
from fastchat.store.postgres.appending import CHANGED, GONE, NOT_NEW, STALE_RULES
from fastchat.store.postgres.schema import escape
from fastchat.store.states import change, check_change
from fastchat.store.words import encode_words

RETRY_AFTER_MS = 200
_MESSAGE = Kind.MESSAGE  # a member of a class is slow to find
_EVENT, _CHANGE, _FACT, _ENTRY = 7, 6, 3, 7  # columns

Result = Stored | WireError | None
"""What came of an `Append`; None for facts that are kept."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class RoomState:
    """What the writer knows of a room. Only its thread changes it."""

    name: str
    epoch: str
    head: int
    first: int
    version: int
    """Of its facts, as far as it is known."""
    oldest: int = field(init=False)
    """All changes of its facts since this version are our own: what was sent before them may be stored."""
    key: str = field(init=False)
    json: str = field(init=False)
    before_seq: bytes = field(init=False)
    """What stands between the kind of an event and its ``seq``."""

    def __post_init__(self) -> None:
        self.oldest = self.version
        self.key = escape(self.name)
        self.json = orjson.dumps(self.name).decode()
        self.before_seq = f'","room":{self.json},"seq":'.encode()

    def learn(self, version: int) -> None:
        """Others have changed the facts: what was sent by the old ones must not be stored."""
        if version > self.version:
            self.version = self.oldest = version


class Log(Protocol):
    """Where an event belongs."""

    state: RoomState

    def on_stored(self, stored: Stored, done: Callable[[Stored], None]) -> None:
        """It is stored: ``done`` is to be called in its turn. In the loop's thread."""


@dataclass(slots=True, eq=False)
class Append:
    """A draft, or facts by themselves, that wait for their commit."""

    log: Log
    draft: Draft | Facts
    version: int
    """Of the facts by which it was allowed."""
    done: Callable[[Any], None]


@dataclass(slots=True, eq=False)
class Found:
    """What the database has of a message that is to be changed."""

    body: str | None = None
    version: int = 0
    repeated: Stored | None = None
    """The event that has the change's author and id already."""


@dataclass(slots=True)
class Outcome:
    """What came of a commit."""

    results: list[tuple[Append, Result]]
    again: list[Append]
    """Changes of messages that others have changed at the same time."""
    changed: list[RoomState]
    """Rooms that have other facts now."""
    unknown: list[RoomState]
    """Rooms whose facts others have changed: they have to be read."""


class Batch:
    """What goes into one commit, out of what waits.

    What depends on an event of the same commit is put off to the next one, with everything behind it in its
    room: so each commit can be made of columns.
    """

    def __init__(self, waiting: Sequence[Append]) -> None:
        self.appends: list[Append] = []
        self.put_off: list[Append] = []
        self.changes: list[Append] = []
        """Those that change a message: what it is now has to be read first."""
        self._places: dict[RoomState, int] = {}
        self._ids: set[tuple[RoomState, str, str]] = set()
        self._changed: set[tuple[RoomState, int]] = set()
        held: set[RoomState] = set()
        for append in waiting:
            room = append.log.state
            if room in held or not self._take(append, room):
                held.add(room)
                self.put_off.append(append)

    def _take(self, append: Append, room: RoomState) -> bool:
        draft = append.draft
        if isinstance(draft, Draft):
            if draft.kind is not _MESSAGE and not self._may_change(draft, room):
                return False
            if draft.id is not None:
                key = (room, draft.author, draft.id)
                if key in self._ids:
                    return False
                self._ids.add(key)
            if draft.of is not None:
                self._changed.add((room, draft.of))
                self.changes.append(append)
        self._places[room] = 0
        self.appends.append(append)
        return True

    def _may_change(self, draft: Draft, room: RoomState) -> bool:
        if draft.of is None:
            return not (_makes_room(draft) and room in self._places)
        # What is not known to be stored may be about to be.
        return (room, draft.of) not in self._changed and (draft.of <= room.head or room not in self._places)

    def questions(self) -> list[list[Any]]:
        """What is asked of the database about the changes, as columns."""
        drafts = [(append.log.state.key, append.draft) for append in self.changes]
        return _columns(
            [
                (key, draft.of, escape(draft.author), None if draft.id is None else escape(draft.id))
                for key, draft in drafts
                if isinstance(draft, Draft)
            ],
            4,
        )

    # What the database is given

    def build(self, found: Mapping[Append, Found]) -> tuple[Any, ...]:
        """The arguments for the function, behind the writer and the number of the batch."""
        rooms = sorted(self._places, key=lambda room: room.key)
        self._places = {room: nth for nth, room in enumerate(rooms, 1)}
        self._tails: list[bytes] = []
        self._results: list[Result] = []
        self._events: list[int] = []  # by append: its place among the events, or 0
        self._columns_of_events: list[tuple[Any, ...]] = []
        self._of_changes: list[tuple[Any, ...]] = []
        self._of_facts: list[tuple[Any, ...]] = []
        self._entries: list[tuple[Any, ...]] = []
        for append in self.appends:
            place = len(self._columns_of_events) + 1
            refusal = self._add(append, place, found)
            self._results.append(refusal)
            self._events.append(0 if refusal is not None else place)
        pairs = [(nth, escape(who)) for room, nth in self._places.items() for who in users_of(room.name)]
        return (
            any(room.head == 0 for room in rooms),
            *_columns([(room.key, room.json, room.epoch, room.version, room.head) for room in rooms], 5),
            *_columns(pairs, 2),
            *_columns(self._columns_of_events, _EVENT),
            *_columns(self._of_changes, _CHANGE),
            *_columns(self._of_facts, _FACT),
            *_columns(self._entries, _ENTRY),
        )

    def _add(self, append: Append, place: int, found: Mapping[Append, Found]) -> Result:
        """Adds it to the columns, unless it is answered already."""
        draft, room = append.draft, append.log.state
        nth = self._places[room]
        if not isinstance(draft, Draft):
            self._columns_of_events.append((nth, None, "", None, 0, "", None))
            self._tails.append(b"")
            self._add_facts(place, draft)
            return None
        version = room.version if append.version >= room.oldest else append.version
        if version < room.version:
            return stale(room.name)
        ordinary = draft.kind is _MESSAGE
        if not ordinary:
            try:
                repeated = self._add_change(draft, place, found.get(append))
            except WireError as error:
                return error
            if repeated is not None:
                return repeated
            if (entry := audit_of(room.name, draft)) is not None:
                texts = (entry.actor, entry.action, entry.room, entry.target, entry.detail)
                self._entries.append((place, entry.at_ms, *map(escape, texts)))
        kind = draft.kind._value_  # ``value`` is a slow property
        # As ``encode`` has it, with one digit for the seq.
        tail = draft.encode(room.name, 0)[len(kind) + len(room.before_seq) + 10 :]
        self._tails.append(tail)
        self._columns_of_events.append(
            (
                nth,
                kind,
                escape(draft.author),
                None if draft.id is None else escape(draft.id),
                draft.at_ms,
                tail.decode(),
                encode_words(draft.fields.get("text", "")) if ordinary else None,
            )
        )
        return None

    def _add_change(self, draft: Draft, place: int, found: Found | None) -> Stored | None:
        """What the event brings about. Raises WireError where that is not allowed."""
        if found is not None:
            if found.repeated is not None:
                return found.repeated
            message = None if found.body is None else orjson.loads(found.body)
            check_change(draft, message)
            assert message is not None
            state = change(message, draft)
            self._of_changes.append(
                (
                    place,
                    draft.of,
                    found.version,
                    orjson.dumps(state).decode(),
                    encode_words(state["text"]) if "text" in state else None,
                    draft.kind is not Kind.REACTED,
                )
            )
        elif _makes_room(draft):
            self._of_changes.append((place, None, 0, None, None, False))
        self._add_facts(place, facts_of(draft))
        return None

    def _add_facts(self, place: int, facts: Facts) -> None:
        for name, value in facts.items():
            text = None if value is None else orjson.dumps(value).decode()
            self._of_facts.append((place, escape(name), text))

    # What the database has answered

    def take(self, answer: Sequence[int]) -> Outcome:
        """What came of each."""
        count, rooms = len(self._columns_of_events), len(self._places)
        seqs, whys = answer[:count], answer[count : 2 * count]
        before, after = answer[2 * count :][:rooms], answer[2 * count + rooms :]
        results: list[tuple[Append, Result]] = []
        again: list[Append] = []
        for append, event, refusal in zip(self.appends, self._events, self._results, strict=True):
            if not event:
                results.append((append, refusal))
            elif whys[event - 1] == CHANGED and not seqs[event - 1]:
                again.append(append)
            else:
                results.append((append, self._result(append, event - 1, seqs[event - 1], whys[event - 1])))
        unknown: list[RoomState] = []
        changed: list[RoomState] = []
        for room, nth in self._places.items():
            if before[nth - 1] == room.version:
                if after[nth - 1] != room.version:
                    changed.append(room)
                room.version = after[nth - 1]
            elif (after[nth - 1] or 0) > room.version:
                unknown.append(room)
        return Outcome(results, again, changed, unknown)

    def _result(self, append: Append, event: int, seq: int, why: int) -> Result:
        room, draft = append.log.state, append.draft
        if seq > 0:
            assert isinstance(draft, Draft)
            room.head = max(room.head, seq)
            body = b'{"type":"%b%b%d%b' % (draft.kind.encode(), room.before_seq, seq, self._tails[event])
            return Stored(seq, draft.at_ms, body)
        if seq < 0:
            return Stored(-seq, why, None)
        return _REFUSALS[why](room.name) if why else None


def stale(room: str) -> WireError:
    """What a sender is told whose right to send is not certain any more."""
    return WireError(
        Code.UNAVAILABLE,
        f"the rules of room {room} have just changed; send it again",
        retry_after_ms=RETRY_AFTER_MS,
    )


def _gone(room: str) -> WireError:
    return WireError(
        Code.UNAVAILABLE, f"room {room} is not there any more; join it again", retry_after_ms=RETRY_AFTER_MS
    )


def _taken(room: str) -> WireError:
    return WireError(Code.NAME_TAKEN, f"there is a room {room} already; choose another name", field="room")


_REFUSALS: Mapping[int, Callable[[str], WireError]] = {STALE_RULES: stale, GONE: _gone, NOT_NEW: _taken}


def _makes_room(draft: Draft) -> bool:
    return draft.kind is Kind.MODERATED and draft.fields["action"] == "create"


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]
