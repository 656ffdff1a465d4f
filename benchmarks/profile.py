"""Profiles fastchat under load, as a flame graph: `python -m benchmarks.profile --case one`.

The server and the load are those of the other benchmarks. What is recorded is the part of the case that its
title names: connections are open before, unless opening them is the case.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import pathlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator

from .brokers import data_folder
from .flame import draw_flame
from .generator import Generator, Load, generator
from .processes import prepare_driver
from .programs import BUILD, ROOT, build_program
from .recorders import RECORDERS, CannotRecordError
from .report import RESULTS, save_results
from .servers import Server, fastchat
from .stacks import PARTS, Stack, share_by_function, share_by_part

PLOTS = ROOT / "docs" / "plots"
_TOP = 25


@dataclasses.dataclass(frozen=True)
class Size:
    """How much of everything; the cases take what concerns them."""

    dialect: str
    seconds: float
    subscribers: int
    senders: int = 10
    window: int = 64
    text_bytes: int = 64
    missed: int = 100


Run = Callable[[], list[Load]]
Prepared = contextlib.AbstractContextManager[tuple[Server, Run]]


@dataclasses.dataclass(frozen=True)
class Case:
    """``prepare`` starts everything that is not to be profiled, and yields what is."""

    title: str
    subscribers: int
    dialect: str
    recorders: tuple[str, ...]
    prepare: Callable[[Size], Prepared]


@contextlib.contextmanager
def _prepare_one(size: Size) -> Iterator[tuple[Server, Run]]:
    options = {"subscribers": size.subscribers, "text_bytes": size.text_bytes, "seconds": size.seconds}
    with fastchat() as server, generator(server, size.dialect, "one", **options) as load:
        load.run(20)
        yield server, lambda: [load.run()]


@contextlib.contextmanager
def _prepare_window(size: Size) -> Iterator[tuple[Server, Run]]:
    options = {"subscribers": size.subscribers, "text_bytes": size.text_bytes, "seconds": size.seconds}
    options |= {"senders": size.senders, "window": size.window, "lag": size.senders * size.window}
    with fastchat() as server, generator(server, size.dialect, "window", **options) as load:
        load.run(5000)
        yield server, lambda: [load.run()]


@contextlib.contextmanager
def _prepare_ingest(size: Size) -> Iterator[tuple[Server, Run]]:
    """A generator for each sender: one has all its senders in one room."""
    options: dict[str, float] = {"subscribers": 0, "senders": 1, "seconds": size.seconds}
    options |= {"window": size.window, "text_bytes": size.text_bytes}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(fastchat())
        loads = [
            stack.enter_context(
                generator(server, size.dialect, "window", **options, room=f"room{i}", prefix=f"u{i}x")
            )
            for i in range(size.senders)
        ]
        _run_all(loads, 1000)
        yield server, lambda: _run_all(loads)


def _run_all(loads: list[Generator], messages: int = 0) -> list[Load]:
    for load in loads:
        load.go(messages)
    return [load.result() for load in loads]


@contextlib.contextmanager
def _prepare_idle(size: Size) -> Iterator[tuple[Server, Run]]:
    """Pings are all there is, so they come twenty times as often as by default."""
    options = {"subscribers": size.subscribers, "seconds": size.seconds}
    with (
        fastchat("websocket.ping_interval_s=1") as server,
        generator(server, "ws", "idle", **options) as load,
    ):
        yield server, lambda: [load.run()]


@contextlib.contextmanager
def _prepare_herd(size: Size) -> Iterator[tuple[Server, Run]]:
    """Everyone connects, says hello and joins one room."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(fastchat())

        def come() -> list[Load]:
            options = {"subscribers": size.subscribers, "seconds": 1.0}
            stack.enter_context(generator(server, size.dialect, "idle", **options))
            return []

        yield server, come


@contextlib.contextmanager
def _prepare_resume(size: Size) -> Iterator[tuple[Server, Run]]:
    """A durable room whose ring holds next to nothing: what was missed comes from the file."""
    small_ring = 'rooms.classes=[{"pattern":"*","ring_bytes":1024}]'
    fill = {"subscribers": 0, "senders": size.senders, "window": size.window, "text_bytes": size.text_bytes}
    messages = 20 * size.missed
    come_back = {"subscribers": size.subscribers, "after": messages - size.missed, "grace": 60, "seconds": 60}
    with data_folder() as folder:
        store = f"sqlite://{folder / 'fastchat.db'}"
        with fastchat(store=store) as filling, generator(filling, "line", "window", **fill) as load:
            load.run(messages)
        with (
            fastchat(small_ring, store=store) as server,
            generator(server, size.dialect, "return", **come_back) as load,
        ):
            yield server, lambda: [load.run(size.missed)]


# py-spy names Python's functions, perf the kernel's: what comes first suits the case.
_PYTHON, _KERNEL = ("py-spy", "perf"), ("perf", "py-spy")
_OUTSTANDING = "10 senders with 64 outstanding each"

CASES = {
    "one": Case("one message at a time to {n:,} subscribers", 1000, "line", _KERNEL, _prepare_one),
    "window": Case(_OUTSTANDING + ", {n:,} subscribers", 1000, "line", _PYTHON, _prepare_window),
    "ingest": Case(_OUTSTANDING + ", alone in their rooms", 0, "line", _PYTHON, _prepare_ingest),
    "idle": Case("{n:,} idle connections and their pings", 10_000, "ws", _PYTHON, _prepare_idle),
    "herd": Case("{n:,} connect, say hello and join", 10_000, "ws", _PYTHON, _prepare_herd),
    "resume": Case("{n:,} come back, 100 messages behind", 5000, "line", _PYTHON, _prepare_resume),
}

DOCUMENTED = ("one", "window", "ingest", "herd")
"""Those that docs/profiling.md shows."""


@dataclasses.dataclass(frozen=True)
class Profile:
    stacks: Counter[Stack]
    recorder: str
    cpu_s: float
    loads: list[Load]


def record(case: Case, size: Size, recorders: tuple[str, ...], rate_hz: float) -> Profile:
    """Profiles the case with the first of the profilers that can. Raises CannotRecordError where none can."""
    reasons = []
    for name in recorders:
        with case.prepare(size) as (server, run):
            try:
                with RECORDERS[name](server.pid, rate_hz) as read_stacks:
                    before_s = server.cpu_s()
                    loads = run()
                    cpu_s = server.cpu_s() - before_s
                return Profile(read_stacks(), name, cpu_s, loads)
            except CannotRecordError as error:
                print(f"    {error}", flush=True)
                reasons.append(str(error))
    raise CannotRecordError("; ".join(reasons))


def format_profile(profile: Profile) -> str:
    """The shares of the parts, then the functions that cost most, as text."""
    lines = [f"{share:6.1%}  {part}" for part, share in share_by_part(profile.stacks).items()]
    lines += ["", "itself    with all it calls"]
    for frame, own, whole in share_by_function(profile.stacks)[:_TOP]:
        where = f"  ({frame.file})" if frame.file else ""
        lines.append(f"{own:6.1%}  {whole:6.1%}  {frame.name}{where}")
    return "\n".join(lines)


def _profile(name: str, options: argparse.Namespace) -> None:
    case = CASES[name]
    subscribers = options.subscribers or case.subscribers
    size = Size(options.dialect or case.dialect, options.seconds, subscribers)
    title = case.title.format(n=subscribers)
    recorders = (options.recorder,) if options.recorder else case.recorders
    profile = record(case, size, recorders, options.rate)
    samples = profile.stacks.total()
    print(f"\n{name}: {title}\n{samples:,} samples by {profile.recorder}, {profile.cpu_s:.2f} s of CPU time")
    for fault in filter(None, (load.faults for load in profile.loads)):
        print(f"    {fault}")
    print(format_profile(profile))
    if options.save:
        _save(name, title, profile)
    folder: pathlib.Path = PLOTS if options.save else BUILD
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"profile-{name}.svg"
    path.write_text(draw_flame(f"fastchat: {title} ({profile.recorder})", profile.stacks), encoding="utf-8")
    print(f"\nflame graph: {path.relative_to(ROOT)}", flush=True)


def _save(name: str, title: str, profile: Profile) -> None:
    """Adds the case's shares to the table for the documents; other cases stay as they were measured."""
    saved = RESULTS / "profile.json"
    cases = json.loads(saved.read_text(encoding="utf-8"))["cases"] if saved.exists() else {}
    shares = {part: round(share, 4) for part, share in share_by_part(profile.stacks).items()}
    cases[name] = {"title": title, "recorder": profile.recorder, "shares": shares}
    lines = ["| load | " + " | ".join(PARTS) + " | seen by |", "|---|" + "--:|" * len(PARTS) + "---|"]
    for case in (cases[key] for key in CASES if key in cases):
        cells = [f"{case['shares'][part]:.0%}" for part in PARTS]
        lines.append(f"| {case['title']} | {' | '.join(cells)} | {case['recorder']} |")
    save_results("profile", {"cases": cases}, {"profile": "\n".join(lines)})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument(
        "--case", action="append", choices=CASES, help="more than one may be given; default one"
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="how long, where the case has no end of its own"
    )
    parser.add_argument("--quick", action="store_true", help="the same as --seconds 2")
    parser.add_argument(
        "--subscribers", type=int, default=0, help="how many connections; each case has a default"
    )
    parser.add_argument("--dialect", choices=("line", "ws"), help="each case has a default")
    parser.add_argument(
        "--with", dest="recorder", choices=RECORDERS, help="the profiler; default: what suits the case"
    )
    parser.add_argument("--rate", type=float, default=199.0, help="samples per second")
    parser.add_argument(
        "--save", action="store_true", help="write to docs/plots, and the shares for `make report`"
    )
    options = parser.parse_args()
    if options.quick:
        options.seconds = 2.0
    build_program("load")
    prepare_driver()
    BUILD.mkdir(parents=True, exist_ok=True)
    try:
        for name in options.case or (DOCUMENTED if options.save else ["one"]):
            _profile(name, options)
    except CannotRecordError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
