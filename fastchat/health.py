"""Whether this server should get clients, and how it is: what it stands on is tried, not believed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from fastchat import log
from fastchat.asking import ask
from fastchat.chat import Chat
from fastchat.cluster.service import Cluster
from fastchat.ending import end
from fastchat.inbox import Receiver
from fastchat.messages import WireError
from fastchat.outbox.sender import Sender
from fastchat.store import Store
from fastchat.web.app import ClusterReport, HealthReport, InboxReport, OutboxReport, ReadinessReport

PROBE_TIMEOUT_S = 2.0
"""So long a part may take to answer."""

SHARED_S = 1.0
"""So long an answer holds for all who ask, so that asking often costs nothing."""

OK = "ok"

Probe = Callable[[], Awaitable[str | None]]
"""Goes through a part of the server and back; answers why that cannot be done, or None."""

logger = log.get_logger(__name__)


@dataclass(slots=True)
class Parts:
    """What a server consists of; None where it has no such part."""

    chat: Chat
    store: Store
    cluster: Cluster | None = None
    sender: Sender | None = None
    inbox: Receiver | None = None


class Prober:
    """Probes all parts at once, and each of them once at a time: one that hangs is not asked again."""

    def __init__(self, probes: Mapping[str, Probe], clock: Callable[[], float] = time.monotonic) -> None:
        self._probes = probes
        self._clock = clock
        self._asked: dict[str, asyncio.Task[str | None]] = {}
        self._round: asyncio.Task[Mapping[str, str | None]] | None = None
        self._known: Mapping[str, str | None] = {}
        self._known_at: float | None = None
        self.took_s: dict[str, float] = {}
        """How long each part took to answer the last time."""

    async def check(self) -> Mapping[str, str | None]:
        """By part, what is wrong with it. Answers within ``PROBE_TIMEOUT_S``."""
        if self._round is None:
            if self._known_at is not None and self._clock() - self._known_at < SHARED_S:
                return self._known
            self._round = asyncio.create_task(self._probe_all())
        return await asyncio.shield(self._round)

    async def _probe_all(self) -> Mapping[str, str | None]:
        try:
            found = await asyncio.gather(*map(self._probe, self._probes))
            self._known, self._known_at = dict(zip(self._probes, found, strict=True)), self._clock()
            return self._known
        finally:
            self._round = None

    async def _probe(self, part: str) -> str | None:
        task = self._asked.get(part)
        if task is None:
            task = self._asked[part] = asyncio.create_task(self._ask(part))
        await asyncio.wait([task], timeout=PROBE_TIMEOUT_S)
        if not task.done():
            return f"no answer within {PROBE_TIMEOUT_S:g} s"
        del self._asked[part]
        return task.result()

    async def _ask(self, part: str) -> str | None:
        began_at = self._clock()
        try:
            return await self._probes[part]()
        except Exception:
            logger.exception("a probe failed", part=part)
            return "it could not be tried; the log says why"
        finally:
            self.took_s[part] = self._clock() - began_at

    async def close(self) -> None:
        """Gives up what has not answered."""
        tasks = [*self._asked.values(), *([self._round] if self._round else [])]
        await end(tasks)


class Health:
    """One server's account of itself."""

    def __init__(self, version: str, parts: Parts) -> None:
        self.version = version
        self.parts = parts
        self.draining = False
        self._started_at = time.monotonic()
        probes: dict[str, Probe] = {"store": self._probe_store}
        if parts.cluster is not None:
            probes["bus"] = parts.cluster.probe
        self.prober = Prober(probes)

    async def _probe_store(self) -> str | None:
        store = self.parts.store
        if store.problem is not None:
            return store.problem
        error: WireError | None = await ask(store.probe)
        return None if error is None else store.problem or error.message

    @property
    def broker_problem(self) -> str | None:
        """Why other services cannot be told, or cannot tell, anything at the moment. Clients lack nothing."""
        sender, inbox = self.parts.sender, self.parts.inbox
        problem = None if sender is None else sender.problem
        return problem if problem is not None or inbox is None else inbox.source.problem

    def _known_problems(self) -> dict[str, str]:
        store, cluster = self.parts.store, self.parts.cluster
        problems = {"store": store.problem, "bus": None if cluster is None else cluster.bus.problem}
        return {part: problem for part, problem in problems.items() if problem is not None}

    async def readiness(self) -> ReadinessReport:
        """Whether clients should be sent here; a broker that is away is told, and no reason against it."""
        if self.draining:
            return ReadinessReport(status="unavailable", reason="the server is draining")
        # What is known by now is not put off until the next probe.
        problems = {**await self.prober.check(), **self._known_problems()}
        parts = {part: problem or OK for part, problem in problems.items()}
        if self.parts.sender is not None or self.parts.inbox is not None:
            parts["broker"] = self.broker_problem or OK
        failed = [f"{part}: {problem}" for part, problem in problems.items() if problem is not None]
        if failed:
            return ReadinessReport(status="unavailable", reason="; ".join(failed), parts=parts)
        return ReadinessReport(status="ready", parts=parts)

    def report(self) -> HealthReport:
        """How the server is, without asking anybody."""
        chat = self.parts.chat
        return HealthReport(
            status="draining" if self.draining else "ok",
            version=self.version,
            connections=len(chat.census.members),
            rooms=len(chat.hub.rooms),
            uptime_s=round(time.monotonic() - self._started_at, 3),
            store=self.parts.store.problem or OK,
            cluster=self._report_cluster(),
            outbox=self._report_outbox(),
            inbox=self._report_inbox(),
        )

    def _report_cluster(self) -> ClusterReport | None:
        cluster = self.parts.cluster
        if cluster is None:
            return None
        return ClusterReport(node=cluster.node, nodes=len(cluster.nodes) + 1, bus=cluster.bus.problem or OK)

    def _report_outbox(self) -> OutboxReport | None:
        sender = self.parts.sender
        if sender is None:
            return None
        return OutboxReport(
            broker=sender.problem or OK,
            events=sender.backlog.events,
            notices=sender.backlog.notices,
            oldest_s=self.oldest_s(),
            dropped=sender.backlog.dropped,
            sent=sender.sent,
        )

    def oldest_s(self) -> float:
        """How long the oldest of what waits for the broker has been waiting; 0 where nothing does."""
        sender = self.parts.sender
        oldest_ms = 0 if sender is None else sender.backlog.oldest_ms
        return max(0, self.parts.chat.wall_ms() - oldest_ms) / 1000 if oldest_ms else 0.0

    def _report_inbox(self) -> InboxReport | None:
        inbox = self.parts.inbox
        if inbox is None:
            return None
        return InboxReport(
            broker=inbox.source.problem or OK,
            accepted=inbox.executor.accepted,
            rejected=inbox.executor.rejected,
            retried=inbox.executor.retried,
        )
