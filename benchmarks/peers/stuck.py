"""A room where a tenth of the members never reads: what do the others lose, what does the server keep?"""

from __future__ import annotations

import contextlib
import pathlib

from benchmarks.generator import generator
from benchmarks.processes import read_tree
from benchmarks.servers import Server

from .idle import PeakMemory
from .measurement import Measurement, Measurements
from .member import StuckMember, stuck_member
from .peer import Peer
from .phases import Phase, measured, time_limit
from .plan import PeersPlan

_LIMIT_S = 90.0
_IRC_TEXT_BYTES, _IRC_WINDOW = 350, 64
"""IRC's lines end at 512 bytes: the same flood takes many more of them, and more at once to be as fast."""


def measure_stuck(peer: Peer, plan: PeersPlan, round_number: int, results: Measurements) -> None:
    """Flood a room of `plan.stuck` stuck members and some more that read.

    Texts are long, so that stuck members' sockets are full soon. One of them reads in the end.
    """
    irc = peer.dialect == "irc"
    text_bytes, window = (_IRC_TEXT_BYTES, _IRC_WINDOW) if irc else (plan.stuck_text_bytes, 1)
    options: dict[str, int | float | str] = {
        "subscribers": plan.stuck_healthy - plan.senders,
        "senders": plan.senders,
        "stuck": plan.stuck,
        "text_bytes": text_bytes,
        "window": window,
        "lag": plan.senders * window,
        "seconds": plan.stuck_seconds,
        "grace": plan.grace_seconds,
    }
    with (
        peer.start() as server,
        time_limit(server, _LIMIT_S),
        stuck_member(server, peer.dialect) as member,
        generator(server, peer.dialect, "window", **options) as load,
    ):
        connections = count_sockets(server)
        with PeakMemory(server) as memory:
            phase = measured(server, lambda: load.run(plan.stuck_bytes // text_bytes))
        closed = connections - count_sockets(server)
        member.read_all()
    _report(results, peer, round_number, phase, member, closed, memory.growth_bytes)


def _report(
    results: Measurements,
    peer: Peer,
    round_number: int,
    phase: Phase,
    member: StuckMember,
    closed: int,
    growth_bytes: int,
) -> None:
    load = phase.load
    values = {
        "sent": load.sent,
        "missing": load.missing,
        "lagged": load.lagged,
        "closed_stuck": closed,
        "growth_mb": growth_bytes / 1e6,
        "p99_ms": load.p99_ms,
        "stuck_received": len(member.ids) / load.sent if load.sent else 0.0,
        "stuck_told": float(member.told),
        "stuck_closed": float(member.closed),
    }
    results.add(Measurement("stuck", peer.name, round_number, values, phase.fault))
    print(
        f"    {peer.name:24} stuck           {load.sent} messages, memory grew by"
        f" {growth_bytes / 1e6:.0f} MB,"
        f" {closed} connections gone, a stuck member got {values['stuck_received']:.0%} in the end"
        f"{', and was told' if member.told or member.closed else ''}  {phase.fault}",
        flush=True,
    )


def count_sockets(server: Server) -> int:
    """How many sockets the server's processes have open."""
    total = 0
    for pid in read_tree(server.pid):
        with contextlib.suppress(OSError):
            for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    total += link.readlink().name.startswith("socket:")
    return total
