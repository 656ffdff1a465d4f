"""Where guests' names are claimed, for tests without other nodes."""

from collections.abc import Callable

from fastchat.auth.names import name_key
from fastchat.messages import Code, WireError


class Desk:
    """The names of all nodes: answers when the test says so; ``held`` has those of this one, by key."""

    def __init__(self) -> None:
        self.elsewhere: set[str] = set()
        self.held: list[str] = []
        self.waiting: list[Callable[[], None]] = []
        self.problem: WireError | None = None

    def claim(self, name: str, done: Callable[[WireError | None], None]) -> None:
        def answer() -> None:
            if self.problem is not None:
                done(self.problem)
            elif name_key(name) in self.elsewhere:
                done(WireError(Code.NAME_TAKEN, f"user {name} is taken", field="user"))
            else:
                self.held.append(name_key(name))
                done(None)

        self.waiting.append(answer)

    def release(self, name: str) -> None:
        self.held.remove(name_key(name))

    def answer(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()
