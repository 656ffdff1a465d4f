"""One node among those that share a database: its lease, its slots, its guests' names.

A guest's name is claimed by the node where the guest is. Where a node has died, its guests' names are not
free before their rooms of two are gone: nobody who gets the name later reads what was said in them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from fastchat.auth.names import name_key
from fastchat.messages import WireError
from fastchat.store.interface import Standing
from fastchat.store.pairs import parts_of
from fastchat.store.postgres.changes import Changes
from fastchat.store.postgres.connection import Connection
from fastchat.store.postgres.schema import escape, unescape
from fastchat.store.shared import SharedReads

_BEAT = "SELECT renewed, living, own, ended FROM beat($1, $2)"
_CLAIM = "SELECT renewed, taken FROM claim($1, $2, $3)"
_RELEASE = "DELETE FROM claims WHERE node = $1 AND key = ANY ($2::text[])"
_FORGET = "SELECT forget($1)"
_ROOMS_OF_GUESTS = "SELECT name FROM rooms WHERE name LIKE '@%~%'"
_FREE = "DELETE FROM claims WHERE node IS NULL AND key = ANY ($1::text[])"
# A node that ends need not wait until its lease does.
_LEAVE = """
    WITH ended AS (DELETE FROM nodes WHERE node = $1),
        freed AS (UPDATE slots SET node = NULL, leaving = false WHERE node = $1)
    UPDATE claims SET node = NULL WHERE node = $1
"""

LEASE_S = 10.0


class Sharing:
    """This node's part in what they share. ``node`` is its name."""

    def __init__(self, node: str, changes: Changes, *, lease_s: float = LEASE_S) -> None:
        self.node = node
        self._changes = changes
        self._lease_s = lease_s
        self._has_lease = False  # it has had one
        self._lapsed = False  # since the last beat
        self._claims = SharedReads[Sequence[str], Collection[str]](changes, self._claim)
        self._released = _Later(changes, self._release)
        self._forgotten = _Later(changes, _forget)

    def beat(self, done: Callable[[Standing | WireError], None]) -> None:
        """One round trip; more where a node has died whose guests are to be forgotten."""
        self._changes.submit(self._beat, done)

    async def _beat(self, connection: Connection) -> Standing:
        renewed, living, own, ended = await connection.fetchrow(_BEAT, self.node, self._lease_s)
        self._on_renewed(renewed)
        renewed, self._lapsed = not self._lapsed, False
        if ended:
            await _forget_guests(connection, ended)
        return Standing(tuple(living), frozenset(own), renewed)

    def _on_renewed(self, renewed: bool) -> None:
        # The first lease is none that was lost.
        self._lapsed = self._lapsed or (self._has_lease and not renewed)
        self._has_lease = True

    def claim(self, keys: Sequence[str], done: Callable[[Collection[str] | WireError], None]) -> None:
        """All who ask meanwhile share one round trip."""
        self._released.withdraw(keys)
        self._claims.ask(keys, done)

    async def _claim(
        self, connection: Connection, questions: Sequence[Sequence[str]]
    ) -> Sequence[Collection[str]]:
        asked = list({escape(key): None for keys in questions for key in keys})
        renewed, found = await connection.fetchrow(_CLAIM, self.node, self._lease_s, asked)
        self._on_renewed(renewed)
        taken = set(map(unescape, found))
        return [taken.intersection(keys) for keys in questions]

    def release(self, keys: Sequence[str]) -> None:
        """All that gather meanwhile are released together; where that fails, they are later."""
        self._released.add(keys)

    async def _release(self, connection: Connection, keys: Sequence[str]) -> None:
        # Whoever gets a name next must not find what is still to be forgotten.
        if rooms := self._forgotten.names:
            await _forget(connection, rooms)
        await connection.execute(_RELEASE, self.node, list(map(escape, keys)))

    def forget(self, room: str) -> None:
        """As ``release``."""
        self._forgotten.add([room])

    async def leave(self, connection: Connection) -> None:
        """Ends this node's lease, as it ends itself."""
        await connection.execute(_LEAVE, self.node)


class _Later:
    """What is to be done for some names, all that gather together; and again until it is done."""

    def __init__(self, changes: Changes, run: Callable[[Connection, Sequence[str]], Any]) -> None:
        self._changes = changes
        self._run = run
        self._names: dict[str, int] = {}  # also those that are being done; each time another number
        self._count = 0
        self._submitted = False

    @property
    def names(self) -> Sequence[str]:
        """Those that are not known to be done."""
        return list(self._names)

    def add(self, names: Sequence[str]) -> None:
        self._count += 1
        self._names.update(dict.fromkeys(names, self._count))
        self._submit()

    def withdraw(self, names: Sequence[str]) -> None:
        """It is not to be done any more, unless it is being done, which is over before what comes now."""
        for name in names:
            self._names.pop(name, None)

    def _submit(self) -> None:
        if not self._names or self._submitted:
            return
        self._submitted = True
        taken: dict[str, int] = {}

        async def run(connection: Connection) -> None:
            nonlocal taken
            self._submitted = False  # what comes in between is submitted again
            taken = dict(self._names)
            if taken:
                await self._run(connection, list(taken))

        def on_done(result: WireError | None) -> None:
            if result is not None:
                self._submitted = False
                self._changes.later(self._submit)
                return
            for name, number in taken.items():
                if self._names.get(name) == number:
                    del self._names[name]

        self._changes.submit(run, on_done)


async def _forget(connection: Connection, rooms: Sequence[str]) -> None:
    await connection.execute(_FORGET, list(rooms))


async def _forget_guests(connection: Connection, keys: Sequence[str]) -> None:
    """Takes away the rooms of two of guests who are gone; then their names are free."""
    gone = set(map(unescape, keys))
    async with connection.transaction():
        names = [name for (name,) in await connection.fetch(_ROOMS_OF_GUESTS)]
        theirs = [name for name in names if not gone.isdisjoint(_guests_of(name))]
        await connection.execute(_FORGET, theirs)
        await connection.execute(_FREE, list(keys))


def _guests_of(room: str) -> list[str]:
    """The keys of the guests in a room of two."""
    return [name_key(part[1:]) for part in parts_of(room) if part.startswith("~")]
