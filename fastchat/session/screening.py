"""What hooks have to say about a message before it is stored, in its sender's order. Pure.

Where all of them answer at once nothing waits. Otherwise the message waits, and behind it those that the same
session sends: hooks look at them meanwhile, but they are stored in the order in which they were sent.
Messages that wait count as events that are not stored yet, which bounds them (see ``turns.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fastchat._hooks import Entry
from fastchat.hooks.interface import UNASKED, Hooks, Message, Question
from fastchat.messages import Command, WireError
from fastchat.room import Membership
from fastchat.session.conversation import Conversation
from fastchat.session.interface import READY
from fastchat.store import Draft, Kind

Store = Callable[[Conversation, Command, Draft, Membership], None]
"""Has an event stored and answers the command; ``begin_storing`` comes before it."""

WORDED = (Kind.MESSAGE, Kind.EDITED)
"""Events that say something in words, which ``on_message`` is asked about."""


def finish(entry: Entry) -> None:
    """Stores an event that was changed, and refuses what has to be refused."""
    answer, session, draft = entry.answer, entry.session, entry.draft
    # Nobody is there any more to be told that it was stored, or that it may not be.
    if session.state is not READY:
        session.end_storing()
        return
    try:
        if isinstance(answer, WireError):
            raise answer
        membership = session.membership(entry.command["room"])
    except WireError as error:
        session.refuse(error, entry.command.get("ref"))
        session.end_storing()
        return
    entry.store(
        session, entry.command, draft if answer is entry.message else changed(draft, answer), membership
    )


def on_permission(entry: Entry, answer: Any) -> None:
    """The user may do it (None), or not (a WireError); now it depends on what is said."""
    session, draft = entry.session, entry.draft
    hooks = session.hub.hooks
    if answer is not None or not hooks.messages or draft.kind not in WORDED:
        entry.on_answer(answer)
        return
    looked = hooks.ask_draft(session.person, entry.command["room"], draft)
    if looked is not None:
        entry.message, answer = looked
    if isinstance(answer, Question):
        answer.entry = entry
    else:
        entry.on_answer(answer)


def changed(draft: Draft, message: Message | None) -> Draft:
    """The same event with what a hook has made of its words."""
    if message is None:
        return draft
    fields: dict[str, Any] = {"text": message.text}
    if message.data is not None:
        fields["data"] = message.data
    return Draft(draft.kind, draft.author, draft.at_ms, fields, draft.id, draft.of)


def screen(
    session: Conversation,
    command: Command,
    draft: Draft,
    membership: Membership,
    store: Store,
    looked: Any,
) -> None:
    """Has hooks look at the event, and stores it when they agree. Raises WireError.

    ``looked`` is what they have said at once (see ``Hooks.look``), or that they have to be asked.
    """
    hooks = session.hub.hooks
    assert hooks is not None
    if looked is UNASKED:
        looked = None
        if hooks.actions:
            answer = hooks.ask_action(session.person, command["type"], command["room"])
            if type(answer) is Question:
                entry = _wait(hooks, session, command, draft, membership, store, None)
                answer.on_answer = partial(on_permission, entry)
                return
            looked = None if answer is None else (None, answer)
        if looked is None and hooks.messages and draft.kind in WORDED:
            looked = hooks.ask_draft(session.person, command["room"], draft)
    message, answer = looked or (None, None)
    if type(answer) is Question:
        answer.entry = _wait(hooks, session, command, draft, membership, store, message)
        return
    if hooks.waiting and session in hooks.waiting:
        entry = _wait(hooks, session, command, draft, membership, store, message)
        entry.answer, entry.answered = answer, True
        return
    if isinstance(answer, WireError):
        raise answer
    session.begin_storing()
    store(session, command, draft if answer is message else changed(draft, answer), membership)


def _wait(
    hooks: Hooks,
    session: Conversation,
    command: Command,
    draft: Draft,
    membership: Membership,
    store: Store,
    message: Message | None,
) -> Entry:
    """Has the event wait behind those of its session that wait already."""
    waiting = hooks.waiting
    entry = Entry(waiting, session, command, draft, membership, store, finish, message)
    session.begin_storing()
    before = waiting.get(session)
    if before is not None:
        before.after = entry
        entry.first = False
    waiting[session] = entry
    return entry
