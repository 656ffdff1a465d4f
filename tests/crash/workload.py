"""The clients: senders, readers, and readers who come and go. Each keeps its own history."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random

import orjson

from tests.clients import Closed, Document
from tests.crash.connections import TRANSPORTS, LinesConnection
from tests.crash.history import History

ROOMS = ("busy", "tiny", "calm")
LOGGED = frozenset({"message", "edited", "deleted", "reacted", "moderated"})
KEEPER, PASSWORD = "keeper", "a keeper of rooms that are killed"
THE_END = "the end"
COMEBACK_S = 0.02  # between two attempts to connect to a server that isn't there
SMALL_BUFFER_BYTES = 8192
LONG_TEXT = "long " * 600


@dataclass
class World:
    """What the clients share: where the server is, and how far the story has come."""

    directory: Path
    random: Random
    addresses: Mapping[str, str] = field(default_factory=dict)
    """HOST:PORT by transport, which a restart does not change."""
    loaded: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first acknowledgement."""
    strike: Callable[[], None] | None = None
    """Called once by the next acknowledgement or message, in the very moment in which a client hears it."""
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when senders shall send nothing new."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when every room has been sent its last message."""

    def on_news(self) -> None:
        """A client has heard of something that must never be lost from now on."""
        strike, self.strike = self.strike, None
        if strike is not None:
            strike()


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Whether it was set in this time."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()


class GaveUp(Exception):
    """The server does not let this client back in: what it has seen is not there any more."""


class Client:
    """Reads its rooms to their end, and comes back at once whenever the connection is gone.

    `after` gives where each room is begun: None for its head. With `resume` it comes back to all rooms with
    its hello, otherwise with one join for each.
    """

    receive_buffer_bytes = 0

    def __init__(
        self,
        world: World,
        name: str,
        transport: str,
        rooms: Sequence[str] = ROOMS,
        *,
        after: int | None = None,
        resume: bool = False,
        file: str = "",
    ) -> None:
        self.world = world
        self.name = name
        self.transport = transport
        self.resume = resume
        self.random = Random(world.random.random())
        self.history = History(world.directory / (file or f"client-{name}.jsonl.gz"))
        self.after: dict[str, int | None] = dict.fromkeys(rooms, after)
        self.epochs: dict[str, str] = {}
        self.open_rooms = set(rooms)
        """Those whose last message has not come yet."""
        self.joined: set[str] = set()
        self.arrived = asyncio.Event()
        """Set when every room has been joined at least once: from then on nothing may be missed."""
        self.quiet = asyncio.Event()
        """Set when nothing new is to be said, and everything was answered."""

    @property
    def done(self) -> bool:
        """Whether there is nothing more to do."""
        return not self.open_rooms

    async def run(self) -> None:
        """Until everything is done."""
        try:
            while not self.done:
                try:
                    await self.visit()
                except (Closed, OSError):
                    await self.rest()
            self.history.finished()
        except GaveUp:
            return  # the checker finds out why
        finally:
            self.history.close()
            self.arrived.set()
            self.quiet.set()

    async def rest(self) -> None:
        """Before the next visit."""
        await wait_for(self.world.ended, COMEBACK_S)

    async def visit(self) -> None:
        """One connection, from hello to its end."""
        transport = TRANSPORTS[self.transport]
        connection = await transport.open(self.world.addresses[self.transport], self.receive_buffer_bytes)
        self.history.opened()
        self.joined.clear()
        try:
            await self.say(connection, self.greeting())
            await self.converse(connection)
        finally:
            self.history.ended()
            connection.close()

    def greeting(self) -> list[Document]:
        """What is said first, before any answer."""
        hello: Document = {"type": "hello", "user": self.name}
        if self.resume and len(self.epochs) == len(self.after):
            return [hello | {"resume": dict(self.after), "epochs": dict(self.epochs)}]
        joins: list[Document] = []
        for room, after in self.after.items():
            join: Document = {"type": "join", "room": room}
            if after is not None:
                join["after"] = after
            if room in self.epochs:
                join["epoch"] = self.epochs[room]
            joins.append(join)
        return [hello, *joins]

    async def converse(self, connection: LinesConnection) -> None:
        """Listens until done."""
        while not self.done:
            for raw in await connection.listen():
                self.hear(raw)

    async def say(self, connection: LinesConnection, commands: list[Document]) -> None:
        """Writes down what is said, then says it."""
        for command in commands:
            self.history.said(command)
        if commands:
            await connection.say(commands)

    def hear(self, raw: bytes) -> Document:
        """Writes down what came, and remembers how far each room has been read."""
        self.history.heard(raw)
        document: Document = orjson.loads(raw)
        kind = document["type"]
        if kind in LOGGED:
            self.world.on_news()
            room = document["room"]
            self.after[room] = document["seq"]
            if document.get("text") == THE_END:
                self.open_rooms.discard(room)
        elif kind == "joined":
            room = document["room"]
            self.joined.add(room)
            self.epochs[room] = document["epoch"]
            if self.after[room] is None:
                self.after[room] = document["head"]
            if len(self.epochs) == len(self.after):
                self.arrived.set()
        elif kind == "error" and document["code"] == "name_taken":
            # The server has not noticed yet that the last connection is gone.
            raise Closed(reason="name taken")
        elif kind == "error" and document["code"] == "unavailable":
            # Nothing has been stored: it is said again, maybe to another node.
            raise Closed(reason="unavailable")
        elif kind == "error" and "ref" not in document:
            raise GaveUp
        return document


class Sender(Client):
    """Keeps `outstanding` commands under way, and says again, with the same id, what was not answered."""

    def __init__(self, world: World, name: str, transport: str, rooms: Sequence[str] = ROOMS) -> None:
        super().__init__(world, name, transport, rooms, after=0)
        self.outstanding = 8
        self.fickleness = 1
        """With more of it, it rather changes what there is than says something new."""
        self.unanswered: dict[str, Document] = {}
        self.own: deque[tuple[str, int]] = deque(maxlen=50)
        """Messages of its own that it may change."""
        self.others: deque[tuple[str, int]] = deque(maxlen=100)
        self._numbers = count(1)
        self._repeat = False

    @property
    def done(self) -> bool:
        """Whether everything was answered, and every room read to its end."""
        return super().done and not self.unanswered

    async def converse(self, connection: LinesConnection) -> None:
        """Sends whenever an answer makes room for it."""
        self._repeat = True
        while not self.done:
            for raw in await connection.listen():
                self.hear(raw)
            if len(self.joined) == len(self.after):
                await self.say(connection, self.turn())
                if not self.unanswered:
                    self.quiet.set()

    def turn(self) -> list[Document]:
        """What is to be said now."""
        commands: list[Document] = []
        if self._repeat:
            self._repeat = False
            commands += self.unanswered.values()
        while not self.world.over.is_set() and len(self.unanswered) < self.outstanding:
            commands.append(self.named(self.invent()))
        return commands

    def named(self, command: Document) -> Document:
        """The command under an id of its own, from now on waiting for its answer."""
        command["id"] = command["ref"] = f"{self.name}-{next(self._numbers)}"
        self.unanswered[command["id"]] = command
        return command

    def invent(self) -> Document:
        """Something new: a message mostly, or a change of one."""
        dice = self.random.random() ** self.fickleness
        if dice < 0.05 and self.own:
            room, seq = self.own.popleft()
            return {"type": "delete", "room": room, "seq": seq}
        text = f"{self.name} says {self.random.random()}" + 'é"\\ ' * self.random.randrange(10)
        if dice < 0.12 and self.own:
            room, seq = self.random.choice(self.own)
            return {"type": "edit", "room": room, "seq": seq, "text": text}
        if dice < 0.2 and self.others:
            room, seq = self.random.choice(self.others)
            react: Document = {"type": "react", "room": room, "seq": seq}
            react["reaction"] = self.random.choice("👍👎!")
            return react | ({"remove": True} if self.random.random() < 0.3 else {})
        if dice > 0.98:
            text += LONG_TEXT
        return {"type": "send", "room": self.random.choice(list(self.after)), "text": text}

    def hear(self, raw: bytes) -> Document:
        """As a reader, and takes answers."""
        document = super().hear(raw)
        kind = document["type"]
        if kind == "sent":
            self.world.loaded.set()
            self.world.on_news()
            command = self.unanswered.pop(document["ref"], None)
            if command is not None and command["type"] == "send":
                self.own.append((document["room"], document["seq"]))
        elif kind == "error" and "ref" in document:
            self.unanswered.pop(document["ref"], None)
        elif kind == "message":
            self.others.append((document["room"], document["seq"]))
        return document


class Keeper(Sender):
    """Has an account, and looks after the rooms."""

    def greeting(self) -> list[Document]:
        """With a password."""
        hello, *joins = super().greeting()
        return [hello | {"password": PASSWORD}, *joins]

    def invent(self) -> Document:
        """An act."""
        room = self.random.choice(list(self.after))
        if self.random.random() < 0.5:
            return {"type": "topic", "room": room, "topic": f"topic {self.random.random()}"}
        return {
            "type": self.random.choice(["mute", "unmute"]),
            "room": room,
            "user": f"absent-{self.random.randrange(9)}",
        }


class Visitor(Client):
    """Goes away in the middle of what it is being sent, acks what it has read, and comes back."""

    async def converse(self, connection: LinesConnection) -> None:
        """Listens for a while."""
        for _ in range(self.random.randrange(1, 60)):
            if self.done:
                return
            for raw in await connection.listen():
                self.hear(raw)
            if self.random.random() < 0.1 and self.joined:
                room = self.random.choice(sorted(self.joined))
                await self.say(connection, [{"type": "ack", "room": room, "seq": self.after[room]}])
        if self.random.random() < 0.5:
            connection.reset()
        raise Closed(reason="gone away")

    async def rest(self) -> None:
        """Some time goes by."""
        await wait_for(self.world.ended, self.random.uniform(0, 0.6))


class Dawdler(Client):
    """Stops reading again and again, so that the server has nowhere to put what it has for it."""

    receive_buffer_bytes = SMALL_BUFFER_BYTES

    async def converse(self, connection: LinesConnection) -> None:
        """Listens with pauses."""
        while not self.done:
            for raw in await connection.listen():
                self.hear(raw)
            if self.random.random() < 0.02:
                await wait_for(self.world.ended, self.random.uniform(0.1, 1.0))


class Director(Sender):
    """Says the last message in every room."""

    def turn(self) -> list[Document]:
        """The last messages once, and again what was not answered."""
        if not self.own and not self.unanswered:
            for room in self.after:
                self.named({"type": "send", "room": room, "text": THE_END})
            self._repeat = True
        return super().turn()


class Archivist(Client):
    """Reads everything there is: every event, and what `history` makes of them."""

    async def converse(self, connection: LinesConnection) -> None:
        """Listens to the end of every room, then turns the pages."""
        await super().converse(connection)
        for room in self.after:
            after, more = 0, True
            while more:
                await self.say(
                    connection, [{"type": "history", "room": room, "after": after, "limit": 10_000}]
                )
                page = await self.await_page(connection)
                more = page["more"]
                after = page["messages"][-1]["seq"] if more else 0

    async def await_page(self, connection: LinesConnection) -> Document:
        """The answer to the last question."""
        while True:
            for raw in await connection.listen():
                if (document := self.hear(raw))["type"] == "history":
                    return document


class Latecomer(Client):
    """Begins somewhere in the past."""

    async def run(self) -> None:
        """Waits for there to be a past."""
        await self.world.loaded.wait()
        await super().run()


def cast(world: World) -> list[Client]:
    """Everyone who takes part."""
    busy, tiny, calm = ROOMS
    clients: list[Client] = []
    for number, (outstanding, rooms) in enumerate(
        (
            (1, [calm]),
            (1, [tiny, calm]),
            (2, [busy, tiny]),
            (4, [busy]),
            (8, [tiny]),
            (4, [busy, calm]),
            (12, [busy, tiny, calm]),
        )
    ):
        sender = Sender(world, f"sender-{number}", ("lines", "frames")[number % 2], rooms)
        sender.outstanding = outstanding
        sender.fickleness = 3 if outstanding == 1 else 1
        clients.append(sender)
    keeper = Keeper(world, KEEPER, "lines", ROOMS)
    keeper.outstanding = 3
    clients.append(keeper)
    for transport in TRANSPORTS:
        clients += [
            Client(world, f"reader-{transport}", transport, ROOMS, after=0),
            Client(world, f"newcomer-{transport}", transport, ROOMS, resume=True),
            Visitor(world, f"visitor-{transport}", transport, [tiny, calm], after=0),
            Visitor(world, f"wanderer-{transport}", transport, ROOMS, resume=True),
            Dawdler(world, f"dawdler-{transport}", transport, [tiny, busy], after=0),
            Latecomer(world, f"latecomer-{transport}", transport, [tiny], after=0),
        ]
    return clients
