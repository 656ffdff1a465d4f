"""What hooks have to say about a message before it is stored, in its sender's order. Pure.

Where all of them answer at once nothing waits. Otherwise the message waits, and behind it those that the same
session sends: hooks look at them meanwhile, but they are stored in the order in which they were sent.
Messages that wait count as events that are not stored yet, which bounds them (see ``turns.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastchat._hooks import Entry
from fastchat.hooks.interface import Hooks, Message, Question
from fastchat.messages import Command, WireError
from fastchat.rooms import Membership
from fastchat.session.conversation import Conversation
from fastchat.session.interface import State
from fastchat.store import Draft, Kind

Store = Callable[[Conversation, Command, Draft, Membership], None]
"""Has an event stored and answers the command; ``begin_storing`` comes before it."""

WORDED = (Kind.MESSAGE, Kind.EDITED)
"""Events that say something in words, which ``on_message`` is asked about."""

READY = State.READY


class Waiting(Entry):
    """An event that waits for hooks, or for one of the same session before it.

    ``Hooks.waiting`` has each session's last one; ``after`` is the next one. Whose turn it is is ``first``.
    """

    __slots__ = ()

    def on_permission(self, answer: WireError | None) -> None:
        """The user may do it, or not; now it depends on what is said."""
        hooks, draft = self.session.hub.hooks, self.draft
        if answer is not None or not hooks.messages or draft.kind not in WORDED:
            self.on_answer(answer)
            return
        self.message = look_of(self.session, self.command["room"], draft)
        looked = hooks.ask_message(self.message)
        if isinstance(looked, Question):
            looked.on_answer = self.on_answer
        else:
            self.on_answer(looked)

    def on_answer(self, answer: Message | WireError | None) -> None:
        """The hooks have looked at it: it is stored, and those behind it that they have looked at, too."""
        self.answer = answer
        self.answered = True
        if not self.first:
            return
        session, entry = self.session, self
        while entry.answered:
            if entry.after is None:
                del session.hub.hooks.waiting[session]
                entry.finish()
                return
            entry.finish()
            entry = entry.after
            entry.first = True

    def finish(self) -> None:
        """Stores or refuses it."""
        answer, session, draft = self.answer, self.session, self.draft
        # Nobody is there any more to be told that it was stored, or that it may not be.
        if session.state is not READY:
            session.end_storing()
            return
        try:
            if isinstance(answer, WireError):
                raise answer
            membership = session.membership(self.command["room"])
        except WireError as error:
            session.refuse(error, self.command.get("ref"))
            session.end_storing()
            return
        self.store(
            session, self.command, draft if answer is self.message else changed(draft, answer), membership
        )


def changed(draft: Draft, message: Message | None) -> Draft:
    """The same event with what a hook has made of its words."""
    if message is None:
        return draft
    fields: dict[str, Any] = {"text": message.text}
    if message.data is not None:
        fields["data"] = message.data
    return Draft(draft.kind, draft.author, draft.at_ms, fields, draft.id, draft.of)


def screen(
    session: Conversation, command: Command, draft: Draft, membership: Membership, store: Store
) -> None:
    """Has hooks look at the event, and stores it when they agree. Raises WireError."""
    hooks = session.hub.hooks
    assert hooks is not None
    message: Message | None = None
    answer: Any = None
    if hooks.actions:
        answer = hooks.ask_action(session.person, command["type"], command["room"])
        if type(answer) is Question:
            entry = Waiting(session, command, draft, store, None)
            answer.on_answer = entry.on_permission
            _wait(hooks, entry)
            return
    if answer is None and hooks.messages and draft.kind in WORDED:
        message = look_of(session, command["room"], draft)
        answer = hooks.ask_message(message)
    waits = type(answer) is Question
    if not waits and (not hooks.waiting or session not in hooks.waiting):
        if isinstance(answer, WireError):
            raise answer
        session.begin_storing()
        store(session, command, draft if answer is message else changed(draft, answer), membership)
        return
    entry = Waiting(session, command, draft, store, message)
    if waits:
        answer.on_answer = entry.on_answer
    else:
        entry.answer, entry.answered = answer, True
    _wait(hooks, entry)


def _wait(hooks: Hooks, entry: Waiting) -> None:
    session, waiting = entry.session, hooks.waiting
    session.begin_storing()
    before = waiting.get(session)
    if before is not None:
        before.after = entry
        entry.first = False
    waiting[session] = entry


def look_of(session: Conversation, room: str, draft: Draft) -> Message:
    """The event as hooks see it."""
    fields = draft.fields
    return Message(session.person, room, fields["text"], fields.get("data"), draft.id, draft.at_ms, draft.of)
