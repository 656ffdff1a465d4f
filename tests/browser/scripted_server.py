"""A server that does what the test says, in place of the page's WebSocket."""

import json
from time import monotonic
from typing import Any

from playwright.sync_api import Page, WebSocketRoute

Json = dict[str, Any]

TIMEOUT_S = 15.0


class ScriptedServer:
    """Answers `hello` and `join` by itself; everything else is the test's to send.

    Takes all WebSocket connections of `page`; MUST be made before the page is opened.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self.commands: list[Json] = []
        self.connections = 0
        self.epoch = "one"
        self.head = 0
        self.cursor = 0
        self.taken: set[str] = set()
        self._route: WebSocketRoute | None = None
        page.route_web_socket("**/ws", self._on_connection)

    def received(self, kind: str) -> list[Json]:
        return [command for command in self.commands if command["type"] == kind]

    def wait_for(self, kind: str, count: int = 1) -> Json:
        """Returns the `count`th command of this kind once it has come; AssertionError when it doesn't."""
        deadline = monotonic() + TIMEOUT_S
        while len(self.received(kind)) < count:
            assert monotonic() < deadline, f"no {count} commands {kind}, but {self.commands}"
            self._page.evaluate("null")  # a round trip, in which events are handled
        return self.received(kind)[count - 1]

    def send(self, **event: Any) -> None:
        assert self._route is not None, "no connection yet"
        self._route.send(json.dumps(event))

    def send_message(self, seq: int, text: str, author: str = "bob", **fields: Any) -> None:
        """A `message` event in the lobby."""
        at = 1_700_000_000_000 + seq
        self.send(type="message", room="lobby", seq=seq, at=at, text=text, **{"from": author}, **fields)

    def send_change(self, kind: str, seq: int, of: int, author: str = "bob", **fields: Any) -> None:
        """What becomes of the message `of` in the lobby: `edited`, `deleted` or `reacted`."""
        at = 1_700_000_000_000 + seq
        self.send(type=kind, room="lobby", seq=seq, of=of, at=at, **{"from": author}, **fields)

    def close(self, code: int, reason: str = "") -> None:
        assert self._route is not None, "no connection yet"
        self._route.close(code=code, reason=reason)

    def _on_connection(self, route: WebSocketRoute) -> None:
        self.connections += 1
        self._route = route
        route.on_message(self._on_message)

    def _on_message(self, raw: str | bytes) -> None:
        command: Json = json.loads(raw)
        self.commands.append(command)
        if command["type"] == "hello" and command["user"] in self.taken:
            self.send(type="error", code="name_taken", message="this name is taken", ref=command["ref"])
        elif command["type"] == "hello":
            self.send(type="welcome", user=command["user"], session="s", protocol=1, limits={})
        elif command["type"] == "join":
            reset = command.get("epoch", self.epoch) != self.epoch
            self.send(
                type="joined",
                room="lobby",
                head=self.head,
                epoch=self.epoch,
                members=1,
                reset=reset,
                cursor=self.cursor,
                unread=self.head - self.cursor,
            )
