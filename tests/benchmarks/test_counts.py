"""Instructions, allocations and system calls per operation: gates that no slow hour can fail."""

import dataclasses

import pytest

from benchmarks.counts.callgrind import parse_dump
from benchmarks.counts.gate import OTHER, SAME, find_grown, read_expected
from benchmarks.counts.run import (
    Instructions,
    Work,
    count_instructions,
    count_work,
    describe_environment,
    why_no_instructions,
)
from benchmarks.counts.workloads import SPAN_EVENTS, WORKLOADS

SWEEPS = {"sweep, one event": 1, "sweep, a span of 64": SPAN_EVENTS}

needs_valgrind = pytest.mark.skipif(why_no_instructions() is not None, reason=str(why_no_instructions()))


@pytest.fixture(scope="module")
def work() -> dict[str, Work]:
    """A call's own allocations may be one more or less than another's, hence the tolerances."""
    return count_work()


@pytest.mark.parametrize(("name", "messages"), SWEEPS.items())
def test_a_sweep_allocates_nothing_per_subscriber_and_sends_once(
    work: dict[str, Work], name: str, messages: int
) -> None:
    assert work[name].allocations == pytest.approx(0, abs=0.001)
    assert work[name].sends * messages == 1


def test_a_frame_is_allocated_once_whatever_its_size(work: dict[str, Work]) -> None:
    for name in ("parse frames of 64 B", "parse frames of 64 KiB", "encode an event as a frame"):
        assert work[name].allocations == pytest.approx(1, abs=0.05), name


def test_cutting_a_span_and_appending_allocate_nothing_per_event(work: dict[str, Work]) -> None:
    for name in ("cut a span of lines", "cut a span of frames", "append to a full ring"):
        assert work[name].allocations == pytest.approx(0, abs=0.05), name


def test_a_message_on_its_way_in_allocates_a_bounded_number_of_times(work: dict[str, Work]) -> None:
    """Python needs some 50 for a command, an event and an answer; the gate is for what multiplies them."""
    assert 1 < work["ingest"].allocations < 100


@needs_valgrind
@pytest.mark.timeout(240)
def test_instructions_have_not_grown() -> None:
    """One test, as it takes one run to have all counts, and some seconds to start Python under valgrind."""
    counts = count_instructions([workload.name for workload in WORKLOADS if workload.gated])
    assert find_grown(counts, describe_environment(), read_expected()) == []
    for name, messages in SWEEPS.items():
        sweep = counts[name]
        assert sweep.calls["send"] * messages == 1
        # Free lists included, which the count of allocations does not see.
        assert sweep.made == 0, sweep.calls
    for name, again in count_instructions(list(SWEEPS)).items():
        assert again.count == pytest.approx(counts[name].count, rel=0.01), "two runs count differently"


def test_everything_that_is_gated_is_expected() -> None:
    gated = {workload.name for workload in WORKLOADS if workload.gated}
    assert gated <= read_expected()["counts"].keys()


def test_what_grows_beyond_the_tolerance_is_found() -> None:
    environment = {"compiler": "gcc 12"}
    expected = {
        "environment": environment,
        "counts": {"sweep, one event": {"instructions": 500, "ratio": 10.0}},
    }
    now = Instructions(500, 10.0, {})

    def grown(ratio: float, **other: str) -> list[str]:
        counts = {"sweep, one event": dataclasses.replace(now, ratio=ratio)}
        return find_grown(counts, environment | other, expected)

    assert grown(9.9 * SAME) == []
    (line,) = grown(10.1 * SAME)
    assert line.startswith("sweep, one event: ")
    assert grown(10.1 * SAME, compiler="clang 19") == []
    assert grown(10.1 * OTHER, compiler="clang 19") != []


def test_calls_out_of_the_modules_are_read_from_a_dump() -> None:
    dump = parse_dump(
        "ob=(1) /python/fastchat/_fanout.cpython-311-x86_64-linux-gnu.so\n"
        "fn=(1) sweep\n12 40\n"
        "cfn=(2) flush\ncalls=3 0\n12 90\n"
        "cob=(2) /lib/libc.so.6\ncfn=(3) send\ncalls=3 0\n12 30\n"
        "cob=(3) /lib/libpython3.11.so.1.0\ncfn=(4) PyFloat_FromDouble\ncalls=1 0\n12 8\n"
        "ob=(3)\nfn=(4)\n5 8\ncfn=(5) malloc\ncalls=1 0\n5 2\n"
        "totals: 178\n"
    )
    assert dump.instructions == 178
    assert dump.calls == {"send": 3, "PyFloat_FromDouble": 1}
    assert Instructions(1, 1, {name: float(count) for name, count in dump.calls.items()}).made == 1
