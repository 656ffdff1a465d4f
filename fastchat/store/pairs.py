"""Rooms of two by their names, ``@alice,bob`` and ``@alice,~guest-1``. Pure: no sockets, clock or await."""

from collections.abc import Sequence


def users_of(room: str) -> Sequence[str]:
    """Who is in a room of two and can come back: its accounts. Nobody where the room is another one."""
    if not room.startswith("@"):
        return ()
    return [name for name in room[1:].split(",") if not name.startswith("~")]


def has_guest(room: str) -> bool:
    """Whether it is a room of two that is forgotten with a guest: such rooms are never in a file."""
    return room.startswith("@") and "~" in room
