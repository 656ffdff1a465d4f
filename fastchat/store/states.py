"""What became of a message: its current state after edits, deletion and reactions. Pure."""

from collections.abc import Mapping
from typing import Any

from fastchat.messages import Code, WireError
from fastchat.store.interface import Draft, Kind

State = dict[str, Any]

REACTIONS_MAX = 64
"""Different reactions to one message: each history page that has the message carries them all."""


def check_change(draft: Draft, message: Mapping[str, Any] | None) -> None:
    """Refuses a change of a message that is not there or not the author's. Raises WireError.

    A deletion that is ``moderated`` is a moderator's, whose right to it is not looked at here.
    """
    if message is None or message.get("deleted"):
        raise WireError(Code.NO_SUCH_MESSAGE, f"there is no message with seq {draft.of}", field="seq")
    if draft.kind is Kind.DELETED and draft.fields.get("moderated") is True:
        return
    if draft.kind is not Kind.REACTED and message["from"] != draft.author:
        verb = "edit" if draft.kind is Kind.EDITED else "delete"
        raise WireError(Code.FORBIDDEN, f"only {message['from']} may {verb} this message", field="seq")
    if draft.kind is Kind.REACTED:
        reactions = message.get("reactions", {})
        if draft.fields["reaction"] not in reactions and len(reactions) >= REACTIONS_MAX:
            raise WireError(
                Code.BAD_FIELD,
                f"the message has {REACTIONS_MAX} different reactions already; use one of them",
                field="reaction",
            )


def change(message: State, draft: Draft) -> State:
    """The message after the change; the given one stays as it was."""
    state = dict(message)
    if draft.kind is Kind.EDITED:
        state["text"] = draft.fields["text"]
        state.pop("data", None)
        if "data" in draft.fields:
            state["data"] = draft.fields["data"]
        state["edited"] = draft.at_ms
    elif draft.kind is Kind.DELETED:
        for field in ("text", "data", "reactions", "edited"):
            state.pop(field, None)
        state["deleted"] = draft.at_ms
    elif draft.kind is Kind.REACTED:
        state["reactions"] = _react(state.get("reactions", {}), draft)
        if not state["reactions"]:
            del state["reactions"]
    return state


def _react(reactions: Mapping[str, list[str]], draft: Draft) -> dict[str, list[str]]:
    """Reactions by what they are, each with its users in the order in which they came."""
    reaction = draft.fields["reaction"]
    users = [user for user in reactions.get(reaction, ()) if user != draft.author]
    if not draft.fields.get("remove"):
        users.append(draft.author)
    changed = {**reactions, reaction: users}
    return {name: names for name, names in changed.items() if names}
