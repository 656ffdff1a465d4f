"""The sender, with a store in memory and a broker that does what the test says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from fastchat.broker.interface import BrokerError, Outgoing
from fastchat.cloudevents import EventEncoder, NoticeEncoder
from fastchat.messages import Code, WireError, encode_receipts
from fastchat.outbox import Sender, sender
from fastchat.outbox.sender import Metered
from fastchat.store import MemoryStore
from fastchat.store.interface import slot_of
from tests.events_document import EventsDocument
from tests.pump import OpenRoom, Pump

DOCUMENT = EventsDocument()


class FakeSink:
    """A broker: keeps what it gets, as far as ``room`` lets it."""

    def __init__(self) -> None:
        self.got: list[Outgoing] = []
        self.problem: str | None = None
        self.room: int | None = None
        """How many more events it takes; None is no limit."""
        self.open = asyncio.Event()
        self.open.set()
        self.changed = asyncio.Event()
        self.attempts = 0
        self.closed = False
        self.failure: Exception | None = None

    async def start(self) -> None:
        if self.problem == "misconfigured":
            raise BrokerError("misconfigured")

    async def close(self) -> None:
        self.closed = True

    async def send(self, events: Sequence[Outgoing]) -> int:
        self.attempts += 1
        self.changed.set()
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        count = len(events) if self.room is None else min(self.room, len(events))
        if self.room is not None:
            self.room -= count
        self.got += events[:count]
        self.changed.set()
        return count

    async def until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 5)

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.got]


class Sending:
    """A sender at work."""

    def __init__(self, **options: Any) -> None:
        self.store = MemoryStore()
        self.pump = Pump()
        self.sink = FakeSink()
        self.lobby = self.open("lobby")
        self.sender = Sender(
            self.store, self.sink, EventEncoder("chat", **options.pop("wants", {})), **options
        )

    def open(self, name: str) -> OpenRoom:
        return OpenRoom(self.store, self.pump, name)

    def id_of(self, room: OpenRoom) -> str:
        """Of the newest event."""
        return f"{room.log.epoch}:{room.name}:{room.log.head}"

    async def all_sent(self) -> None:
        await self.sink.until(lambda: self.id_of(self.lobby) in self.sink.ids)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "retry_s", lambda failures, chance: 0.0)


@pytest.fixture
async def sending() -> AsyncIterator[Sending]:
    sending = Sending()
    await sending.sender.start()
    yield sending
    await sending.sender.close()


@pytest.mark.parametrize("turns", range(4))
async def test_it_ends_whatever_comes_at_the_same_moment(turns: int) -> None:
    sending = Sending()
    await sending.sender.start()
    await asyncio.sleep(2 * sender.GATHER_S)  # so that it waits to be woken
    (sends, _) = sending.sender._tasks
    sending.sender.wake()
    for _ in range(turns):
        await asyncio.sleep(0)
    sends.cancel()
    done, _ = await asyncio.wait([sends], timeout=5)
    assert done == {sends}
    assert sends.cancelled()
    await sending.sender.close()


async def test_what_is_said_after_the_start_is_sent_even_where_the_store_comes_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sending = Sending()
    begin = sending.store.begin_sending
    late: asyncio.Queue[Callable[[WireError | None], None]] = asyncio.Queue()
    monkeypatch.setattr(sending.store, "begin_sending", late.put_nowait)
    starting = asyncio.create_task(sending.sender.start())
    for _ in range(3):
        done = await late.get()
        assert not starting.done()
        sending.lobby.say("before")
        done(WireError(Code.UNAVAILABLE, "the disk is full"))
    begin(await late.get())
    await starting
    sending.lobby.say("after")
    await sending.all_sent()
    assert sending.sink.ids == [sending.id_of(sending.lobby)]
    await sending.sender.close()


async def test_what_is_stored_arrives_as_documented(sending: Sending) -> None:
    stored = sending.lobby.say("hi")
    await sending.all_sent()
    (event,) = sending.sink.got
    assert event.key == "message.lobby"
    assert DOCUMENT.check(event.body)["data"]["seq"] == stored.seq


async def test_many_rooms_each_in_order(sending: Sending) -> None:
    rooms = [sending.lobby, *(sending.open(f"room{number}") for number in range(5))]
    for _ in range(100):
        for room in rooms:
            room.say("hi")
    want = sum(room.log.head for room in rooms[1:]) + 100
    await sending.sink.until(lambda: len(sending.sink.got) >= want)
    for room in rooms:
        seqs = [int(each.id.split(":")[2]) for each in sending.sink.got if each.key == f"message.{room.name}"]
        assert seqs == [*range(room.log.head - 99, room.log.head + 1)]


async def test_notices_are_sent_too(sending: Sending) -> None:
    notice = NoticeEncoder("chat", "p", lambda: 0).encode(
        "receipt", "lobby", encode_receipts("lobby", {"bob": 7})
    )
    sending.store.notify([notice])
    await sending.sink.until(lambda: sending.sink.got)
    assert [(each.key, each.body) for each in sending.sink.got] == [("receipt.lobby", notice.body)]


async def test_while_the_broker_is_away_all_waits_and_then_all_comes(sending: Sending) -> None:
    sending.sink.room = 0
    for _ in range(300):
        sending.lobby.say("hi")
    attempts = sending.sink.attempts
    await sending.sink.until(lambda: sending.sink.attempts > attempts + 3)
    assert sending.sink.got == []
    sending.sink.room = None
    await sending.all_sent()
    assert len(sending.sink.ids) == len(set(sending.sink.ids)) == 300


async def test_what_was_confirmed_is_not_sent_again(sending: Sending) -> None:
    sending.sink.room = 7
    for _ in range(50):
        sending.lobby.say("hi")
    await sending.sink.until(lambda: sending.sink.room == 0)
    sending.sink.room = None
    await sending.all_sent()
    assert len(sending.sink.ids) == len(set(sending.sink.ids)) == 50


async def test_what_was_sent_but_not_confirmed_comes_again_with_the_same_id(sending: Sending) -> None:
    stored = sending.lobby.say("hi")
    attempts = sending.sink.attempts
    with capture_logs() as logs:
        sending.sink.failure = ConnectionError("lost")
        await sending.sink.until(lambda: sending.sink.attempts > attempts + 1)
        sending.sink.failure = None
        await sending.all_sent()
    assert "events could not be sent" in [entry["event"] for entry in logs]
    assert sending.sink.ids == [f"{sending.lobby.log.epoch}:lobby:{stored.seq}"]


async def test_one_batch_is_under_way_at_a_time(sending: Sending) -> None:
    sending.sink.open.clear()
    sending.lobby.say("hi")
    attempts = sending.sink.attempts
    await sending.sink.until(lambda: sending.sink.attempts == attempts + 1)
    sending.lobby.fill(100)
    for _ in range(20):
        await asyncio.sleep(0)
    assert sending.sink.attempts == attempts + 1
    sending.sink.open.set()
    await sending.all_sent()


async def test_a_store_that_fails_is_asked_again(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    failures = 3
    refused = WireError(Code.UNAVAILABLE, "the disk is full")
    real_unsent, real_sent = sending.store.unsent, sending.store.sent

    def unsent(slots: Collection[int] | None, limit: int, done: Callable[[Any], None]) -> None:
        nonlocal failures
        failures -= 1
        done(refused) if failures > 0 else real_unsent(slots, limit, done)

    def sent(heads: Any, notices: Any, done: Callable[[Any], None]) -> None:
        nonlocal failures
        failures -= 1
        done(refused) if failures > -5 else real_sent(heads, notices, done)

    monkeypatch.setattr(sending.store, "unsent", unsent)
    monkeypatch.setattr(sending.store, "sent", sent)
    sending.lobby.say("one")
    await sending.all_sent()
    sending.lobby.say("two")
    await sending.all_sent()
    # The store did not know of the first one for a while, but nothing was taken meanwhile.
    assert len(sending.sink.ids) == len(set(sending.sink.ids)) == 2


async def test_only_what_is_wanted_is_sent_and_the_rest_does_not_stay() -> None:
    sending = Sending(wants={"kinds": ["message"]})
    await sending.sender.start()
    secret = sending.open("@alice,bob")
    secret.say("psst")
    sending.lobby.say("hi")
    await sending.all_sent()
    await sending.sender.close()
    assert [each.key for each in sending.sink.got] == ["message.lobby"]
    assert sending.pump.answer(lambda done: sending.store.unsent(None, 10, done)).events == []


async def test_only_the_slots_that_are_ours_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "POLL_S", 0.001)
    sending = Sending(slots=())
    sending.sender.take_slots({slot_of("lobby")})
    await sending.sender.start()
    games = sending.open("games")
    games.say("theirs")
    sending.lobby.say("ours")
    await sending.all_sent()
    assert [each.key for each in sending.sink.got] == ["message.lobby"]
    sending.sender.take_slots({slot_of("lobby"), slot_of("games")})  # its node is dead
    await sending.sink.until(lambda: len(sending.sink.got) == 2)
    assert sending.sink.ids[1] == sending.id_of(games)
    await sending.sender.close()


async def test_closing_sends_what_waits_first(sending: Sending) -> None:
    for _ in range(500):
        sending.lobby.say("hi")
    await sending.sender.close(within_s=20)
    assert len(sending.sink.got) == 500
    assert sending.sink.closed
    await sending.sender.close()


async def test_closing_waits_for_no_broker_that_is_away(sending: Sending) -> None:
    sending.sink.problem = "away"
    sending.sink.room = 0
    sending.lobby.say("hi")
    await sending.sender.close(within_s=60)
    assert sending.sink.closed


async def test_wrong_settings_are_said_at_the_start() -> None:
    sending = Sending()
    sending.sink.problem = "misconfigured"
    with pytest.raises(BrokerError):
        await sending.sender.start()
    await sending.sender.close()


async def test_the_backlog_is_counted(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: asyncio.Queue[int] = asyncio.Queue()
    monkeypatch.setattr(sender, "BACKLOG_S", 0.001)
    real_backlog = sending.store.backlog

    def backlog(done: Callable[[Any], None]) -> None:
        real_backlog(done)
        counted.put_nowait(sending.sender.backlog.events)

    monkeypatch.setattr(sending.store, "backlog", backlog)
    sending.sink.room = 0
    sending.lobby.fill(40)
    await sending.sender.count()
    assert sending.sender.backlog.events == 40
    sending.sink.room = None
    while await asyncio.wait_for(counted.get(), 20):
        pass


async def test_a_broker_that_stays_silent_is_a_problem(
    sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sending.sender.problem is None
    sending.sink.open.clear()
    sending.lobby.say("hi")
    attempts = sending.sink.attempts
    await sending.sink.until(lambda: sending.sink.attempts > attempts)
    monkeypatch.setattr(sender, "SILENT_S", 0.0)
    assert "confirmed nothing" in (sending.sender.problem or "")
    sending.sink.open.set()
    await sending.all_sent()
    await asyncio.sleep(0)
    monkeypatch.setattr(sender, "SILENT_S", 10.0)
    assert sending.sender.problem is None


class TestMetered:
    async def test_answers_pass_and_failures_too(self) -> None:
        async def add(one: int, other: int) -> int:
            await asyncio.sleep(0)
            return one + other

        async def fail() -> None:
            await asyncio.sleep(0)
            raise ValueError("no")

        metered = Metered(add(1, 2))
        assert await metered == 3
        assert metered.cpu_s > 0
        with pytest.raises(ValueError, match="no"):
            await Metered(fail())

    async def test_cancelling_passes(self) -> None:
        cancelled = []

        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(True)
                raise

        async def meter() -> None:
            await Metered(wait())

        task = asyncio.create_task(meter())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert cancelled == [True]

    async def test_what_others_do_meanwhile_is_not_its_own(self) -> None:
        async def wait(event: asyncio.Event) -> None:
            await event.wait()

        event = asyncio.Event()
        metered = Metered(wait(event))

        async def meter() -> None:
            await metered

        task = asyncio.create_task(meter())
        await asyncio.sleep(0)
        total = sum(range(3_000_000))
        event.set()
        await task
        assert total
        assert metered.cpu_s < 0.005
