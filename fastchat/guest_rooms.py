"""Rooms of two with a guest, kept as long as the guest is there. Pure: no sockets, clock or await."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from fastchat.store.pairs import parts_of


class PinnedRoom(Protocol):
    """A room, as far as it has to be kept."""

    name: str
    awaited: int
    """Who needs it, whether it has members or not."""


Kept = TypeVar("Kept", bound=PinnedRoom)


class GuestRooms(Generic[Kept]):
    """Such rooms by who is in them. They are in memory: nobody who gets the guest's name later reads them."""

    def __init__(self) -> None:
        self._by_part: dict[str, dict[str, Kept]] = {}

    def __len__(self) -> int:
        return sum(len(rooms) for part, rooms in self._by_part.items() if part.startswith("~"))

    def keep(self, room: Kept) -> None:
        """Keeps the room, with what has been said and forbidden in it, until its guest is forgotten."""
        if self.has(room):
            return
        room.awaited += 1
        for part in parts_of(room.name):
            self._by_part.setdefault(part, {})[room.name] = room

    def has(self, room: Kept) -> bool:
        """Whether the room is kept."""
        return room.name in self._by_part.get(parts_of(room.name)[0], ())

    def count(self, part: str) -> int:
        """How many rooms somebody has here."""
        return len(self._by_part.get(part, ()))

    def of(self, part: str) -> list[Kept]:
        """Somebody's rooms."""
        return list(self._by_part.get(part, {}).values())

    def forget(self, guest: str) -> list[Kept]:
        """The rooms of a guest who has gone; they are not kept any more."""
        rooms = self._by_part.get(guest)
        if rooms is None:
            return []
        found = list(rooms.values())
        for room in found:
            room.awaited -= 1
            for part in parts_of(room.name):
                del self._by_part[part][room.name]
                if not self._by_part[part]:
                    del self._by_part[part]
        return found
