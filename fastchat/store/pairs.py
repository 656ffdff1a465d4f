"""Rooms of two by their names, ``@alice,bob`` and ``@alice,~guest-1``. Pure: no sockets, clock or await."""

from collections.abc import Sequence

from fastchat.auth.names import name_key
from fastchat.people import User


def part_of(user: User) -> str:
    """What stands for somebody in the name of a room of two."""
    return f"~{user.name}" if user.guest else user.name


def pair_room(one: User, other: User) -> str:
    """The room of these two, who are not the same, whoever of them asks."""
    first, second = sorted((one, other), key=lambda user: name_key(user.name))
    return f"@{part_of(first)},{part_of(second)}"


def parts_of(room: str) -> Sequence[str]:
    """What stands for the two in the name of their room; nothing where it is no such room."""
    return room[1:].split(",") if room.startswith("@") else ()


def users_of(room: str) -> Sequence[str]:
    """Who is in a room of two and can come back: its accounts. Nobody where the room is another one."""
    if not room.startswith("@"):
        return ()
    return [name for name in room[1:].split(",") if not name.startswith("~")]


def has_guest(room: str) -> bool:
    """Whether it is a room of two that is forgotten with a guest: such rooms are never in a file."""
    return room.startswith("@") and "~" in room
