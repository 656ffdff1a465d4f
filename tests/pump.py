"""A store of any kind, driven by a test: its answers wait in a queue until the test takes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import orjson

from fastchat._ring import Event, Ring
from fastchat.messages import SEQ_MAX, WireError
from fastchat.store import Block, Draft, Facts, Kind, Page, RoomLog, Store, Stored

TIMEOUT_S = 20.0
RING_BYTES = 1 << 20


class Pump:
    """Stands in for the loop: what the store's threads ``deliver`` runs in ``turn``."""

    def __init__(self) -> None:
        self._due: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = SimpleQueue()

    def deliver(self, callback: Callable[..., object], *args: Any) -> None:
        self._due.put((callback, args))

    def turn(self) -> None:
        """Runs the next one; queue.Empty when none comes within TIMEOUT_S."""
        callback, args = self._due.get(timeout=TIMEOUT_S)
        callback(*args)

    def drain(self) -> None:
        """Runs what is there already."""
        while not self._due.empty():
            self.turn()

    def answer(self, ask: Callable[[Callable[[Any], None]], object]) -> Any:
        """What the store answers, a WireError too."""
        answers: list[Any] = []
        ask(answers.append)
        while not answers:
            self.turn()
        (answer,) = answers
        return answer


def message(
    text: str, author: str = "alice", *, at_ms: int = 1000, id: str | None = None, **data: Any
) -> Draft:
    fields: dict[str, Any] = {"text": text}
    if data:
        fields["data"] = data
    return Draft(Kind.MESSAGE, author, at_ms, fields, id)


def edit(of: int, text: str, author: str = "alice", **more: Any) -> Draft:
    draft_id = more.pop("id", None)
    return Draft(Kind.EDITED, author, 2000, {"text": text, **more}, draft_id, of)


def delete(of: int, author: str = "alice", id: str | None = None, **fields: Any) -> Draft:
    return Draft(Kind.DELETED, author, 3000, fields, id, of)


def react(
    of: int, reaction: str, author: str = "alice", *, remove: bool = False, id: str | None = None
) -> Draft:
    fields: dict[str, Any] = {"reaction": reaction}
    if remove:
        fields["remove"] = True
    return Draft(Kind.REACTED, author, 4000, fields, id, of)


def moderate(
    action: str, author: str = "alice", *, at_ms: int = 5000, id: str | None = None, **fields: Any
) -> Draft:
    return Draft(Kind.MODERATED, author, at_ms, {"action": action, **fields}, id)


@dataclass
class OpenRoom:
    """A room's log with its ring, kept in step as a room does it."""

    store: Store
    pump: Pump
    name: str = "lobby"
    ring_bytes: int = RING_BYTES
    lost: bool = False
    log: RoomLog = field(init=False)
    told_facts: list[Facts] = field(default_factory=list)
    """What the log has told of facts that others have changed."""

    def __post_init__(self) -> None:
        self.log = self.pump.answer(lambda done: self.store.open(self.name, done))
        self.ring = Ring(self.ring_bytes, self.log.head)
        self.log.attach(self.ring, self)

    def on_foreign(self, stored: Stored) -> None:
        """Another process has stored an event."""
        assert stored.body is not None
        self.ring.append(Event(stored.seq, stored.body))

    def on_facts(self, facts: Facts) -> None:
        """Another process has changed the facts."""
        self.told_facts.append(facts)

    def on_lost(self) -> None:
        """The log tells nothing more."""
        self.lost = True

    def begin(self, draft: Draft, done: Callable[[Stored | WireError], None]) -> None:
        """Appends; the answer comes with a turn of the pump at the latest."""

        def on_stored(stored: Stored | WireError) -> None:
            if isinstance(stored, Stored) and stored.body is not None:
                self.ring.append(Event(stored.seq, stored.body))
            done(stored)

        self.log.append(draft, on_stored)

    def begin_all(self, drafts: Sequence[Draft]) -> list[Stored | WireError]:
        """Appends all at once and waits for the answers, in the order in which they come."""
        answers: list[Stored | WireError] = []
        for draft in drafts:
            self.begin(draft, answers.append)
        while len(answers) < len(drafts):
            self.pump.turn()
        return answers

    def try_append(self, draft: Draft) -> Stored | WireError:
        (answer,) = self.begin_all([draft])
        return answer

    def append(self, draft: Draft) -> Stored:
        answer = self.try_append(draft)
        assert isinstance(answer, Stored), answer
        return answer

    def refuse(self, draft: Draft) -> WireError:
        answer = self.try_append(draft)
        assert isinstance(answer, WireError), answer
        return answer

    def say(self, text: str, author: str = "alice", **fields: Any) -> Stored:
        return self.append(message(text, author, **fields))

    def fill(self, count: int, text: str = "hi", **fields: Any) -> None:
        """Says the same many times over, all at once."""
        self.begin_all([message(text, **fields)] * count)

    def set_facts(self, changes: Facts) -> WireError | None:
        result = self.pump.answer(lambda done: self.log.set_facts(changes, done))
        assert result is None or isinstance(result, WireError)
        return result

    def facts(self) -> dict[str, Any]:
        """As somebody finds them who opens the room now."""
        log = self.pump.answer(lambda done: self.store.open(self.name, done))
        return dict(log.facts)

    def page(
        self, after: int = -1, before: int = SEQ_MAX, limit: int = 100, newest: bool = False
    ) -> tuple[list[dict[str, Any]], bool]:
        page = self.pump.answer(lambda done: self.log.read(after, before, limit, newest, done))
        assert isinstance(page, Page), page
        return [orjson.loads(body) for body in page.bodies], page.more

    def read(self, *args: Any, **fields: Any) -> tuple[list[int], bool]:
        messages, more = self.page(*args, **fields)
        return [message["seq"] for message in messages], more

    def messages(self, **fields: Any) -> list[dict[str, Any]]:
        return self.page(**fields)[0]

    def replay(self, after: int) -> tuple[int, list[dict[str, Any]]]:
        block = self.pump.answer(lambda done: self.log.replay(after, done))
        assert isinstance(block, Block), block
        return block.first, [orjson.loads(body) for body in block.bodies]

    def replay_all(self, after: int = 0) -> list[dict[str, Any]]:
        """Every event after ``after``, as a reader far behind gets them."""
        events: list[dict[str, Any]] = []
        while after < self.log.head:
            first, found = self.replay(after)
            assert found, (first, after, self.log.head)
            assert first > after
            after = first + len(found) - 1
            events += found
        return events


def search(
    store: Store,
    pump: Pump,
    query: str,
    rooms: Sequence[str] = ("lobby",),
    before: int | None = None,
    limit: int = 100,
) -> tuple[list[dict[str, Any]], bool]:
    """What is found; raises the store's WireError."""
    page = pump.answer(lambda done: store.search(rooms, query, before, limit, done))
    if isinstance(page, WireError):
        raise page
    return [orjson.loads(body) for body in page.bodies], page.more


def marks(store: Store, pump: Pump, user: str, rooms: Sequence[str]) -> dict[str, int]:
    found = pump.answer(lambda done: store.marks(user, rooms, done))
    assert not isinstance(found, WireError), found
    return dict(found)
