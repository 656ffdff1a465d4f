"""What the micro-benchmarks' tables and plots are called, and what is compared with what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One table and one plot: a time per ``unit``, by ``x`` and by implementation.

    The others' times are given as multiples of the ``reference``'s. ``by_name``: x has no numbers but names.
    """

    title: str
    x: str
    unit: str
    reference: str = "fastchat"
    by_name: bool = False


SUBSCRIBERS = "subscribers"
PAYLOAD = "bytes of payload"

FIGURES = {
    "encode": Figure("Encoding one WebSocket text frame", PAYLOAD, "frame"),
    "parse": Figure("Parsing 64 masked text messages, in reads of 64 KiB", PAYLOAD, "message"),
    "span-events": Figure("Cutting a span of events of 170 B", "events in the span", "event"),
    "span-payload": Figure("Cutting a span of 64 events", PAYLOAD, "event"),
    "sweep-one": Figure("Fan-out of one message; transports that take everything", SUBSCRIBERS, "delivery"),
    "sweep-span": Figure(
        "Fan-out of 64 messages in one tick; transports that take everything", SUBSCRIBERS, "delivery"
    ),
    "sockets-one": Figure("Fan-out of one message over TCP connections", SUBSCRIBERS, "delivery"),
    "sockets-span": Figure(
        "Fan-out of 64 messages in one tick over TCP connections", SUBSCRIBERS, "delivery"
    ),
    "sockets-payload": Figure("Fan-out of one message over 100 TCP connections", PAYLOAD, "delivery"),
    "commands": Figure("Parsing and checking one `send`", "bytes of text", "command"),
    "dispatch": Figure(
        "64 `send`s in one read: from JSON to the event, its delivery and `sent`", "bytes of text", "command"
    ),
    "kinds": Figure("One command and its answer", "command", "command", "send", by_name=True),
    "append": Figure(
        "Storing messages that arrive together, until all are answered",
        "messages at once",
        "message",
        "fastchat, SQLite full",
    ),
    "resume": Figure("One client catches up", "events missed", "event", "fastchat, from the ring"),
    "resume-clients": Figure(
        "Clients catch up together, 128 events each", "clients", "delivery", "fastchat, from SQLite"
    ),
}
"""By the name of the table (`micro-NAME`) and of the plot (`micro-NAME.svg`)."""
