"""Call stacks as profilers write them: read, named, sorted by whose code it is. Pure: text in, counts out.

A stack is a tuple of frames from the event loop (or the thread's function) outwards; what calls the loop is
the same in all of them and is left out, and so are functions that the compiler has inlined from a header.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Iterator

KERNEL = "kernel"
UVLOOP = "uvloop"
COMPILED = "fastchat, compiled"
PYTHON = "fastchat, Python"
OTHER_PYTHON = "other Python"
C_LIBRARIES = "C libraries"
PARTS = (KERNEL, UVLOOP, COMPILED, PYTHON, OTHER_PYTHON, C_LIBRARIES)


@dataclasses.dataclass(frozen=True)
class Frame:
    """A function, the file that it is in, and which of `PARTS` it belongs to."""

    name: str
    file: str
    part: str


Stack = tuple[Frame, ...]

# libc's functions that do nothing but enter the kernel: py-spy sees them, and nothing beyond.
_SYSTEM_CALL = re.compile(
    r"accept4?|bind|close|connect|epoll_(ctl|p?wait)|fcntl|f(data)?sync|get(peer|sock)name|[gs]etsockopt|getrandom"
    r"|ioctl|listen|madvise|munmap|mmap|p?(read|write)(64|v)?|recv(from|msg)?|send(to|msg)?|shutdown|socket|syscall"
)
_LIBUV_FILES = re.compile(r"(linux|stream|core|tcp|timer|loop|loop-watcher|async|poll|fs|unix|uv-common)\.c$")
_FRAME = re.compile(r"(?P<name>.*) \((?P<file>.*?)(?::\d+)?\)$")
_MANGLED = re.compile(r"__pyx_(?:f|pf|pw)_(?=\d)")
# What a turn of the event loop begins with, and a thread; Runner.run where py-spy found no C frames.
_OUTERMOST = frozenset({"uv_run", "Loop__run", "Loop__Loop__run", "Runner.run", "Thread.run"})
# A thread that waits for an event or a lock uses no processor, but py-spy does not always notice.
_WAITING = frozenset({"epoll_pwait", "epoll_wait", "PyThread_acquire_lock_timed", "pthread_cond_timedwait"})


def parse_py_spy(text: str) -> Counter[Stack]:
    """Reads `py-spy record --format raw`: a line is `frame;frame;... samples`, the outermost frame first."""
    stacks: Counter[Stack] = Counter()
    for line in text.splitlines():
        text, _, samples = line.rpartition(" ")
        frames = [_name_frame(frame) for frame in text.split(";")]
        if not any(frame.name in _WAITING for frame in frames):
            stacks[_tidy(frames)] += int(samples)
    return stacks


def parse_perf(text: str) -> Counter[Stack]:
    """Reads `perf script -F comm,ip,sym,dso`: a paragraph per sample, its innermost frame first."""
    stacks: Counter[Stack] = Counter()
    for paragraph in text.split("\n\n"):
        frames = [_name_perf_frame(line) for line in reversed(paragraph.strip().splitlines()[1:])]
        if frames:
            stacks[_tidy(frames)] += 1
    return stacks


def share_by_part(stacks: Counter[Stack]) -> dict[str, float]:
    """Which part of the samples was taken in each part's own code: what it called is not its own."""
    own: Counter[str] = Counter()
    for stack, samples in stacks.items():
        own[stack[-1].part] += samples
    total = max(own.total(), 1)
    return {part: own[part] / total for part in PARTS}


def share_by_function(stacks: Counter[Stack]) -> list[tuple[Frame, float, float]]:
    """Each function with its own share and its share with all that it called, the largest own share first."""
    own: Counter[Frame] = Counter()
    whole: Counter[Frame] = Counter()
    for stack, samples in stacks.items():
        own[stack[-1]] += samples
        for frame in set(stack):
            whole[frame] += samples
    total = max(own.total(), 1)
    return [(frame, own[frame] / total, samples / total) for frame, samples in _by_own(whole, own)]


def _by_own(whole: Counter[Frame], own: Counter[Frame]) -> Iterable[tuple[Frame, int]]:
    return sorted(whole.items(), key=lambda item: (-own[item[0]], -item[1], item[0].name))


def _name_frame(text: str) -> Frame:
    """A frame as py-spy writes it: `name (file:line)`."""
    match = _FRAME.match(text)
    name, file = (match["name"], match["file"]) if match else (text, "")
    if name.startswith("0x"):  # no symbol: the library has to do
        name = file.rpartition("/")[2].partition(".")[0]
    return Frame(name.partition(".cold")[0], file, _part(name, file))


def _name_perf_frame(line: str) -> Frame:
    """A frame as perf writes it: `address name (file)`, or `address [unknown] (file)`."""
    text = line.strip().partition(" ")[2]
    name, _, file = text.rpartition(" (")
    file = file.rstrip(")")
    short = file.rpartition("/")[2]
    if name == "[unknown]":
        name = short.partition(".")[0]
    name = name.partition("+0x")[0]
    if file.startswith("[") and file != "[vdso]":
        return Frame(name, "kernel", KERNEL)
    if "/fastchat/_" in file:
        file = f"fastchat/{short}"
    elif short.startswith("loop.cpython"):
        file = "uvloop"
    else:
        file = short
    return Frame(demangle(name), file, _part(name, file))


def demangle(name: str) -> str:
    """What Cython calls `__pyx_f_8fastchat_7_fanout_6Fanout_flush` is `Fanout_flush`."""
    match = _MANGLED.match(name)
    if match is None:
        return name
    rest, scope = name[match.end() :], ""
    while rest[:1].isdigit():
        digits = re.match(r"\d+", rest)
        assert digits is not None
        rest, length = rest[digits.end() :], int(digits[0])
        if length >= len(rest):  # a method's number, not the length of a name
            break
        scope, rest = rest[:length], rest[length + 1 :]
    return f"{scope}_{rest}" if scope[:1].isupper() else rest


def _part(name: str, file: str) -> str:
    if file.startswith("fastchat/"):
        return PYTHON if file.endswith(".py") else COMPILED
    if file in ("loop.c", "uvloop") or name.startswith(("uv_", "uv__")) or _LIBUV_FILES.search(file):
        return UVLOOP
    if file.endswith(".py") or "libpython" in file or file.startswith(("<", "python")):
        return OTHER_PYTHON
    if file.endswith(".c") and name.startswith(("Py", "_Py", "task_", "builtin_", "cfunction_")):
        return OTHER_PYTHON
    return C_LIBRARIES


def _tidy(frames: list[Frame]) -> Stack:
    """Cuts off what leads to the event loop, joins a wrapper with what it wraps, and names the kernel."""
    for index in range(len(frames) - 1, -1, -1):
        if frames[index].name in _OUTERMOST:
            frames = frames[index + 1 :] or frames[index:]
            break
    return tuple(_settle(frames)) or (Frame("uv_run", "uvloop", UVLOOP),)


def _settle(frames: list[Frame]) -> Iterator[Frame]:
    before = None
    for frame in frames:
        if frame.file.endswith((".h", ".pxd")) or frame == before:
            continue
        before = frame
        call = frame.name.lstrip("_")
        enters = frame.part == C_LIBRARIES and _SYSTEM_CALL.fullmatch(call) is not None
        yield Frame(call, "kernel", KERNEL) if enters else frame
