"""Rooms for programs inside of the server's process: events as an iterator, and a way to say something.

A bot is a subscriber like any other: a cursor in the room's log, brought to the head as far as it takes what
comes. Its transport is an ``Inbox``, which takes one span at a time; the next one is cut when the bot has
read this one. So a bot that is slow costs a cursor and one span, which it shares with everyone at the same
place, and no queue. What a memory room has forgotten by then is told as ``Lagged``; a durable one reads it
from the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import weakref
from collections.abc import Callable
from typing import Any, Self

import orjson

from fastchat._fanout import Writer
from fastchat._ring import Profile
from fastchat.messages import ROOM_PATTERN, Close, WireError
from fastchat.people import LOCAL_USER, User
from fastchat.population import Devices
from fastchat.room import Room
from fastchat.rooms import Hub
from fastchat.session import UNSTORED_MAX
from fastchat.store import Draft, Kind, Stored

Check = Callable[[str, dict[str, Any] | None], None]


class Lagged(Exception):
    """The reader was too slow, and so many events are gone. The next one that is asked for is there again."""

    def __init__(self, room: str, first: int, last: int) -> None:
        self.room = room
        self.first = first
        self.last = last
        self.missed = last - first + 1
        super().__init__(f"{self.missed} events of {room} are gone, from {first} to {last}")


class Inbox:
    """What a ``Writer`` takes for a transport: holds one write until it has been read."""

    def __init__(self) -> None:
        self.writer: Writer | None = None
        self.arrived = asyncio.Event()
        self._data = b""
        self._at = 0

    def __len__(self) -> int:
        """The bytes that have not been read."""
        return len(self._data) - self._at

    def take(self) -> bytes | None:
        """The next line, without its end; None where all have been read."""
        if self._at == len(self._data):
            return None
        end = self._data.index(b"\n", self._at)
        line = self._data[self._at : end]
        self._at = end + 1
        if self._at == len(self._data):
            self._data, self._at = b"", 0
            self.arrived.clear()
            if self.writer is not None:
                self.writer.resume()
        return line

    # As a writer uses its transport

    def get_extra_info(self, name: str) -> None:
        """There is no socket."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """A writer sets both to 0: it is paused after each write."""

    def get_write_buffer_size(self) -> int:
        """Of what was there before the writer."""
        return 0

    def write(self, data: bytes | memoryview) -> None:
        """Holds whole lines; nothing more comes until they have been read."""
        self._data = self._data[self._at :] + data if len(self) else bytes(data)
        self._at = 0
        self.arrived.set()
        if self.writer is not None:
            self.writer.pause()

    def writelines(self, chunks: list[bytes]) -> None:
        """As ``write``."""
        self.write(b"".join(chunks))

    def abort(self) -> None:
        """Nothing more comes."""
        self.writer = None
        self.arrived.set()


class LocalUser:
    """Somebody who is online without a connection, so that the name is taken."""

    def __init__(self, name: str) -> None:
        self.user = name
        self.person = User(name)
        self.devices: Devices | None = None
        self.seats = 0

    @property
    def rooms(self) -> list[str]:
        """A program's rooms are not counted."""
        return []

    def end(self, code: Close, reason: str) -> None:
        """There is no connection to end."""

    def expel(self, room: str, by: str | None, reason: str | None) -> None:
        """Nobody moderates a program of the server's own."""

    def tell_expiry(self, expires_in_ms: int) -> None:
        """There is no token."""


class Seat:
    """One program's place in one room: holds the room, and the cursor if there is one."""

    def __init__(self, rooms: LocalRooms, room: Room, user: LocalUser) -> None:
        self._rooms = rooms
        self.room = room
        self.user = user
        self.inbox: Inbox | None = None
        self.closed = False
        rooms.hub.hold(room)
        user.seats += 1
        if user.user != LOCAL_USER:
            room.presence.enter(user.user, room.head)
            if rooms.hub.others is not None:
                rooms.hub.others.on_joined(user, room.name)
            if rooms.hub.notices is not None and room.members[user.user] == 1:
                rooms.hub.notices.joined(room.name, user.user, len(room.members))

    @property
    def rooms(self) -> list[str]:
        """As of a connection: none of its own."""
        return []

    def subscribe(self, after: int | None) -> Inbox:
        """Starts a cursor behind ``after``, or at the head. Raises ValueError."""
        inbox = Inbox()
        writer = Writer(self._rooms.hub.fanout, self._rooms.profile, inbox, self)
        writer.subscribe(self.room.channel, after)
        inbox.writer = writer
        self.inbox = inbox
        return inbox

    def on_writable(self) -> None:
        """There are no replies that could wait."""

    def end(self, code: int, reason: str) -> None:
        """A reader that is slow is nobody's trouble: it stays."""

    def close(self) -> None:
        """Gives up the place; may be called again."""
        if self.closed:
            return
        self.closed = True
        self._rooms.seats.discard(self)
        if self.inbox is not None and self.inbox.writer is not None:
            self.inbox.writer.close()
            self.inbox.abort()
        if self.user.user != LOCAL_USER:
            self.room.presence.exit(self.user.user)
            if self._rooms.hub.others is not None:
                self._rooms.hub.others.on_left(self.user, self.room.name)
            notices, members = self._rooms.hub.notices, self.room.members
            if notices is not None and self.user.user not in members:
                notices.left(self.room.name, self.user.user, len(members))
        self._rooms.hub.release(self.room)
        self._rooms.release_user(self.user)


class LocalRoom:
    """A room as a program sees it that runs inside of the server. Made by ``Server.room``.

    ``async for event in room`` gives every event from then on as a dict, as clients get it, but those that
    this user has brought about. It raises ``Lagged`` where events are gone, and goes on behind them when it
    is asked again; it ends when the server stops. ``async with`` begins at once and leaves at the end;
    without it the room is entered with the first event or message, and left when nobody refers to this object
    any more.
    """

    def __init__(self, rooms: LocalRooms, name: str, user: str, after: int | None) -> None:
        self.name = name
        self.user = user
        self._rooms = rooms
        self._after = after
        self._seat: Seat | None = None
        self._entering: asyncio.Future[Seat] | None = None
        self._unstored = 0
        self._stored = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._inbox()
        return self

    async def __aexit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the room; an iteration ends. May be called again."""
        if self._seat is not None:
            self._seat.close()

    # Reading

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        inbox = await self._inbox()
        while True:
            line = inbox.take()
            if line is None:
                if inbox.writer is None:
                    raise StopAsyncIteration
                await inbox.arrived.wait()
                continue
            event: dict[str, Any] = orjson.loads(line)
            if event["type"] == "lagged":
                raise Lagged(self.name, event["from"], event["to"])
            if event.get("from") != self.user:
                return event

    # Speaking

    async def send(
        self,
        text: str,
        data: dict[str, Any] | None = None,
        id: str | None = None,  # noqa: A002
    ) -> int:
        """Says something; returns its ``seq`` when it is stored, or of the first with this ``id``.

        Hooks are not asked. Waits while too many others of this object wait for the store. Raises WireError
        where it is too large or cannot be stored, and RuntimeError where the server has stopped.
        """
        self._rooms.check(text, data)
        seat = await self._take_seat()
        while self._unstored >= UNSTORED_MAX:
            self._stored.clear()
            await self._stored.wait()
        if seat.closed:
            raise RuntimeError(f"room {self.name} was left, or the server has stopped")
        answer: asyncio.Future[Stored | WireError] = asyncio.get_running_loop().create_future()

        def on_stored(stored: Stored | WireError) -> None:
            self._unstored -= 1
            self._stored.set()
            if not answer.done():
                answer.set_result(stored)

        fields = {"text": text} if data is None else {"text": text, "data": data}
        self._unstored += 1
        seat.room.post(Draft(Kind.MESSAGE, self.user, self._rooms.wall_ms(), fields, id), None, on_stored)
        if answer.done():
            # A room in memory answers at once: everyone else has to get a turn between two messages.
            await asyncio.sleep(0)
        stored = await answer
        if isinstance(stored, WireError):
            raise stored
        return stored.seq

    # Entering

    async def _inbox(self) -> Inbox:
        seat = await self._take_seat()
        return seat.inbox if seat.inbox is not None else seat.subscribe(self._after)

    async def _take_seat(self) -> Seat:
        if self._seat is not None:
            return self._seat
        if self._entering is None:
            self._entering = asyncio.ensure_future(self._rooms.enter(self.name, self.user))
        try:
            seat = await asyncio.shield(self._entering)
        finally:
            if self._entering is not None and self._entering.done():
                self._entering = None
        if self._seat is None:
            self._seat = seat
            loop = asyncio.get_running_loop()
            weakref.finalize(self, _close_soon, loop, seat).atexit = False
        return self._seat


def _close_soon(loop: asyncio.AbstractEventLoop, seat: Seat) -> None:
    # Nobody knows in which thread an object is found to be garbage.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(seat.close)


class LocalRooms:
    """All rooms that programs inside of one server are in. ``check(text, data)`` raises WireError."""

    def __init__(self, hub: Hub, profile: Profile, wall_ms: Callable[[], int], check: Check) -> None:
        self.hub = hub
        self.profile = profile
        self.wall_ms = wall_ms
        self.check = check
        self.seats: set[Seat] = set()
        self._users: dict[str, LocalUser] = {}
        self._closed = False
        self._user(LOCAL_USER).seats += 1

    def room(self, name: str, user: str = LOCAL_USER, after: int | None = None) -> LocalRoom:
        """See ``Server.room``."""
        if not re.fullmatch(ROOM_PATTERN, name):
            raise ValueError(f"{name!r} is no room's name; it must match {ROOM_PATTERN}")
        return LocalRoom(self, name, user, after)

    async def enter(self, name: str, user: str) -> Seat:
        """A place in the room. Raises WireError where the name is taken or the store fails."""
        answer: asyncio.Future[Seat | WireError] = asyncio.get_running_loop().create_future()

        def on_named(named: User | WireError) -> None:
            if not isinstance(named, WireError):
                self.hub.open(name, on_room)
            elif not answer.done():
                answer.set_result(named)

        def on_room(room: Room | WireError) -> None:
            if answer.done():
                self._give_up(user)
                return
            # The room is there for this moment only: it has to be held at once.
            seat = room if isinstance(room, WireError) else self._sit_down(room, user)
            if isinstance(seat, WireError):
                self._give_up(user)
            answer.set_result(seat)

        if self._closed:
            raise RuntimeError("the server has stopped")
        if user == LOCAL_USER:
            on_named(User(user))
        else:
            self.hub.claim_name(User(user), on_named)
        seat = await answer
        if isinstance(seat, WireError):
            raise seat
        return seat

    def _sit_down(self, room: Room, name: str) -> Seat | WireError:
        user = self._users.get(name)
        try:
            if user is None:
                user = self._user(name)
            else:
                self._give_up(name)  # it is claimed for as long as the user is here
        except WireError as error:
            return error
        seat = Seat(self, room, user)
        self.seats.add(seat)
        return seat

    def _give_up(self, name: str) -> None:
        if name != LOCAL_USER:  # each node has one of its own
            self.hub.release_name(User(name))

    def _user(self, name: str) -> LocalUser:
        """Raises WireError where somebody else is called so."""
        user = LocalUser(name)
        self.hub.population.enter(user, user.person)
        self._users[name] = user
        return user

    def release_user(self, user: LocalUser) -> None:
        """One seat less; the name is free after the last one."""
        user.seats -= 1
        if not user.seats:
            del self._users[user.user]
            self._give_up(user.user)
            self.hub.population.leave(user)
            self.hub.forget_guest(user.person)

    def close(self) -> None:
        """Ends every iteration."""
        self._closed = True
        for seat in [*self.seats]:
            seat.close()
