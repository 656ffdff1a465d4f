"""In whose name other services speak. Pure: no sockets, clock or await.

An account's name is the account's, also for a service. Another name is the service's own: nobody else may be
called so as long as it is held here, which is until the server stops, or so many others have spoken since.
"""

from collections.abc import Callable
from functools import partial

from fastchat.auth.names import name_key
from fastchat.local import LocalUser
from fastchat.messages import Code, WireError
from fastchat.people import LOCAL_USER, RESERVED_NAMES
from fastchat.rooms import Hub
from fastchat.store import Account

HELD_MAX = 1000
"""Names of programs that are held; beyond, the one that has been silent for longest is let go."""

KNOWN_S = 1.0
"""So long it is not asked again whether an account is there."""

Answer = Callable[[str | WireError], None]


class Authors:
    """Tells what a message has as ``from``, and keeps programs' names theirs."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._held: dict[str, LocalUser] = {}
        self._known: dict[str, tuple[float, str | WireError]] = {}

    def find(self, name: str | None, done: Answer) -> None:
        """The author's name as it is spelled; a WireError where nobody can speak under it."""
        if name is None or name == LOCAL_USER:
            done(LOCAL_USER)
            return
        known = self._known.get(name)
        if known is not None and self._hub.clock() < known[0]:
            done(known[1])
            return
        key = name_key(name)
        if key in RESERVED_NAMES:
            done(WireError(Code.NAME_TAKEN, f"from is {name}, which is this server's own name", field="from"))
        else:
            self._hub.store.account(key, partial(self._on_account, name, key, done))

    def _on_account(self, name: str, key: str, done: Answer, account: Account | WireError | None) -> None:
        if isinstance(account, WireError):
            done(account)
            return
        found = self._hold(name, key) if account is None else _speaker(account)
        if len(self._known) >= HELD_MAX:
            self._known.clear()
        self._known[name] = (self._hub.clock() + KNOWN_S, found)
        done(found)

    def _hold(self, name: str, key: str) -> str | WireError:
        user = self._held.pop(key, None)
        if user is None:
            user = LocalUser(name)
            try:
                self._hub.population.enter(user, user.person)
            except WireError:
                return WireError(
                    Code.NAME_TAKEN,
                    f"from is {name}, and somebody else is called so at the moment; make it an account that "
                    f"is nobody else's with: fastchat user add {name}",
                    field="from",
                )
            if len(self._held) >= HELD_MAX:
                self._let_go(next(iter(self._held)))
        self._held[key] = user
        return user.user

    def _let_go(self, key: str) -> None:
        user = self._held.pop(key)
        self._hub.population.leave(user)
        self._hub.forget_guest(user.person)

    def close(self) -> None:
        """Lets all names go."""
        for key in [*self._held]:
            self._let_go(key)


def _speaker(account: Account) -> str | WireError:
    if account.disabled:
        return WireError(
            Code.FORBIDDEN,
            f"from is {account.name}, an account that is disabled; enable it, or use another name",
            field="from",
        )
    return account.name
