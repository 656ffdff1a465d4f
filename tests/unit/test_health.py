"""Health: what is tried, by whom, how often; and what is said of it, also to Prometheus."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from fastchat import health
from fastchat.health import SHARED_S, Health, Parts, Prober
from fastchat.inbox import Authors, Executor, Receiver
from fastchat.metrics import Metrics
from fastchat.store import Store
from tests.inboxes import FakeSource
from tests.parties import Party
from tests.slow_store import SlowStore


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Asked:
    """A probe that answers when the test says so."""

    def __init__(self) -> None:
        self.answers: list[asyncio.Future[str | None]] = []

    def __call__(self) -> Awaitable[str | None]:
        self.answers.append(asyncio.get_running_loop().create_future())
        return self.answers[-1]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_all_who_ask_at_once_share_one_probe() -> None:
    store, clock = Asked(), Clock()
    prober = Prober({"store": store}, clock)
    asking = [asyncio.create_task(prober.check()) for _ in range(100)]
    await turns()
    assert len(store.answers) == 1
    clock.now += 0.25
    store.answers[0].set_result("full")
    assert [await one for one in asking] == [{"store": "full"}] * 100
    assert prober.took_s == {"store": 0.25}


async def test_an_answer_holds_for_a_second() -> None:
    store, clock = Asked(), Clock()
    prober = Prober({"store": store}, clock)
    for answer in ("full", None):
        asking = asyncio.create_task(prober.check())
        await turns()
        store.answers[-1].set_result(answer)
        assert await asking == {"store": answer}
        clock.now += SHARED_S / 2
        assert await prober.check() == {"store": answer}
        clock.now += SHARED_S / 2
    assert len(store.answers) == 2


async def test_a_part_that_hangs_is_told_in_time_and_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PROBE_TIMEOUT_S", 0.01)
    store, bus, clock = Asked(), Asked(), Clock()
    prober = Prober({"store": store, "bus": bus}, clock)
    for count in (1, 2, 3):
        asking = asyncio.create_task(prober.check())
        await turns()
        bus.answers[-1].set_result(None)
        assert await asking == {"store": "no answer within 0.01 s", "bus": None}
        assert (len(store.answers), len(bus.answers)) == (1, count)
        clock.now += SHARED_S
    store.answers[0].set_result(None)
    asking = asyncio.create_task(prober.check())
    await turns()
    bus.answers[-1].set_result(None)
    assert await asking == {"store": None, "bus": None}
    await prober.close()


async def test_who_asks_and_goes_away_takes_nothing_from_the_others() -> None:
    store = Asked()
    prober = Prober({"store": store})
    impatient, patient = asyncio.create_task(prober.check()), asyncio.create_task(prober.check())
    await turns()
    impatient.cancel()
    await turns()
    store.answers[0].set_result(None)
    assert await patient == {"store": None}


async def test_a_probe_that_fails_is_a_part_that_fails() -> None:
    async def fail() -> str | None:
        raise ZeroDivisionError

    with capture_logs() as logs:
        assert await Prober({"store": fail}).check() == {"store": "it could not be tried; the log says why"}
    assert [(log["event"], log["part"]) for log in logs] == [("a probe failed", "store")]


async def test_closing_gives_up_what_hangs() -> None:
    store = Asked()
    prober = Prober({"store": store})
    asking = asyncio.create_task(prober.check())
    await turns()
    await prober.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert store.answers[0].cancelled()


def health_of(store: Store) -> tuple[Party, Health]:
    party = Party(store=store)
    return party, Health("1.2.3", Parts(party.chat, store))


def executor_of(party: Party) -> Executor:
    return Executor(party.hub, party.chat.profiles.line, party.limits, Authors(party.hub), party.wall_ms)


async def check(told: Health, answer: Callable[[], None]) -> tuple[str, str | None, dict[str, str]]:
    asking = asyncio.create_task(told.readiness())
    await turns()
    answer()
    report = await asking
    return report.status, report.reason, report.parts


async def test_the_store_is_written_to_and_read() -> None:
    store = SlowStore()
    _, told = health_of(store)
    assert await check(told, lambda: store.answer(1)) == ("ready", None, {"store": "ok"})


async def test_a_store_that_fails_makes_it_unavailable() -> None:
    store = SlowStore()
    _, told = health_of(store)
    status, reason, parts = await check(told, store.fail)
    assert (status, reason) == ("unavailable", "store: the disk is full")
    assert parts == {"store": "the disk is full"}


async def test_a_store_that_says_so_is_not_tried() -> None:
    store = SlowStore()
    store.problem = "no such disk"
    _, told = health_of(store)
    assert await check(told, lambda: None) == (
        "unavailable", "store: no such disk", {"store": "no such disk"},
    )  # fmt: skip
    assert told.report().store == "no such disk"


async def test_a_broker_that_is_away_is_told_and_no_reason_to_go() -> None:
    store, source = SlowStore(hold=False), FakeSource()
    source.problem = "connection refused"
    party, told = health_of(store)
    told.parts.inbox = Receiver(source, executor_of(party))
    assert await check(told, lambda: None) == (
        "ready", None, {"store": "ok", "broker": "connection refused"},
    )  # fmt: skip


async def test_a_server_that_drains_is_not_tried() -> None:
    store = SlowStore()
    _, told = health_of(store)
    told.draining = True
    assert await check(told, lambda: None) == ("unavailable", "the server is draining", {})
    assert store.waiting == []
    assert told.report().status == "draining"


async def metrics_of(told: Health) -> dict[tuple[str, str], float]:
    text = (await Metrics(told).encode()).decode()
    return {
        (sample.name, ",".join(filter(None, sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics_are_the_servers_own_counters() -> None:
    store, source = SlowStore(hold=False), FakeSource()
    party, told = health_of(store)
    told.parts.inbox = Receiver(source, executor_of(party))
    alice, _ = party.program("alice", "lobby"), party.program("bob", "lobby")
    alice.ask("send", room="lobby", text="hi")
    source.deliver({"command": "post", "id": "1", "room": "lobby", "text": "hi"})
    source.deliver(b"nonsense")
    party.settle()
    await told.readiness()
    found = await metrics_of(told)
    assert found["fastchat_info", "1.2.3"] == 1
    assert found["fastchat_rooms", ""] == 1
    assert found["fastchat_events_total", ""] == party.hub.fanout.events >= 2
    assert found["fastchat_deliveries_total", ""] == party.hub.fanout.deliveries
    assert found["fastchat_available", "store"] == found["fastchat_available", "broker"] == 1
    assert found["fastchat_probe_seconds", "store"] >= 0
    outcomes = {what: found["fastchat_inbox_commands_total", what] for what in ("accepted", "rejected")}
    assert outcomes == {"accepted": 1, "rejected": 1}
    assert found["process_open_fds", ""] > 0
    store.problem = "full"
    source.problem = "away"
    found = await metrics_of(told)
    assert found["fastchat_available", "store"] == found["fastchat_available", "broker"] == 0
