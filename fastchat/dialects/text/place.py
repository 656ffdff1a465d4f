"""Who a person is and where: what commands mean depends on it. Pure: no sockets, clock or await."""

from fastchat.messages import Code, WireError


class Place:
    """A person's name, rooms, and the one that plain lines go to.

    ``lobby`` is where newcomers are taken; empty on the operator's own socket, where they are taken nowhere.
    """

    __slots__ = ("lobby", "pairs", "room", "rooms", "user")

    def __init__(self, lobby: str) -> None:
        self.lobby = lobby
        self.user = ""
        self.room = ""
        self.rooms: list[str] = []
        self.pairs: dict[str, str] = {}  # rooms of two, by the other's name

    def here(self) -> str:
        """The room that is meant where none is named. Raises WireError where there is none."""
        room = self.room if self.user else self.lobby
        if not room:
            raise WireError(Code.NOT_JOINED, f"you are in no room; /join {self.lobby or 'ROOM'}")
        return room

    def enter(self, room: str) -> None:
        """The person has entered the room, and talks there now."""
        self.room = room
        self.rooms.append(room)

    def leave(self, room: str) -> None:
        """The person is not in the room any more; the last other one is where words go."""
        if room in self.rooms:
            self.rooms.remove(room)
        if self.room == room:
            self.room = self.rooms[-1] if self.rooms else ""

    def meet(self, room: str) -> str:
        """There is a room of two with somebody, whose name is returned."""
        other = self.other(room)
        self.pairs[other.casefold()] = room
        return other

    def other(self, room: str) -> str:
        """With whom one has this room of two."""
        names = [part.removeprefix("~") for part in room[1:].split(",")]
        return next((name for name in names if name.casefold() != self.user.casefold()), self.user)
