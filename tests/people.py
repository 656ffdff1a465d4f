"""Accounts for tests, without passwords' cost: whoever is registered comes in with the right word."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from fastchat.auth.interface import Answer, Credentials
from fastchat.auth.names import name_key
from fastchat.messages import Code, WireError
from fastchat.people import User


def unauthorized() -> WireError:
    """What is said to who does not prove who it is."""
    return WireError(Code.UNAUTHORIZED, "wrong user or password")


@dataclass
class Doorkeeper:
    """An `Authenticator`: accounts by name with their passwords, and the users that tokens are for.

    While ``hold`` is set answers wait in ``waiting`` until ``answer``; they are what was true when they were
    asked for, as those about a password are.
    """

    passwords: dict[str, str] = field(default_factory=dict)
    tokens: dict[str, User] = field(default_factory=dict)
    operators: set[str] = field(default_factory=set)
    hold: bool = False
    waiting: list[Callable[[], None]] = field(default_factory=list)
    asked: list[Credentials] = field(default_factory=list)

    def answer(self) -> None:
        """Answers everything that waits, in the order in which it was asked."""
        while self.waiting:
            self.waiting.pop(0)()

    def authenticate(self, credentials: Credentials, done: Answer) -> None:
        self.asked.append(credentials)
        self._tell(self._find(credentials), done)

    def _find(self, credentials: Credentials) -> User | WireError:
        if credentials.token is not None:
            return self.tokens.get(credentials.token) or unauthorized()
        name = credentials.user or ""
        known = {name_key(each): each for each in self.passwords}.get(name_key(name))
        if credentials.password is not None:
            if known is None or self.passwords[known] != credentials.password:
                return unauthorized()
            return User(known, guest=False, operator=known in self.operators)
        if known is not None:
            return WireError(Code.NAME_TAKEN, f"user {known} is registered", field="user")
        return User(name)

    def register(self, name: str, password: str, address: str, done: Answer) -> None:
        if name_key(name) in map(name_key, self.passwords):
            self._tell(WireError(Code.NAME_TAKEN, f"user {name} is registered", field="user"), done)
            return
        self.passwords[name] = password
        self._tell(User(name, guest=False), done)

    def change_password(self, user: User, old: str, new: str, address: str, done: Answer) -> None:
        if self.passwords[user.name] != old:
            self._tell(unauthorized(), done)
            return
        self.passwords[user.name] = new
        self._tell(user, done)

    def renew(self, user: User, token: str, done: Answer) -> None:
        newer = self.tokens.get(token)
        if newer is None:
            self._tell(unauthorized(), done)
        elif newer.name != user.name:
            self._tell(WireError(Code.FORBIDDEN, "that token is somebody else's"), done)
        else:
            self._tell(replace(newer), done)

    def _tell(self, answer: User | WireError, done: Answer) -> None:
        if self.hold:
            self.waiting.append(lambda: done(answer))
        else:
            done(answer)
