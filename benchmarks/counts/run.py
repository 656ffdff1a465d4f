"""Runs the workloads in processes of their own, and makes counts per operation of what they report."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from benchmarks.programs import BUILD, ROOT

from .callgrind import Dump, parse_dump
from .child import REFERENCES
from .workloads import WORKLOADS, Workload

_SOURCE = pathlib.Path(__file__).with_name("probe.c")
_HEADER = "#include <valgrind/callgrind.h>"
# What makes an object, be it on the heap or from a free list.
_MAKER = re.compile(r"_?Py\w*(_New|_From[A-Z]\w*|Alloc|Malloc|_Append|_Concat|_Repeat|Copy)$")


@dataclasses.dataclass(frozen=True)
class Work:
    """What one operation does beside computing: calls of Python's allocators, and of what sends."""

    allocations: float
    sends: float


@dataclasses.dataclass(frozen=True)
class Instructions:
    """What one operation takes outside of the kernel.

    ``ratio`` is against the reference loop, which the same compiler has made. ``calls`` are those that leave
    the compiled modules, by name.
    """

    count: float
    ratio: float
    calls: dict[str, float]

    @property
    def made(self) -> float:
        """How many objects the compiled modules had made, on the heap or from a free list."""
        return sum(count for name, count in self.calls.items() if _MAKER.search(name))


def why_no_instructions() -> str | None:
    """None where instructions can be counted, else what is missing."""
    if shutil.which("valgrind") is None:
        return "valgrind is not installed; on Debian: apt-get install valgrind"
    compiled = subprocess.run(
        [*_compiler(), "-E", "-x", "c", "-"], input=_HEADER, capture_output=True, text=True, check=False
    )
    return (
        None if compiled.returncode == 0 else "valgrind/callgrind.h is missing; Debian's valgrind brings it"
    )


def count_work(names: Sequence[str] = ()) -> dict[str, Work]:
    """Allocations and sends of one operation of each workload, or of those that are named."""
    counted = json.loads(_run_child([], names))
    by_call = {(entry["workload"], entry["n"]): entry for entry in counted}
    work: dict[str, Work] = {}
    for workload in _chosen(names):
        small, large = (by_call[workload.name, n] for n in (workload.small, workload.large))
        work[workload.name] = Work(
            (large["allocations"] - small["allocations"]) / workload.operations,
            (large["sends"] - small["sends"]) / workload.operations,
        )
    return work


def count_instructions(names: Sequence[str] = ()) -> dict[str, Instructions]:
    """Instructions of one operation of each workload, or of those named; takes some ten seconds."""
    with tempfile.TemporaryDirectory(prefix="callgrind-", dir=_made(BUILD)) as folder:
        out = pathlib.Path(folder, "out")
        valgrind = ["valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no"]
        counted = json.loads(_run_child([*valgrind, f"--callgrind-out-file={out}"], names))
        dumps = {
            (entry["workload"], entry["n"]): parse_dump(
                out.with_suffix(f".{number}").read_text(errors="replace")
            )
            for number, entry in enumerate(counted, 1)
        }
    references = {
        name: (dumps[name, large].instructions - dumps[name, small].instructions) / (large - small)
        for name, (small, large) in REFERENCES.items()
    }
    return {workload.name: _per_operation(workload, dumps, references) for workload in _chosen(names)}


def _per_operation(
    workload: Workload, dumps: dict[tuple[str, int], Dump], references: dict[str, float]
) -> Instructions:
    small, large = (dumps[workload.name, n] for n in (workload.small, workload.large))
    count = (large.instructions - small.instructions) / workload.operations
    more = {name: large.calls[name] - small.calls[name] for name in large.calls}
    calls = {name: number / workload.operations for name, number in sorted(more.items()) if number}
    return Instructions(count, count / (references[workload.reference] * workload.rounds), calls)


def describe_environment() -> dict[str, str]:
    """What the counts depend on, beside the code: as far as it changes them by more than a few percent."""
    said = subprocess.run([*_compiler(), "-dumpversion"], capture_output=True, text=True, check=True).stdout
    return {
        "compiler": f"{pathlib.Path(_compiler()[0]).name} {said.split('.')[0].strip()}",
        "cython": ".".join(metadata.version("cython").split(".")[:2]),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "machine": os.uname().machine,
    }


def _chosen(names: Sequence[str]) -> list[Workload]:
    return [workload for workload in WORKLOADS if not names or workload.name in names]


def _run_child(prefix: list[str], names: Sequence[str]) -> str:
    """Runs the workloads in a process whose hashes, and so its dictionaries, are the same every time."""
    probe = _build_probe()
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    if not prefix:  # callgrind sees who calls `send`; it is started by a shell, which has no Python to probe
        environment["LD_PRELOAD"] = str(probe)
    command: list[Any] = [*prefix, sys.executable, "-m", f"{__package__}.child", probe, *names]
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(prefix[:1])} the workloads failed: {done.stderr.strip()[-2000:]}")
    return done.stdout


@functools.cache
def _build_probe() -> pathlib.Path:
    """Compiles the library for this Python, with the compiler and the optimization of the modules."""
    library = _made(BUILD) / f"probe-{sys.implementation.cache_tag}.so"
    made = library.with_suffix(f".{os.getpid()}")
    flags = [
        "-std=c11",
        "-O3",
        "-Wall",
        "-Wextra",
        "-shared",
        "-fPIC",
        "-isystem",
        sysconfig.get_path("include"),
    ]
    subprocess.run([*_compiler(), *flags, "-o", str(made), str(_SOURCE)], check=True)
    made.replace(library)
    return library


@functools.cache
def _compiler() -> list[str]:
    return (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()


def _made(folder: pathlib.Path) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
