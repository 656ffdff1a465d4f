"""One node among others: what is committed here goes out over the bus, what is committed there comes in.

The bus is fast and may lose everything; the store is the truth. So whatever is told here may be lost, and is
found out again: holes in a room's ``seq`` by the store, quiet rooms by comparing, people by their numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from fastchat import log
from fastchat.asking import ask
from fastchat.broker.interface import BrokerError, Bus
from fastchat.cluster import envelope
from fastchat.cluster.envelope import Envelope, EnvelopeError, OtherVersion
from fastchat.cluster.interface import People
from fastchat.cluster.listening import Listening
from fastchat.cluster.names import ClaimedNames
from fastchat.cluster.nodes import Nodes
from fastchat.ending import end
from fastchat.messages import Close, WireError
from fastchat.population import Population
from fastchat.store.interface import Committed, SharedStore, Standing

HEARTBEAT_S = 1.0
"""How often the others hear of a node at least."""

FRESH_S = 0.25
"""A subscription has reached every broker by then; what was stored before is looked for in the store."""

logger = log.get_logger(__name__)


@dataclass(slots=True)
class Counters:
    """What went over the bus, since the start."""

    events_out: int = 0
    events_in: int = 0
    payloads_out: int = 0
    payloads_in: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    rejected: int = 0
    """Payloads that could not be read, or were of another version."""
    comparisons: int = 0


class Cluster:
    """This process among the nodes. Everything is called in the loop's thread, and nothing blocks.

    ``on_slots`` is told, about once a second, whose unsent events are this node's to send; none where the
    store has not confirmed it for ``node_timeout_s``.
    """

    def __init__(
        self,
        store: SharedStore,
        bus: Bus,
        population: Population,
        *,
        name: str,
        node_timeout_s: float,
        compare_interval_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.store = store
        self.bus = bus
        self.node = store.node
        self.counters = Counters()
        self.nodes = Nodes(node_timeout_s)
        self.people: People | None = None
        self.on_slots: Callable[[Collection[int]], None] | None = None
        self._population = population
        self._name = name
        self._node_timeout_s = node_timeout_s
        self._compare_interval_s = compare_interval_s
        self._clock = clock
        self.heartbeat_s = min(HEARTBEAT_S, node_timeout_s / 4)
        loop = asyncio.get_running_loop()
        self.names = ClaimedNames(store, loop.call_soon, self._on_claimed)
        self.openings = Listening(name, bus.subscribe, bus.unsubscribe, self._on_fresh)
        self._call_later = loop.call_later
        self._comparing_soon: asyncio.TimerHandle | None = None
        self._compared_at = self._ticked_at = self._stood_at = clock()
        self._beating = False
        self._claiming = False
        self._lost = False  # the lease, and the names are not claimed anew yet
        self._rejected: set[str] = set()
        self._ticking: asyncio.Task[None] | None = None
        self._closed = False

    # Lifecycle

    async def start(self) -> None:
        """Becomes a node. Raises BrokerError as ``Bus.start`` does."""
        self.bus.listen(self._on_message, self._on_connected)
        self.store.observe(self._on_commit)
        self.bus.subscribe(envelope.subject_for_all(self._name))
        self.bus.subscribe(envelope.subject_for(self._name, self.node))
        await self.bus.start()
        # Names can be claimed only by a node that the store knows.
        self._on_standing(await ask(self.store.beat), first=True)
        self._ticking = asyncio.create_task(self._tick_always())

    async def close(self) -> None:
        """Says good-bye: the others take this node's people out at once. May be called again."""
        if self._closed:
            return
        self._closed = True
        if self._ticking is not None:
            await end([self._ticking])
        if self._comparing_soon is not None:
            self._comparing_soon.cancel()
        self.names.flush()
        self._publish_to_all(envelope.encode(self.node, envelope.BYE))
        await self.bus.close()

    async def _tick_always(self) -> None:
        while True:
            try:
                self.tick()
            except Exception:
                logger.exception("a mistake of ours in the cluster's housekeeping")
            await asyncio.sleep(self.heartbeat_s)

    def tick(self) -> None:
        """What is to be done every ``heartbeat_s``."""
        now = self._clock()
        late_s, self._ticked_at = now - self._ticked_at, now
        if late_s > self.heartbeat_s + self._node_timeout_s / 2:
            # It was this process that stood still: what the others said meanwhile is still to be read.
            logger.warning("this node stood still", seconds=round(late_s, 1))
            self.nodes.pardon(now)
            self._compare()
        self._beat(now)
        self.send_heartbeat()
        for node in self.nodes.take_silent(now):
            logger.warning("a node is silent; its people are gone", node=node)
            self._forget(node)
        if now - self._compared_at >= (0 if self.bus.problem else self._compare_interval_s):
            self._compare()
        self.openings.sweep()

    # Others

    def _on_connected(self) -> None:
        self.send_heartbeat()
        self._compare()
        if self.people is not None:
            self.people.on_connected()

    def send_heartbeat(self) -> None:
        """Tells everyone that this node is alive, and how much it has told of its people."""
        number = 0 if self.people is None else self.people.number
        self._publish_to_all(envelope.encode(self.node, envelope.BEAT, number))

    def tell_all(self, payload: bytes) -> None:
        """See ``Outside``."""
        self._publish_to_all(envelope.encode(self.node, envelope.PEOPLE, content=payload))

    def tell(self, node: str, payload: bytes) -> None:
        """See ``Outside``."""
        told = envelope.encode(self.node, envelope.PEOPLE, content=payload)
        self._publish(envelope.subject_for(self._name, node), told)

    def _forget(self, node: str) -> None:
        if self.people is not None:
            self.people.forget(node)

    def _publish_to_all(self, payload: bytes) -> None:
        self._publish(envelope.subject_for_all(self._name), payload)

    def _publish(self, subject: str, payload: bytes) -> None:
        self.counters.payloads_out += 1
        self.counters.bytes_out += len(payload)
        self.bus.publish(subject, payload)

    # Events

    def _on_commit(self, committed: Sequence[Committed]) -> None:
        if self._closed:
            return  # the others find it in the store
        by_room: dict[str, list[Committed]] = {}
        for each in committed:
            by_room.setdefault(each.room, []).append(each)
        by_subject: dict[str, list[Committed]] = {}
        for room, some in by_room.items():
            by_subject.setdefault(envelope.subject_of(self._name, room), []).extend(some)
        for subject, some in by_subject.items():
            for payload in envelope.encode_events(self.node, some):
                self._publish(subject, payload)
        self.counters.events_out += len(committed)

    def _on_fresh(self) -> None:
        if self._comparing_soon is None and not self._closed:
            self._comparing_soon = self._call_later(FRESH_S, self._compare)

    def _compare(self) -> None:
        if self._comparing_soon is not None:
            self._comparing_soon.cancel()
            self._comparing_soon = None
        self._compared_at = self._clock()
        self.counters.comparisons += 1
        self.store.compare()

    # What comes in

    def _on_message(self, subject: str, payload: bytes) -> None:
        try:
            received = envelope.parse_envelope(payload)
            if received.node != self.node:
                self._receive(received, len(payload))
        except (EnvelopeError, ValueError) as error:
            self._reject(error)
        except Exception:
            logger.exception("a mistake of ours in what came over the bus")

    def _receive(self, received: Envelope, size_bytes: int) -> None:
        self.counters.payloads_in += 1
        self.counters.bytes_in += size_bytes
        if received.kind == envelope.EVENTS:
            # Whoever has committed something has done so, whether it is still alive or not.
            committed = envelope.parse_events(received)
            self.counters.events_in += len(committed)
            self.store.receive(committed)
            if self.people is not None:
                pairs = [each for each in committed if each.room.startswith("@") and each.body]
                first = {each.room: each.seq for each in reversed(pairs)}
                for room, seq in first.items():
                    self.people.receive_direct(room, seq)
        known = received.node in self.nodes.names
        if received.kind == envelope.BYE:
            self.nodes.leave(received.node, self._clock())
            self._forget(received.node)
            logger.info("a node has stopped", node=received.node)
        elif self.nodes.hear(received.node, self._clock()):
            if not known:
                logger.info("there is another node", node=received.node)
                self.send_heartbeat()  # so that it need not wait to hear of this one
            if self.people is None:
                return
            if received.kind == envelope.BEAT:
                self.people.receive_heartbeat(received.node, envelope.parse_number(received))
            elif received.kind == envelope.PEOPLE:
                self.people.receive(received.node, received.content)

    def _reject(self, error: ValueError) -> None:
        self.counters.rejected += 1
        what = error.version if isinstance(error, OtherVersion) else type(error).__name__
        if what not in self._rejected and len(self._rejected) < 100:
            self._rejected.add(what)
            logger.error(
                "something on the bus cannot be read and is ignored, as others like it", reason=str(error)
            )

    # The lease

    def _beat(self, now: float) -> None:
        if not self._beating:
            self._beating = True
            self.store.beat(self._on_standing)
        if now - self._stood_at > self._node_timeout_s:
            self._tell_slots(())  # others may have been given this node's

    def _on_standing(self, standing: Standing | WireError, *, first: bool = False) -> None:
        self._beating = False
        if isinstance(standing, WireError):
            return  # the store says by itself that it is away
        self._stood_at = now = self._clock()
        self.nodes.confirm(standing.nodes, now)
        self._tell_slots(standing.slots)
        if not standing.renewed and not first:
            logger.warning("this node was taken for dead by the others")
            self._lost = True
        if self._lost and not self._claiming:
            self._claiming = True
            self.names.claim_again(self._on_claimed_again)

    def _tell_slots(self, slots: Collection[int]) -> None:
        if self.on_slots is not None:
            self.on_slots(slots)

    def _on_claimed_again(self, taken: Collection[str] | WireError) -> None:
        self._claiming = False
        if isinstance(taken, WireError):
            return  # the next beat tries again
        self._lost = False
        for key in taken:
            for session in self._population.sessions(key):
                if session.person.guest:
                    reason = f"somebody else is called {session.user} by now; come back under another name"
                    session.end(Close.SIGNED_OUT, reason)

    def _on_claimed(self, name: str) -> None:
        if self.people is not None:
            self.people.on_claimed(name)

    # Health

    async def probe(self, timeout_s: float = 2.0) -> str | None:
        """Sends something through the bus and back; why it has not come back, or None."""
        if (problem := self.bus.problem) is not None:
            return problem
        try:
            async with asyncio.timeout(timeout_s):
                await self.bus.probe()
        except BrokerError as error:
            return str(error)
        except TimeoutError:
            return self.bus.problem or f"what is sent over the bus has not come back within {timeout_s:g} s"
        return None
