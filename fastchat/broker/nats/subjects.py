"""Names at a NATS server: subjects of events, streams, consumers. Pure: no sockets, clock or await.

A subject is words with dots between. The words of an event's subject are the broker's name, ``events``, the
kind and, where there is one, the room as a single word: what NATS takes for its own in it is written as
``%XX``, its code in UTF-8, as in URLs. ``message.team.red`` becomes ``fastchat.events.message.team%2Ered``,
and ``fastchat.events.message.*`` has the messages of all rooms.
"""

from urllib.parse import quote

_PLAIN = "@,~"
"""Beside letters, digits, ``_`` and ``-``: in names of rooms of two, and nothing special to NATS."""


def encode_subject(name: str, key: str) -> str:
    """The subject of an event: ``key`` is ``Outgoing.key``, the kind with a room behind a dot."""
    kind, dot, room = key.partition(".")
    return f"{name}.events.{kind}{dot}{encode_word(room)}"


def encode_word(text: str) -> str:
    # quote() never touches a dot, which is what would make two words of one.
    return quote(text, safe=_PLAIN).replace(".", "%2E")


def bus(name: str) -> str:
    """What stands before the bus's own subjects."""
    return f"{name}.bus."


def all_events(name: str) -> str:
    return f"{name}.events.>"


def inbox(name: str) -> str:
    return f"{name}.inbox"


def dead_letters(name: str) -> str:
    return f"{name}.inbox.dead"


def deliveries(name: str) -> str:
    """Where the server puts commands for the nodes; outside of what the streams keep."""
    return f"{name}.inbox.deliver"


def stream(name: str, of: str) -> str:
    """A stream's name: ``FASTCHAT_EVENTS``. No dots there, says the server."""
    return f"{name}_{of}".upper().replace(".", "_")
