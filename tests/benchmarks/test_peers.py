"""The peers' programs do what a chat room has to; and what is said of a run follows from its numbers."""

import asyncio
import contextlib
import dataclasses
import sys
from collections.abc import Iterable

import pytest
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.peers import fan_out, idle
from benchmarks.peers.__main__ import Run
from benchmarks.peers.measurement import (
    Measurement,
    Measurements,
    claimed_rankings,
    disagreements,
    shared_claims,
)
from benchmarks.peers.peer import Peer, run_server
from benchmarks.peers.plan import FULL, QUICK
from benchmarks.peers.python import PYTHON
from benchmarks.peers.syscalls import parse_counts
from benchmarks.peers.tables import About, make_tables, stuck_outcome

MESSAGES = 5
TIMEOUT_S = 10


# ---- the programs ----


@pytest.mark.parametrize("peer", PYTHON, ids=lambda peer: peer.name)
async def test_everyone_gets_each_message_once_and_in_order(peer: Peer) -> None:
    if (install := peer.missing()) is not None:
        pytest.skip(install)
    with peer.start() as server:
        async with asyncio.timeout(TIMEOUT_S), contextlib.AsyncExitStack() as stack:
            url = f"ws://127.0.0.1:{server.line_port}/ws"
            clients = [await stack.enter_async_context(connect(url, compression=None)) for _ in range(3)]
            for number in range(MESSAGES):
                for name, client in enumerate(clients):
                    await client.send(f"{name} {number} \u00fc")
            received = [await receive(client, MESSAGES * len(clients)) for client in clients]
            await quiet(clients)
    for messages in received:
        for name in range(len(clients)):
            said = [message for message in messages if message.startswith(f"{name} ")]
            assert said == [f"{name} {number} \u00fc" for number in range(MESSAGES)]


async def receive(client: ClientConnection, count: int) -> list[str]:
    messages = [await client.recv() for _ in range(count)]
    assert all(isinstance(message, str) for message in messages), "a text has to stay one"
    return [str(message) for message in messages]


async def quiet(clients: Iterable[ClientConnection]) -> None:
    """One more message is the next that everyone gets: nothing came twice behind what was expected."""
    for number, sender in enumerate(clients):
        await sender.send(f"last {number}")
        for client in clients:
            assert await client.recv() == f"last {number}"


# ---- peers that fail ----

NEVER_ACCEPTS = (
    "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(60)"
)
HANGS_UP = """
import socket, sys
s = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    s.accept()[0].close()
"""


def bad_peer(name: str, program: str) -> Peer:
    return dataclasses.replace(
        PYTHON[0],
        name=name,
        dialect="echo-ws",
        missing=lambda: None,
        start=lambda: run_server(name, lambda port: [sys.executable, "-c", program, str(port)]),
    )


def test_whatever_a_peer_does_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "_LIMIT_S", 0.5)
    peers = [
        bad_peer("hangs", NEVER_ACCEPTS),
        bad_peer("closes", HANGS_UP),
        bad_peer("ends", "raise SystemExit"),
    ]
    run = Run(dataclasses.replace(QUICK, rounds=2, idle_warm_up=3), ["idle"], peers)
    run.measure()
    [hangs], [closes], [ends] = (run.results.faults("idle", peer.name) for peer in peers)
    assert "not done after" in hangs
    assert "ended before it had joined" in closes
    assert "did not start" in ends
    assert len(run.results.all) == len(peers), "what has failed is not tried again"


# ---- what is said of a run ----


def run_of(case: str, value: str, **rounds: list[float]) -> Measurements:
    return Measurements(
        Measurement(case, peer, number, {value: figure})
        for peer, figures in rounds.items()
        for number, figure in enumerate(figures, 1)
    )


def test_only_a_clear_lead_of_medians_is_claimed() -> None:
    run = run_of("one-1000", "deliveries_per_cpu_s", a=[290, 310, 320], b=[200, 210, 220], c=[150, 160, 170])
    assert [(found.better, found.worse) for found in claimed_rankings(run)] == [("a", "c")]


def test_nothing_is_claimed_where_rounds_overlap() -> None:
    run = run_of("one-1000", "deliveries_per_cpu_s", a=[180, 510, 520], b=[200, 210, 220])
    assert claimed_rankings(run) == []
    delays = run_of("delay-100", "p99_ms", a=[3.0, 4.0, 40.0], b=[20.0, 30.0, 50.0])
    assert claimed_rankings(delays) == []


def test_less_is_better_of_delays() -> None:
    run = run_of("delay-100", "p99_ms", slow=[30.0], fast=[3.0])
    assert [(found.better, found.worse, found.ratio) for found in claimed_rankings(run)] == [
        ("fast", "slow", 10.0)
    ]


def test_who_lost_messages_is_not_ranked() -> None:
    run = run_of("one-1000", "deliveries_per_cpu_s", a=[900.0], b=[100.0])
    run.add(Measurement("one-1000", "a", 2, {"deliveries_per_cpu_s": 900.0}, "lost 7"))
    assert claimed_rankings(run) == []


def test_runs_disagree_where_a_claim_is_reversed() -> None:
    run = run_of("idle", "bytes_each", a=[100.0], b=[300.0], c=[310.0])
    close = run_of("idle", "bytes_each", a=[290.0], b=[300.0], c=[280.0])
    assert disagreements(run, run_of("idle", "bytes_each", a=[200.0], b=[210.0])) == []
    [(ranking, ratio)] = disagreements(run, close)
    assert (ranking.better, ranking.worse) == ("a", "c")
    assert ratio == pytest.approx(280 / 290)


def test_either_run_may_claim() -> None:
    equal = run_of("idle", "handshakes_per_cpu_s", a=[101.0], b=[100.0])
    apart = run_of("idle", "handshakes_per_cpu_s", a=[100.0], b=[200.0])
    assert shared_claims(equal, apart) == shared_claims(apart, apart) == 1
    assert shared_claims(equal, run_of("idle", "bytes_each", a=[100.0], b=[200.0])) == 0
    assert [ranking.better for ranking, _ in disagreements(equal, apart)] == ["b"]


def test_a_run_survives_being_saved() -> None:
    run = run_of("idle", "bytes_each", a=[100.0, 200.0])
    assert Measurements.from_json(run.as_json()).all == run.all


# ---- tables ----

ABOUT = [About("slow", "C", "1.0", "nothing"), About("fast", "Rust", "2.0", "everything")]


def test_the_best_comes_first_and_faults_are_shown() -> None:
    run = run_of("saturated-1000", "deliveries_per_cpu_s", slow=[1e5, 2e5, 3e5], fast=[1e6, 2e6, 4e6])
    run.add(Measurement("one-1000", "slow", 1, {"deliveries_per_cpu_s": 5e4}, "lost 12"))
    table = make_tables(run, FULL, ABOUT, {})["peers-fan-out"].splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| fast", "| slow"]
    assert "1 M … 4 M" in table[2]
    assert "50 k; lost 12" in table[3]


def test_what_could_not_be_measured_is_named() -> None:
    table = make_tables(Measurements(), FULL, ABOUT, {"absent": "apt install absent"})["peers-versions"]
    assert "| absent |  | not measured | not installed: apt install absent |" in table.splitlines()


@pytest.mark.parametrize(
    ("received", "told", "closed", "outcome"),
    [
        (1.0, 0.0, 0.0, "everything"),
        (0.4, 0.0, 0.0, "40%, no word of the rest"),
        (0.4, 1.0, 0.0, "40%, and is told which are missing"),
        (0.4, 0.0, 1.0, "40%, then it is disconnected"),
    ],
)
def test_what_a_stuck_member_knows(received: float, told: float, closed: float, outcome: str) -> None:
    values = {"stuck_received": received, "stuck_told": told, "stuck_closed": closed}
    assert stuck_outcome(Measurements([Measurement("stuck", "peer", 1, values)]), "peer") == outcome


def test_what_stops_a_group_is_said_where_a_figure_is_absent() -> None:
    run = run_of("one-1000", "deliveries_per_cpu_s", fast=[1e6])
    run.add(Measurement("fan-out", "fast", 1, {}, "failed: it ended"))
    rows = make_tables(run, FULL, ABOUT, {})["peers-fan-out"].splitlines()
    assert any(row.startswith("| fast | 1 M | 1 M … 1 M | failed: it ended |") for row in rows)


def test_a_case_that_failed_says_how() -> None:
    run = Measurements([Measurement("stuck", "peer", 1, {}, "not done after 90 s")])
    assert stuck_outcome(run, "peer") == "not done after 90 s"


def test_windows_are_tried_up_to_the_peak() -> None:
    plan = dataclasses.replace(FULL, senders=10, trial_members=1000)
    assert fan_out.is_worth_trying(plan, {}, 64)
    assert fan_out.is_worth_trying(plan, {1: 1e6, 4: 3e6}, 16)
    assert fan_out.is_worth_trying(plan, {1: 1e6, 4: 3e6, 8: 1e6}, 16), "one may be a bad moment"
    assert not fan_out.is_worth_trying(plan, {1: 1e6, 4: 3e6, 8: 1e6, 16: 2e5}, 64), "past the peak"
    assert not fan_out.is_worth_trying(plan, {1: 1e5}, 64), "it would be busy for six seconds"


def test_windows_that_take_too_long_are_not_used() -> None:
    rates = {1: 1e5, 4: 3e5, 16: 2e5, 64: 0.0}
    assert fan_out.best_windows(FULL, rates, 1000) == [4, 16, 1]
    assert fan_out.best_windows(FULL, rates, 5000) == [4, 1]
    assert fan_out.best_windows(FULL, {16: 1e5}, 5000) == []


def test_system_calls_are_summed_over_the_kinds_that_send() -> None:
    said = "1200,,syscalls:sys_enter_sendto,1,100.00,,\n34,,syscalls:sys_enter_writev,1,100.00,,\n"
    said += "<not counted>,,syscalls:sys_enter_write,0,100.00,,\nevent syntax error\n"
    assert parse_counts(said) == 1234
