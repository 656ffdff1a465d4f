"""Hooks whose answers come when the test says so."""

from collections.abc import Callable
from typing import Any

from fastchat._events import Draft
from fastchat._hooks import look_of
from fastchat.hooks.interface import UNASKED, Kind, Message, Question
from fastchat.messages import Code, WireError
from fastchat.people import User


def refused(reason: str = "not here") -> WireError:
    """What a client is told where a hook refuses."""
    return WireError(Code.REFUSED, reason)


class SlowHooks:
    """One ``on_message`` hook, or one ``authorize`` hook, or both.

    ``decide`` answers at once what it has an answer for; the rest waits in ``asked`` until ``answer``.
    """

    def __init__(self, *, messages: bool = True, actions: bool = False) -> None:
        self.messages = messages
        self.actions = actions
        self.waiting: dict[Any, Any] = {}
        self.asked: list[Any] = []
        """The messages and actions, as they came."""
        self.told: list[Any] = []
        """What has happened."""
        self.decide: Callable[[Any], Any] = lambda asked: None
        """What is said at once of a message or ``(user, action, room)``: an answer, or None to wait."""
        self._questions: list[Question] = []

    def look(self, session: Any, room: str, draft: Draft) -> Any:
        return UNASKED

    def ask_draft(self, user: User, room: str, draft: Draft) -> Any:
        message = look_of(user, room, draft)
        answer = self._ask(message)
        return None if answer is message else (message, answer)

    def ask_action(self, user: User, action: str, room: str) -> Any:
        return self._ask((user.name, action, room))

    def tell(self, kind: Kind, *args: Any) -> None:
        self.told.append((kind, *args))

    def _ask(self, asked: Any) -> Any:
        self.asked.append(asked)
        if (answer := self.decide(asked)) is not None:
            return None if answer is True else answer
        question = Question(self)
        question.args = (asked,)
        self._questions.append(question)
        return question

    @property
    def open(self) -> int:
        """How many questions wait."""
        return len(self._questions)

    def answer(self, index: int = 0, answer: Any = None) -> None:
        """Answers one of those that wait: lets it pass, unless there is another answer."""
        question = self._questions.pop(index)
        (asked,) = question.args
        if answer is None and isinstance(asked, Message):
            answer = asked
        question.reply(answer)


def otherwise(message: Message, text: str, data: dict[str, Any] | None = None) -> Message:
    """The message as a hook has changed it."""
    return Message(message.user, message.room, text, data, message.id, message.at_ms, message.edits)
