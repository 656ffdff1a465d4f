"""One phase of load on one server: bounded in time, whatever the server does."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterator

from benchmarks.generator import Load, generator
from benchmarks.plan import FULL
from benchmarks.processes import read_tree
from benchmarks.servers import Server

from .ours import event_size
from .peer import Peer
from .plan import PeersPlan
from .syscalls import SystemCalls, count_sends

_OPENING_S = 40.0
_CALIBRATING_MESSAGES = 20
_WARM_UP_WINDOW = 4
_added_bytes: dict[str, float] = {}
_runs = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Phase:
    """What the generator saw, and the CPU time that the server used for it."""

    load: Load
    cpu_s: float
    calls: int = 0  # system calls that send, where they were counted

    @property
    def per_cpu_s(self) -> float:
        return self.load.all_deliveries / self.cpu_s if self.cpu_s > 0 else 0.0

    @property
    def fault(self) -> str:
        """What went wrong, or an empty string."""
        load = self.load
        said = [f"lost {load.missing:,}"] if load.missing else []
        said += [f"{load.closed} closed"] if load.closed else []
        said += [f"{load.out_of_order:,} out of order"] if load.out_of_order else []
        said += [f"{load.errors} errors"] if load.errors else []
        return ", ".join(said)


@contextlib.contextmanager
def time_limit(server: Server, seconds: float) -> Iterator[None]:
    """Kill the server when the block takes too long: whoever waits for it sees its connections end.

    Raises TimeoutError then, in place of what came of it.
    """
    expired = threading.Event()

    def end() -> None:
        expired.set()
        for member in read_tree(server.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (RuntimeError, OSError) as error:
        if expired.is_set():
            raise TimeoutError(f"not done after {seconds:.0f} s") from error
        raise
    finally:
        timer.cancel()
    if expired.is_set():
        raise TimeoutError(f"not done after {seconds:.0f} s")


def text_bytes(peer: Peer, server: Server) -> int:
    """How long a text has to be for a delivery to have as many bytes as one on fastchat's line port.

    A WebSocket frame's header and a line's end are part of a delivery, and so are a protocol's own fields.
    """
    if peer.dialect in {"line", "ws", "floor"}:
        return FULL.text_bytes
    if peer.dialect not in _added_bytes:
        probe = event_size().event // 2
        with (
            time_limit(server, _OPENING_S),
            generator(server, peer.dialect, "one", subscribers=10, text_bytes=probe, seconds=1) as load,
        ):
            _added_bytes[peer.dialect] = load.run(_CALIBRATING_MESSAGES).event_bytes - probe
    return max(1, round(event_size().event - _added_bytes[peer.dialect]))


def run_window(
    peer: Peer,
    server: Server,
    plan: PeersPlan,
    members: int,
    window: int,
    *,
    seconds: float,
    count_calls: bool = False,
) -> Phase:
    """`plan.senders` keep `window` messages outstanding each; 0 is one message at a time in all."""
    mode = "window" if window else "one"
    options = _room_options(peer, server, members)
    if window:
        options |= {"senders": plan.senders, "window": window, "lag": plan.senders * window}
    options |= {"seconds": seconds, "grace": plan.grace_seconds}
    limit_s = _OPENING_S + 2 * (seconds + plan.grace_seconds)
    with time_limit(server, limit_s), generator(server, peer.dialect, mode, **options) as load:
        load.run(plan.senders * min(window, _WARM_UP_WINDOW) or 5)
        return measured(server, load.run, count_calls=count_calls)


def run_paced(peer: Peer, server: Server, plan: PeersPlan, rate: int) -> Phase:
    """So many messages a second, whether the server can keep up or not."""
    options = _room_options(peer, server, plan.delay_members) | {
        "senders": plan.senders,
        "rate": rate,
        "seconds": plan.delay_seconds,
        "grace": 2 * plan.grace_seconds,
    }
    limit_s = _OPENING_S + 2 * (plan.delay_seconds + 2 * plan.grace_seconds)
    with time_limit(server, limit_s), generator(server, peer.dialect, "paced", **options) as load:
        load.prefer()
        load.run(plan.senders)  # a warm-up
        return measured(server, load.run)


def _room_options(peer: Peer, server: Server, members: int) -> dict[str, int | float | str]:
    options: dict[str, int | float | str] = {"subscribers": members, "text_bytes": text_bytes(peer, server)}
    if peer.dialect in {"line", "ws"}:
        # Each time other users: what the same one says again with the same ids is not said twice.
        options["prefix"] = f"p{next(_runs)}-"
    return options


def measured(server: Server, run: Callable[[], Load], *, count_calls: bool = False) -> Phase:
    with count_sends(server) if count_calls else contextlib.nullcontext(SystemCalls()) as calls:
        before_s = server.cpu_s()
        load = run()
        used_s = server.cpu_s() - before_s
    return Phase(load, used_s, calls.count)
