"""The profilers, as processes that record one other process: py-spy and perf."""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator

from .processes import LOAD_CORE, SERVER_CORE, prefer, start_process
from .programs import BUILD
from .stacks import Stack, parse_perf, parse_py_spy

_START_TIMEOUT_S = 20.0
# Deep enough for the stack from the interpreter's entry to a `send`, some 60 frames.
_STACK_BYTES = 16384


class CannotRecordError(Exception):
    """The profiler is not installed, or may not look at the process; the text says what to do."""


Recorder = Callable[[int, float], contextlib.AbstractContextManager[Callable[[], Counter[Stack]]]]
"""Records a process, so many samples per second, while its block runs; yields what reads the stacks then."""


@contextlib.contextmanager
def record_with_py_spy(pid: int, rate_hz: float) -> Iterator[Callable[[], Counter[Stack]]]:
    """Names Python's functions as well as C's; sees of the kernel which system call was running.

    It stops the process for each sample, so it runs on the process's core and before it: on another core it
    would be held up by the load generator, and sample when that is idle, which is when the server is not.
    """
    program = pathlib.Path(sys.executable).with_name("py-spy")
    if not program.exists():
        raise CannotRecordError("py-spy is not installed: pip install py-spy")
    raw = BUILD / "profile.raw"
    command = [str(program), "record", "--native", "--format", "raw", "--pid", str(pid), "--output", str(raw)]
    command += ["--rate", f"{rate_hz:.0f}", "--duration", "3600"]
    process = start_process(SERVER_CORE, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with _running(process):
        prefer(process.pid)
        _wait_for(process, b"Sampling process", "py-spy")
        yield lambda: parse_py_spy(raw.read_text(encoding="utf-8"))


@contextlib.contextmanager
def record_with_perf(pid: int, rate_hz: float) -> Iterator[Callable[[], Counter[Stack]]]:
    """Names the kernel's functions as well as C's; of Python it sees the interpreter, not what it runs."""
    program = shutil.which("perf")
    if program is None:
        raise CannotRecordError("perf is not installed; on Debian: apt-get install linux-perf")
    data = BUILD / "profile.data"
    control_read, control_write = os.pipe()
    answer_read, answer_write = os.pipe()
    command = [program, "record", "--quiet", "--pid", str(pid), "--output", str(data), "--delay=-1"]
    command += [f"--freq={rate_hz:.0f}", f"--call-graph=dwarf,{_STACK_BYTES}"]
    command += [f"--control=fd:{control_read},{answer_write}"]
    process = start_process(
        LOAD_CORE,
        command,
        pass_fds=[control_read, answer_write],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    os.close(control_read)
    os.close(answer_write)
    with (
        os.fdopen(control_write, "wb", buffering=0) as control,
        os.fdopen(answer_read, "rb") as answer,
        _running(process),
    ):
        control.write(b"enable\n")
        if not select.select([answer], [], [], _START_TIMEOUT_S)[0] or not answer.readline():
            raise CannotRecordError(f"perf cannot record: {_last_words(process)}")
        yield lambda: parse_perf(_read_perf(program, data))


RECORDERS: dict[str, Recorder] = {"py-spy": record_with_py_spy, "perf": record_with_perf}


def _read_perf(program: str, data: pathlib.Path) -> str:
    command = [program, "script", "--input", str(data), "--no-inline", "--fields", "comm,ip,sym,dso"]
    return subprocess.run(command, check=True, capture_output=True, text=True, errors="replace").stdout


@contextlib.contextmanager
def _running(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """At the end the profiler is interrupted, which has it write its file, and waited for."""
    assert process.stdout is not None
    try:
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate()


def _wait_for(process: subprocess.Popen[bytes], words: bytes, name: str) -> None:
    assert process.stdout is not None
    said = b""
    while words not in said:
        ready = select.select([process.stdout], [], [], _START_TIMEOUT_S)[0]
        more = os.read(process.stdout.fileno(), 65536) if ready else b""
        if not more:
            process.kill()
            raise CannotRecordError(f"{name} cannot record: {_last_line(said)}")
        said += more


def _last_words(process: subprocess.Popen[bytes]) -> str:
    process.kill()
    return _last_line(process.communicate()[0])


def _last_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it says nothing"
