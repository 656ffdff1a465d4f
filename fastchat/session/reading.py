"""Commands that ask: rooms, history, search, ping. Pure: no sockets, clock or await."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import orjson

from fastchat.messages import Code, Command, WireError
from fastchat.people import Role
from fastchat.permissions import Rules
from fastchat.room import Room
from fastchat.session.conversation import Conversation
from fastchat.session.directing import other_of, own_directs
from fastchat.store import Direct, Page

ROOMS_MAX = 500


def rooms(session: Conversation, command: Command, wall_ms: int) -> None:
    """Which rooms are in use, and how much there is to read in one's own."""

    def answer(directs: Sequence[Direct]) -> None:
        own = set(session.rooms)
        known = [
            room
            for room in session.hub.rooms.values()
            if room.name[0] != "@" and session.may_see(room, wall_ms)
        ]
        largest = sorted(known, key=lambda room: (-len(room.members), room.name))
        session.reply(
            command,
            "rooms",
            rooms=[_room_entry(session, room, room.name in own) for room in largest[:ROOMS_MAX]],
            count=len(largest),
            directs=[_direct_entry(session, each, each.room in own) for each in directs[:ROOMS_MAX]],
        )

    session.ask(command, partial(own_directs, session), answer)


def _direct_entry(session: Conversation, direct: Direct, joined: bool) -> dict[str, Any]:
    room = session.hub.rooms.get(direct.room)
    head = direct.head if room is None else room.head
    cursor = max(direct.cursor, room.presence.cursor(session.user) if room is not None else 0)
    entry: dict[str, Any] = {
        "room": direct.room,
        "user": other_of(session, direct.room),
        "head": head,
        "joined": joined,
        "cursor": cursor,
        "unread": head - cursor,
    }
    return {**entry, "blocked": True} if direct.blocked else entry


def _room_entry(session: Conversation, room: Room, joined: bool) -> dict[str, Any]:
    entry = {"room": room.name, "members": len(room.members), "head": room.head, "joined": False}
    if room.rules is not None:
        entry |= room.rules.rules.settings
    if joined:
        cursor = room.presence.cursor(session.user)
        entry |= {"joined": True, "cursor": cursor, "unread": room.head - cursor}
    return entry


def room(session: Conversation, command: Command, wall_ms: int) -> None:
    """What a room is about and who may do what there; moderators learn of whom."""

    def answer(found: Room) -> None:
        rules = Rules(found.name, {}) if found.rules is None else found.rules.rules
        own = rules.role(session.person, wall_ms)
        told = {
            "topic": rules.topic or "",
            "access": rules.access,
            "interval_s": rules.slow_mode_s,
            "role": own.name.lower(),
        }
        people = rules.people(wall_ms) if own >= Role.MODERATOR else {}
        session.reply(
            command,
            "room",
            room=found.name,
            members=len(found.members),
            first=found.log.first,
            head=found.head,
            **told,
            **people,
        )

    session.ask(command, partial(session.find, command, wall_ms), answer)


def history(session: Conversation, command: Command, wall_ms: int) -> None:
    """A page of a room's messages, as they are now."""
    if "before" in command and "after" in command:
        raise WireError(Code.BAD_FIELD, "before cannot be used together with after", field="before")

    def read(done: Callable[[tuple[Room, Page] | WireError], None]) -> None:
        session.find(command, wall_ms, partial(on_room, done))

    def on_room(done: Callable[[tuple[Room, Page] | WireError], None], room: Room | WireError) -> None:
        if isinstance(room, WireError):
            done(room)
            return
        low, high = command.get("after", -1), command.get("before", room.head + 1)
        room.log.read(
            low,
            high,
            _page_size(session, command),
            "after" not in command,
            lambda page: done(page if isinstance(page, WireError) else (room, page)),
        )

    def answer(found: tuple[Room, Page]) -> None:
        room, page = found
        messages = [orjson.Fragment(body) for body in page.bodies]
        session.reply(
            command, "history", room=room.name, messages=messages, more=page.more, first=room.log.first
        )

    session.ask(command, read, answer)


def search(session: Conversation, command: Command, wall_ms: int) -> None:
    """Messages that contain all words, out of the rooms that the client is in."""
    if not command["query"].split():
        raise WireError(Code.BAD_FIELD, "query must contain a word", field="query")
    if "room" in command:
        session.membership(command["room"])
    where = [command["room"]] if "room" in command else session.rooms
    find = partial(
        session.hub.store.search,
        where,
        command["query"],
        command.get("before"),
        _page_size(session, command),
    )

    def answer(page: Page) -> None:
        messages = [orjson.Fragment(body) for body in page.bodies]
        session.reply(command, "found", messages=messages, more=page.more)

    session.ask(command, find, answer)


def _page_size(session: Conversation, command: Command) -> int:
    most = session.limits.history_page
    wanted: int = command.get("limit", most)
    return min(wanted, most)


def ping(session: Conversation, command: Command, wall_ms: int) -> None:
    """Is answered at once."""
    session.reply(command, "pong", at=wall_ms)
