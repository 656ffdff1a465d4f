"""What one node tells another of its people: the shapes of it. Pure: no sockets, clock or await.

A payload is a JSON array. ``number`` counts a node's lists of changes; whoever has heard all up to one and
applied them in order knows what there is to know.

==========================================================  ==========================================
``["changes", number, changes]``                            what has changed
``["ask", ask, since, number]``                             a snapshot is wanted; the commands behind
                                                            ``since`` were not heard. ``number`` is one's own
``["snapshot", ask, index, is_last, number, changes]``      one piece of it, as of ``number``
==========================================================  ==========================================

Each change is an array that begins with a letter (see the names below). All but commands may be applied
again: they say how it is, not how it became so.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import orjson

from fastchat.people import Grant, Role, User

Change: TypeAlias = list[Any]

CHANGES: Final = "changes"
ASK: Final = "ask"
SNAPSHOT: Final = "snapshot"

CAME: Final = "c"
"""session, name, flags, {room: cursor}: all of a session; most and grants where they are not the usual."""
WENT: Final = "g"
"""session: it is over, and in no room any more."""
JOINED: Final = "j"
"""session, room, cursor."""
LEFT: Final = "l"
"""session, room."""
READ: Final = "r"
"""session, room, seq."""
TYPING: Final = "t"
"""session, room."""
AWAY: Final = "a"
"""user, turn, node, text: the ``Word`` that is known of whether the user is away."""
DIRECT: Final = "d"
"""room, seq: this was stored in a room of two; seq 0: it has to be kept as long as its guests are there."""
SEND_AWAY: Final = "x"
"""serial, name, code, reason: a command."""
OPERATOR: Final = "o"
"""serial, name, is operator: a command."""

COMMANDS = (SEND_AWAY, OPERATOR)
"""Done once. A node's are numbered by themselves: their ``serial``."""

GUEST, IS_OPERATOR = 1, 2


def describe(session: int, person: User, rooms: Mapping[str, int]) -> Change:
    """All that others know of a session."""
    flags = GUEST * person.guest + IS_OPERATOR * person.operator
    change: Change = [CAME, session, person.name, flags, rooms]
    if person.most is not Role.OWNER or person.grants is not None:
        grants = None if person.grants is None else [[each.pattern, each.role] for each in person.grants]
        change += [person.most, grants]
    return change


def person_of(change: Change) -> User:
    """Who a session is that was described."""
    _, _, name, flags, _, *rest = change
    guest, operator = bool(flags & GUEST), bool(flags & IS_OPERATOR)
    if not rest:
        return User(name, guest, operator)
    most, grants = rest
    granted = None if grants is None else tuple(Grant(pattern, Role(role)) for pattern, role in grants)
    return User(name, guest, operator, Role(most), granted)


def parse(payload: bytes) -> list[Any]:
    """A payload as an array whose form is right; what is in its changes is looked at as they are applied.

    Raises ValueError.
    """
    message = orjson.loads(payload)
    if not isinstance(message, list) or not message:
        raise ValueError("what a node told of its people is no array")
    numbers = {CHANGES: 1, ASK: 3, SNAPSHOT: 4}.get(str(message[0]))
    if numbers is None or len(message) != 1 + numbers + (message[0] != ASK):
        raise ValueError(f"what a node told of its people is of no known kind: {message[0]!r}")
    if not all(isinstance(each, int) and each >= 0 for each in message[1 : 1 + numbers]):
        raise ValueError(f"{message[0]} with something else where a number belongs")
    if message[0] != ASK:
        changes = message[-1]
        if not isinstance(changes, list) or not all(isinstance(each, list) and each for each in changes):
            raise ValueError(f"{message[0]} without a list of changes")
    return message
