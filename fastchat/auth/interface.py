"""What a session asks to find out who its client is. Pure: no sockets, clock or await."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fastchat.messages import WireError
from fastchat.people import User
from fastchat.store.interface import Account

Answer = Callable[[User | WireError], None]
AccountAnswer = Callable[[Account | WireError | None], None]


@dataclass(slots=True)
class Credentials:
    """What a client says of itself: a token, a name with its password, a guest's name, or nothing at all."""

    user: str | None = None
    password: str | None = None
    token: str | None = None
    address: str = ""


class Authenticator(Protocol):
    """Tells who a client is. Each ``done`` is called exactly once, in the loop's thread, perhaps at once."""

    def authenticate(self, credentials: Credentials, done: Answer) -> None:
        """Who the client is. A guest's name that is free may still be claimed by somebody else meanwhile.

        A guest that names nothing has an empty name: whoever knows who is online makes one up.
        """

    def register(self, name: str, password: str, address: str, done: Answer) -> None:
        """Makes an account, where the settings allow it."""

    def change_password(self, user: User, old: str, new: str, address: str, done: Answer) -> None:
        """Refuses a wrong ``old`` as a login does. Tokens made before are not taken any more."""

    def renew(self, user: User, token: str, done: Answer) -> None:
        """The same user by a newer token; ``forbidden`` where it is another's."""


class Accounts(Protocol):
    """What the server's operators may do to accounts, whatever the settings allow others. As above."""

    def key(self, name: str) -> str:
        """What the name has in common with all that look like it. Raises WireError for what is no name."""

    def add_account(self, name: str, password: str | None, operator: bool, done: AccountAnswer) -> None:
        """Makes an account."""

    def set_password(self, name: str, password: str, done: AccountAnswer) -> None:
        """Gives an account another password; None where there is no such account."""
