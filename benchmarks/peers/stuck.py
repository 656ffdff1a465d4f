"""A room where a tenth of the members never reads: what do the others lose, what does the server keep?"""

from __future__ import annotations

import contextlib
import pathlib

from benchmarks.generator import generator
from benchmarks.processes import read_tree
from benchmarks.servers import Server

from .idle import PeakMemory
from .measurement import Measurement, Measurements
from .member import stuck_member
from .peer import Peer
from .phases import measured, time_limit
from .plan import PeersPlan

_LIMIT_S = 90.0
_IRC_TEXT_BYTES, _IRC_WINDOW = 350, 64
"""IRC's lines end at 512 bytes: the same flood takes many more of them, and more at once to be as fast."""


def measure_stuck(peer: Peer, plan: PeersPlan, round_number: int, results: Measurements) -> None:
    """Flood a room of `plan.stuck` stuck members and some more that read.

    Texts are long, so that stuck members' sockets are full soon. One of them reads in the end.
    """
    options = _options(peer, plan)
    text_bytes = int(options["text_bytes"])
    with (
        peer.start() as server,
        time_limit(server, _LIMIT_S),
        stuck_member(server, peer.dialect) as member,
        generator(server, peer.dialect, "window", **options) as load,
    ):
        # The first ones have the server notice who has gone before.
        first = load.run(plan.senders).sent
        connections = count_sockets(server)
        with PeakMemory(server) as memory:
            phase = measured(server, lambda: load.run(plan.stuck_bytes // text_bytes))
        closed = connections - count_sockets(server)
        member.read_all()
    sent = phase.load.sent
    values = {
        "flood_mb": sent * text_bytes / 1e6,
        "missing": phase.load.missing,
        "lagged": phase.load.lagged,
        "closed_stuck": closed,
        "growth_mb": memory.growth_bytes / 1e6,
        "p99_ms": phase.load.p99_ms,
        "stuck_received": sum(number > first for number in member.ids) / max(1, sent),
        "stuck_told": float(member.told),
        "stuck_closed": float(member.closed),
    }
    results.add(Measurement("stuck", peer.name, round_number, values, phase.fault))
    print(_in_words(peer, values, phase.fault), flush=True)


def _options(peer: Peer, plan: PeersPlan) -> dict[str, int | float | str]:
    irc = peer.dialect == "irc"
    window = _IRC_WINDOW if irc else 1
    return {
        "subscribers": plan.stuck_healthy - plan.senders,
        "senders": plan.senders,
        "stuck": plan.stuck,
        "text_bytes": _IRC_TEXT_BYTES if irc else plan.stuck_text_bytes,
        "window": window,
        "lag": plan.senders * window,
        "seconds": plan.stuck_seconds,
        "grace": plan.grace_seconds,
    }


def _in_words(peer: Peer, values: dict[str, float], fault: str) -> str:
    told = ", and was told" if values["stuck_told"] or values["stuck_closed"] else ""
    return (
        f"    {peer.name:24} stuck           {values['flood_mb']:.1f} MB for each, memory grew by"
        f" {values['growth_mb']:.0f} MB, {values['closed_stuck']:.0f} connections gone, a stuck member got"
        f" {values['stuck_received']:.0%} in the end{told}  {fault}"
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
