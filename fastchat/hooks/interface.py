"""What hooks are, and what a session asks of them. Pure: no sockets, clock or await."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from fastchat._events import Draft
from fastchat._hooks import UNASKED as UNASKED
from fastchat._hooks import Counters as Counters
from fastchat._hooks import Message as Message
from fastchat._hooks import Question as Question
from fastchat.messages import WireError
from fastchat.people import User

REASON_LENGTH_MAX = 200
"""Characters of a reason that a client is shown."""


class Refuse(Exception):
    """Raised by a hook: what it was asked about is not done, and the client reads the reason."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class Kind(StrEnum):
    """The names under which hooks are looked for in what an operator installs."""

    AUTHENTICATE = "authenticate"
    AUTHORIZE = "authorize"
    ON_MESSAGE = "on_message"
    ON_JOIN = "on_join"
    ON_LEAVE = "on_leave"
    ON_CONNECT = "on_connect"
    ON_DISCONNECT = "on_disconnect"
    ON_START = "on_start"


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for hooks of one kind: their time limit, and whether failing refuses."""

    timeout_s: float = 1.0
    refuses: bool = True


class Hooks(Protocol):
    """What sessions ask and tell. MUST NOT block."""

    messages: bool
    """Whether ``ask_draft`` does anything."""

    actions: bool
    """Whether ``ask_action`` does anything."""

    waiting: dict[Any, Any]
    """What waits for an answer, by session; the sessions' own (see ``session/screening.py``)."""

    def look(self, session: Any, room: str, draft: Draft) -> Any:
        """Asks about an event at once where that is possible, which is most often so.

        None where it may be stored as it is; what ``ask_draft`` says; or UNASKED where more has to be asked.
        """

    def ask_draft(self, user: User, room: str, draft: Draft) -> tuple[Message, Any] | None:
        """None where the user may say it as it is. Else what the hooks have looked at, and their answer.

        The answer is the Message as it is to be said, the WireError that says why not, or a Question whose
        answer is one of both.
        """

    def tell(self, kind: Kind, *args: Any) -> None:
        """Something has happened; nobody waits for what hooks do about it."""

    def ask_action(self, user: User, action: str, room: str) -> WireError | Question | None:
        """Why the user may not do this here, None where nothing is against it; or a Question."""


def clean_reason(reason: object) -> str:
    """A reason as a client may be shown it: one line, nothing invisible, not too long."""
    text = "".join(char if char.isprintable() else " " for char in str(reason)[: 4 * REASON_LENGTH_MAX])
    return " ".join(text.split())[:REASON_LENGTH_MAX]
