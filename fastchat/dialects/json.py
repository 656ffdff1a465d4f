"""JSON: a command is an object, so is a reply. Pure: no sockets, clock or await."""

from collections.abc import Sequence

from fastchat._ring import Profile
from fastchat.messages import Command, Reply, dumps, encode_sent, parse_object
from fastchat.store import Stored


class JsonDialect:
    """For programs. Stateless: all connections of a listener share one, and its framing."""

    __slots__ = ("_profile",)

    echo = True
    patient = False

    def __init__(self, profile: Profile) -> None:
        self._profile = profile

    def parse(self, payload: bytes) -> Sequence[Command]:
        """One command. Raises WireError."""
        return (parse_object(payload),)

    def encode(self, reply: Reply) -> bytes:
        """The reply as JSON in the listener's framing."""
        return self._profile.encode(dumps(reply))

    def encode_sent(self, room: str, stored: Stored, event_id: str | None, ref: str | int | None) -> bytes:
        """The reply ``sent`` in the listener's framing."""
        return self._profile.encode(encode_sent(room, stored, event_id, ref))
