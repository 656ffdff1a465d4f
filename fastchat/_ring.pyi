from collections.abc import Callable
from typing import Literal

class Event:
    seq: int
    hidden_from: int
    body: bytes
    def __init__(self, seq: int, body: bytes, *, hidden_from: int = 0) -> None: ...

class Profile:
    name: str
    high_water_bytes: int
    low_water_bytes: int
    def __init__(
        self,
        name: str,
        framing: Literal["lines", "websocket"] | Callable[[bytes], bytes],
        high_water_bytes: int,
        low_water_bytes: int,
    ) -> None: ...
    def set_watermarks(self, high_water_bytes: int, low_water_bytes: int) -> None: ...
    def encode(self, body: bytes) -> bytes: ...

class Ring:
    first_seq: int
    head_seq: int
    size_bytes: int
    limit_bytes: int
    def __init__(self, limit_bytes: int, head_seq: int = 0) -> None: ...
    def __len__(self) -> int: ...
    def append(self, event: Event) -> None: ...
    def set_limit(self, limit_bytes: int) -> None: ...
    def events(
        self, after: int, before: int, limit: int, limit_bytes: int, newest: bool = False
    ) -> list[Event]: ...
    def cut(
        self, profile: Profile, after: int, budget_bytes: int | None = None, hidden_from: int = 0
    ) -> tuple[bytes, int]: ...
    def forget_spans(self) -> None: ...
