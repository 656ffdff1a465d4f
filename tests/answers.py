"""What tests of a session say and expect."""

from typing import Any

from fastchat.messages import COMMANDS
from tests.parties import Document, JsonClient, Program


def said(program: Program, room: str = "lobby", times: int = 1, **fields: Any) -> None:
    """Sends messages, and forgets what was heard."""
    for _ in range(times):
        program.say("send", room=room, **{"text": "hi", **fields})
    program.heard()


def seqs(documents: list[Document]) -> list[int]:
    """Those of the messages among them."""
    return [document["seq"] for document in documents if document["type"] == "message"]


def types(documents: list[Document]) -> list[str]:
    """What they are."""
    return [document["type"] for document in documents]


def refusal(code: str, field: str | None = None) -> Any:
    """Equals an ``error`` with this code and field, whatever its words."""

    class Refusal:
        def __eq__(self, answer: object) -> bool:
            assert isinstance(answer, dict)
            return (answer["type"], answer.get("code"), answer.get("field")) == ("error", code, field)

        def __repr__(self) -> str:
            return f"<an error {code} that names {field}>"

    return Refusal()


def shortest(kind: str) -> dict[str, Any]:
    """The fields that a command must have, with values that are right by their form."""
    values: dict[str, Any] = {"room": "lobby", "text": "hi", "seq": 1, "reaction": "+1", "query": "hi"}
    values |= {"user": "bob", "role": "reader", "access": "public", "topic": "tea", "interval_s": 0}
    values |= {"password": "secret", "old": "secret", "new": "another", "token": "x.y.z", "to": "bob"}
    values |= {"away": True, "operator": True}
    return {name: values[name] for name in COMMANDS[kind].required}


def greet(client: JsonClient, user: str, *rooms: str) -> None:
    """Says hello, joins, and waits until nothing more is heard of it."""
    client.say("hello", user=user)
    for room in rooms:
        client.say("join", room=room)
    client.party.pass_time(5)
    client.heard()


def say(program: Program, times: int = 1, room: str = "lobby", text: str = "hi") -> None:
    """Sends messages that others may hear."""
    for _ in range(times):
        program.say("send", room=room, text=text)
    program.party.settle()
