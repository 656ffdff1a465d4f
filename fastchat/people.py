"""Who somebody is: a guest or an account, and what a token grants. Pure: no sockets, clock or await."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase


class Role(IntEnum):
    """What somebody is in a room; each may do what those before it may."""

    OUTSIDER = 0
    READER = 1
    MEMBER = 2
    MODERATOR = 3
    OWNER = 4


# By names of their own: to look one up in an enumeration's class takes as long as a call.
MEMBER, OWNER = Role.MEMBER, Role.OWNER


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token allows in rooms whose names match ``pattern`` (``*`` and ``?`` as in file names)."""

    pattern: str
    role: Role


# Not frozen: that takes four times as long to make, and thousands come back at once.
@dataclass(slots=True, unsafe_hash=True)
class User:
    """One person or program, the same object for all that it does on one connection.

    MUST NOT be changed: who is somebody else is another object.

    ``name`` is what events carry as ``from``; of an account as it was registered. ``most`` is the highest
    role that it may have in any room: guests that may only read are readers everywhere. ``grants``: with a
    token that names rooms these alone are there, with these roles at most and at least; None where it names
    none. ``issued_at_ms`` and ``expires_at_ms`` are the token's, in milliseconds since 1970.
    """

    name: str
    guest: bool = True
    operator: bool = False
    most: Role = Role.OWNER
    grants: Sequence[Grant] | None = None
    issued_at_ms: int | None = None
    expires_at_ms: int | None = None

    def granted(self, room: str) -> Role | None:
        """The role that the token gives in this room; None where it is not the token that decides."""
        if self.grants is None:
            return None
        return max(
            (grant.role for grant in self.grants if fnmatchcase(room, grant.pattern)), default=Role.OUTSIDER
        )


OPERATOR = User("operator", guest=False, operator=True)
"""Whoever runs the server, on its control socket. Nobody else can be called so."""

RESERVED_NAMES = frozenset({OPERATOR.name})

LOCAL_USER = "server"
"""Who says what a program inside of the server says that has no other name. Each node has one of its own."""
