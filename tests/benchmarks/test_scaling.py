"""What is computed of how a chat grows: by hand for round numbers, and from nothing but what was saved."""

import dataclasses
import json
import math
import re

import pytest

from benchmarks.report import RESULTS, ROOT
from benchmarks.scaling.inputs import Bus, Inputs, read_inputs
from benchmarks.scaling.sizing import Load, Size, size
from benchmarks.scaling.tables import people_at, tabulate_inputs

GIVEN = Inputs(
    connection_bytes=2000,
    room_bytes=100,
    deliveries_one=100_000,
    deliveries_saturated=10_000_000,
    handshakes=10_000,
    ingest=50_000,
    one_node=50_000,  # 20 µs
    by_bus={"NATS": Bus(100, 200, 20_000, 100_000, 50, 60, "nats-py alone", 70, 80)},  # 50 µs by three
    session_bytes=400,
    session_room_bytes=100,
    session_us=6,
    session_bus_bytes=120,
    rooms=5,
    read_us=2,
    read_bus_bytes=30,
    message_bus_bytes=200,
    skim_us=3,
    commit_us=500,
    commit_message_us=100,
    commits=1000,
    commits_together=2000,
    disk_bytes=1000,
    log_bytes=1500,
)
NAMES = {
    "conn": "connection_bytes",
    "room": "room_bytes",
    "one": "deliveries_one",
    "hands": "handshakes",
    "ingest": "ingest",
    "person": "session_bytes",
    "place": "session_room_bytes",
    "hear": "session_us",
    "read": "read_us",
    "line": "message_bus_bytes",
    "skim": "skim_us",
    "commit": "commit_us",
    "more": "commit_message_us",
    "turn": "commits",
    "disk": "disk_bytes",
    "log": "log_bytes",
}
"""What inputs are called in the document."""

COMPUTED = {
    "nodes": "nodes",
    "memory": "own_bytes",
    "elsewhere": "remote_bytes",
    "deliveries": "deliveries_per_s",
    "handed_out": "bus_deliveries_per_s",
    "cpu_own": "cpu_deliveries",
    "cpu_others": "cpu_others",
    "cpu_people": "cpu_people",
    "commits": "commits_per_s",
    "cpu_base": "cpu_database",
    "disk_a_day": "disk_bytes_per_day",
    "log_a_s": "log_bytes_per_s",
    "herd": "herd_s",
}

LOAD = Load(
    360_000,
    rooms=4,
    messages_per_h=10,
    people_in_room=20,
    reads_per_h=30,
    stay_h=2,
    busy_h_per_day=10,
    connections_per_node=90_000,
)


def test_sizes_are_those_computed_by_hand() -> None:
    expected = Size(
        nodes=4,
        connections=90_000,
        own_bytes=90_000 * (2000 + 3 * 100),
        remote_bytes=270_000 * (400 + 4 * 100),
        messages_per_s=1000,
        deliveries_per_s=20_000,
        records_per_s=300 + 3000,
        heard_bytes_per_s=0.75 * (1000 * 200 + 300 * 20 + 3000 * 30),
        bus_deliveries_per_s=(1000 + 3300) * 3,
        cpu_deliveries=0.05 + 0.005,
        cpu_others=0.75 * 1000 * 15e-6,
        cpu_people=0.75 * (300 * 1e-6 + 3000 * 2e-6),
        commits_per_s=1000,
        cpu_database=0.5,
        disk_bytes_per_day=36e9,
        log_bytes_per_s=1_500_000,
        herd_s=9 + 270_000 * 6e-6,
        snapshot_bytes=270_000 * 120,
        snapshot_s=270_000 * 6e-6,
    )
    found = size(LOAD, GIVEN)
    assert dataclasses.asdict(found) == pytest.approx(dataclasses.asdict(expected))
    assert found.cpu_node == pytest.approx(0.055 + 0.01125 + 0.004725)


def test_messages_beyond_what_nodes_commit_share_commits() -> None:
    found = size(dataclasses.replace(LOAD, messages_per_h=60), GIVEN)
    assert (found.messages_per_s, found.commits_per_s) == (6000, 4000)
    assert found.cpu_database == pytest.approx(4000 * 400e-6 + 6000 * 100e-6)


def test_one_node_hears_of_nobody() -> None:
    found = size(dataclasses.replace(LOAD, connections_per_node=360_000), GIVEN)
    elsewhere = found.remote_bytes, found.heard_bytes_per_s, found.bus_deliveries_per_s, found.snapshot_s
    assert (found.nodes, elsewhere, found.cpu_others + found.cpu_people) == (1, (0, 0, 0, 0), 0)


def test_the_number_of_people_that_comes_to_a_bound_is_the_least() -> None:
    people = people_at(GIVEN, 5, "nodes")
    assert (people, size(Load(people), GIVEN).nodes, size(Load(people - 1), GIVEN).nodes) == (200_001, 5, 4)


def test_inputs_are_what_was_saved() -> None:
    inputs = read_inputs(RESULTS)
    nodes, scaling = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("nodes", "scaling"))
    assert {name: (bus.delay_p50_us, bus.delay_p99_us) for name, bus in inputs.by_bus.items()} == {
        name: (delay["p50_us"], delay["p99_us"]) for name, delay in nodes["second_node"].items()
    }
    alone, wide = scaling["commits"][0], scaling["commits"][2]
    assert (inputs.commit_us, inputs.disk_bytes) == (alone["cpu_us_per_commit"], alone["disk_bytes"])
    # A commit of as many as were measured takes what was measured.
    joined = wide["messages_per_s"] / wide["commits_per_s"]
    assert inputs.commit_us + (joined - 1) * inputs.commit_message_us == pytest.approx(
        wide["cpu_us_per_commit"]
    )


def test_the_formulas_of_the_document_are_those_of_the_tables() -> None:
    text = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    (formulas,) = re.findall(r"\n```\n(.*?)```", text, re.DOTALL)
    assumed = re.findall(r"^\| `(\w+)` \| [^|]+\| ([\d,]*) ?\|$", text, re.MULTILINE)
    names: dict[str, float] = {name: float(value.replace(",", "") or 1_000_000) for name, value in assumed}
    inputs = read_inputs(RESULTS)
    measured = {name: getattr(inputs, field) for name, field in NAMES.items()}
    assert set(re.findall(r"`(\w+)` \|", tabulate_inputs(inputs))) == set(measured)
    names |= measured | {"node": inputs.further_node_us("NATS")}
    for name in (*(name for name, field in NAMES.items() if field.endswith("_us")), "node"):
        names[name] /= 1e6  # the formulas are in seconds
    exec(formulas, {"min": min, "ceil": math.ceil}, names)
    found = dataclasses.asdict(size(Load(1_000_000), inputs))
    assert {field: names[name] for name, field in COMPUTED.items()} == pytest.approx(
        {field: found[field] for field in COMPUTED.values()}
    )
