"""Whether ``authorize`` hooks let a session do something. Pure: no sockets, clock or await.

They are asked beside a room's own rules, and can only forbid. What adds a message to a room is asked about in
``screening.py``, as it must keep its order; joining as the room is looked for, so that it is the same for a
``join`` and a ``resume``; everything else before it is carried out, while the next commands wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastchat.hooks.interface import Question
from fastchat.messages import COMMANDS, Command, WireError
from fastchat.session.conversation import Conversation

NOT_ASKED_ABOUT = frozenset(
    # Before there is somebody to ask about; about oneself; asked about elsewhere, see above.
    ("hello", "ping", "rooms", "leave", "ack", "typing", "join", "send", "edit", "delete", "react")
)

ASKED_ABOUT = (
    frozenset(kind for kind, fields in COMMANDS.items() if "room" in {**fields.required, **fields.optional})
    - NOT_ASKED_ABOUT
)
"""Commands about a room that are carried out when hooks have agreed."""

Find = Callable[[Callable[[Any], None]], None]


def ask_first(session: Conversation, command: Command, carry_out: Callable[[], None]) -> None:
    """Carries out a command if hooks let the user. Raises WireError."""
    hooks = session.hub.hooks
    assert hooks is not None
    answer = hooks.ask_action(session.person, command["type"], command.get("room", ""))
    if answer is None:
        carry_out()
    elif isinstance(answer, WireError):
        raise answer
    else:
        _wait(session, command, answer, carry_out)


def _wait(session: Conversation, command: Command, question: Question, carry_out: Callable[[], None]) -> None:
    def on_answer(answer: WireError | None) -> None:
        if answer is None:
            session.keep_first([in_turn])
        else:
            session.refuse(answer, command.get("ref"))
        session.go_on()

    def in_turn() -> None:
        try:
            carry_out()
        except WireError as error:
            session.refuse(error, command.get("ref"))

    session.wait()
    question.on_answer = on_answer


def permitted(session: Conversation, action: str, room: str, find: Find) -> Find:
    """What finds the same if hooks let the user, and the error if they don't."""
    hooks = session.hub.hooks
    assert hooks is not None

    def ask_and_find(done: Callable[[Any], None]) -> None:
        def on_answer(answer: WireError | None) -> None:
            if answer is None:
                find(done)
            else:
                done(answer)

        answer = hooks.ask_action(session.person, action, room)
        if isinstance(answer, Question):
            answer.on_answer = on_answer
        else:
            on_answer(answer)

    return ask_and_find
