"""Commands that add to a room: send, edit, delete, react, ack, typing. Pure: no sockets, clock or await."""

from functools import partial
from typing import Any

import orjson

from fastchat.messages import Code, Command, WireError
from fastchat.permissions import Action
from fastchat.room import Membership, Room
from fastchat.session.attending import come_back
from fastchat.session.conversation import Conversation
from fastchat.session.gathering import gather
from fastchat.session.interface import CLOSED, Limits
from fastchat.session.moderating import delete as delete_any
from fastchat.session.moderating import may_delete_others
from fastchat.session.screening import screen
from fastchat.store import Draft, Kind, Stored

# Looked up for every message, which takes an enumeration's class its time.
MESSAGE = Kind.MESSAGE

ACTIONS = {
    Kind.MESSAGE: Action.SEND,
    Kind.EDITED: Action.EDIT,
    Kind.DELETED: Action.DELETE,
    Kind.REACTED: Action.REACT,
}


def send(session: Conversation, command: Command, wall_ms: int) -> None:
    """Says something."""
    if command["room"][0] == "@":
        session.membership(command["room"])
        gather(session, command, command["room"], wall_ms, partial(post_message, session, command, wall_ms))
    else:
        post_message(session, command, wall_ms)


def post_message(session: Conversation, command: Command, wall_ms: int) -> None:
    """Says something in a room in which everybody is who has to be."""
    _post(session, command, wall_ms, MESSAGE, _content(command, session.limits))
    if session.hub.away:
        come_back(session)


def edit(session: Conversation, command: Command, wall_ms: int) -> None:
    """Says it otherwise."""
    _post(session, command, wall_ms, Kind.EDITED, _content(command, session.limits))


def delete(session: Conversation, command: Command, wall_ms: int) -> None:
    """Takes back what was said."""
    room = session.membership(command["room"]).room
    if may_delete_others(session, room, wall_ms):
        delete_any(session, command, wall_ms, room, partial(_post, session, command, wall_ms, Kind.DELETED))
    else:
        _post(session, command, wall_ms, Kind.DELETED, {})


def react(session: Conversation, command: Command, wall_ms: int) -> None:
    """Puts a sign to what was said, or takes it away."""
    fields = {"reaction": command["reaction"]}
    if command.get("remove"):
        fields["remove"] = True
    _post(session, command, wall_ms, Kind.REACTED, fields)


def _post(session: Conversation, command: Command, wall_ms: int, kind: Kind, fields: dict[str, Any]) -> None:
    """Has an event stored, if hooks agree; it is answered when the store has answered."""
    membership = session.membership(command["room"])
    draft = Draft(kind, session.user, wall_ms, fields, command.get("id"), command.get("seq"))
    hooks = session.hub.hooks
    if hooks is None or (looked := hooks.look(session, command["room"], draft)) is None:
        session.begin_storing()
        _store(session, command, draft, membership)
    else:
        screen(session, command, draft, membership, _store, looked)


def _store(session: Conversation, command: Command, draft: Draft, membership: Membership) -> None:
    room = membership.room
    if room.rules is not None or room.messages_per_s:
        try:
            _admit(session, room, draft)
        except WireError as error:
            session.refuse(error, command.get("ref"))
            session.end_storing()
            return
    hidden_from = None if session.peer.echo else membership.subscription

    def on_stored(stored: Stored | WireError) -> None:
        if isinstance(stored, WireError):
            session.refuse(stored, command.get("ref"))
        elif session.state is not CLOSED:
            session.peer.reply_sent(command["room"], stored, draft.id, command.get("ref"))
        session.end_storing()

    room.post(draft, hidden_from, on_stored)


def _admit(session: Conversation, room: Room, draft: Draft) -> None:
    """Raises WireError where the room's rules or its pace are against the event."""
    if (rules := room.rules) is not None:
        # Checked when it came, but hooks and the store may have taken their time since.
        rules.check(session.person, ACTIONS[draft.kind], draft.at_ms)
        if draft.kind is MESSAGE:
            rules.pace(session.person, draft.at_ms)
    if room.messages_per_s:
        room.pace()


def _content(command: Command, limits: Limits) -> dict[str, Any]:
    """The text, and the data if there is any. Raises WireError where one is too large."""
    text, data = command["text"], command.get("data")
    # A character is at most four bytes: most texts need no encoding to be known short enough.
    if data is None and len(text) * 4 <= limits.text_bytes:
        return {"text": text}
    check_content(limits, text, data)
    return {"text": text} if data is None else {"text": text, "data": data}


def check_content(limits: Limits, text: str, data: dict[str, Any] | None) -> None:
    """Raises WireError where a text or data are too large."""
    limit = limits.text_bytes
    if limit and len(text) * 4 > limit and len(text.encode()) > limit:
        raise WireError(
            Code.TOO_LARGE, f"text is {len(text.encode())} bytes long; {limit} are allowed", field="text"
        )
    if data is None:
        return
    try:
        size = len(orjson.dumps({"data": data})) - len('{"data":}')
    except orjson.JSONEncodeError:  # it reads objects that are nested more deeply than it writes
        raise WireError(Code.BAD_FIELD, "data is nested too deeply", field="data") from None
    if limit and size > limit:
        raise WireError(Code.TOO_LARGE, f"data is over {limit} bytes long as JSON", field="data")


def ack(session: Conversation, command: Command, wall_ms: int) -> None:
    """Tells how far the user has read. There is no answer, but the room's ``receipt``."""
    room = session.membership(command["room"]).room
    if command["seq"] > room.head:
        raise WireError(
            Code.BAD_FIELD, f"seq is {command['seq']} but the newest event has {room.head}", field="seq"
        )
    if room.presence.acknowledge(session.user, command["seq"]):
        if session.hub.others is not None:
            session.hub.others.on_read(session, room.name, command["seq"])
        if session.hub.notices is not None:
            session.hub.notices.read(room.name, session.user, command["seq"])


def typing(session: Conversation, command: Command, wall_ms: int) -> None:
    """Tells the others that a message is being written. There is no answer."""
    membership = session.membership(command["room"])
    told = membership.room.presence.typing(session.user, membership.subscription)
    if told and session.hub.others is not None:
        session.hub.others.on_typing(session, membership.room.name)
