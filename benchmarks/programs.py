"""The C programs: where they are and how they are compiled."""

from __future__ import annotations

import functools
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "benchmarks"

_SOURCES = {
    "send_floor": ("floors/send_floor.c", "floors/floor.c"),
    "writev_floor": ("floors/writev_floor.c", "floors/floor.c"),
    "handshake_floor": ("floors/handshake_floor.c",),
    "load": ("load/main.c", "load/options.c", "load/phase.c", "load/connection.c", "load/dialect.c",
             "load/websocket.c", "load/echo.c", "load/nats.c", "load/amqp.c", "load/mqtt.c", "load/irc.c",
             "load/ledger.c", "load/histogram.c"),
}  # fmt: skip
_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion")


@functools.cache
def build_program(name: str) -> pathlib.Path:
    """Compile the program where its sources are newer and return its path."""
    sources = [ROOT / "benchmarks" / source for source in _SOURCES[name]]
    inputs = [file for source in sources for file in source.parent.glob("*.[ch]")]
    program = BUILD / name
    if not program.exists() or program.stat().st_mtime < max(file.stat().st_mtime for file in inputs):
        BUILD.mkdir(parents=True, exist_ok=True)
        compiler = os.environ.get("CC", "cc")
        # Two processes may compile at once, and neither may start what the other has half written.
        made = program.with_name(f"{name}.{os.getpid()}")
        subprocess.run([compiler, *_FLAGS, "-o", str(made), *map(str, sources)], check=True)
        made.replace(program)
    return program
