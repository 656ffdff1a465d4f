"""The twin of ``fastchat._ring``: the same duties, written to be right at a glance. Slow on purpose."""

from collections.abc import Callable
from dataclasses import dataclass, field

EVENT_OVERHEAD_BYTES = 144
SPANS_KEPT = 8


@dataclass(frozen=True, eq=False)
class Event:
    seq: int
    body: bytes
    hidden_from: int = field(default=0, kw_only=True)


def frame_line(body: bytes) -> bytes:
    return body + b"\n"


def frame_text_message(body: bytes) -> bytes:
    """RFC 6455 section 5.2, unmasked."""
    size = len(body)
    if size < 126:
        return bytes([0x81, size]) + body
    if size < 1 << 16:
        return bytes([0x81, 126]) + size.to_bytes(2) + body
    return bytes([0x81, 127]) + size.to_bytes(8) + body


FRAMINGS = {"lines": frame_line, "websocket": frame_text_message}


class Profile:
    def __init__(
        self, name: str, framing: str | Callable[[bytes], bytes], high_water_bytes: int, low_water_bytes: int
    ) -> None:
        self.name = name
        self.encode = FRAMINGS[framing] if isinstance(framing, str) else framing
        self.set_watermarks(high_water_bytes, low_water_bytes)

    def set_watermarks(self, high_water_bytes: int, low_water_bytes: int) -> None:
        if not 0 <= low_water_bytes < high_water_bytes:
            raise ValueError("watermarks")
        self.high_water_bytes = high_water_bytes
        self.low_water_bytes = low_water_bytes


class Ring:
    def __init__(self, limit_bytes: int, head_seq: int = 0) -> None:
        self.limit_bytes = limit_bytes
        self.first_seq = head_seq + 1
        self.held: list[Event] = []
        self.spans: dict[tuple[Profile, int, int, int], bytes] = {}

    def __len__(self) -> int:
        return len(self.held)

    @property
    def head_seq(self) -> int:
        return self.first_seq + len(self.held) - 1

    @property
    def size_bytes(self) -> int:
        return sum(len(event.body) + EVENT_OVERHEAD_BYTES for event in self.held)

    def between(self, after: int, before: int) -> list[Event]:
        return [event for event in self.held if after < event.seq < before]

    def append(self, event: Event) -> None:
        if event.seq != self.head_seq + 1:
            raise ValueError("a hole")
        self.held.append(event)
        self.forget_spans()
        self.set_limit(self.limit_bytes)

    def set_limit(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        while self.size_bytes > limit_bytes and len(self.held) > 1:
            self.held.pop(0)
            self.first_seq += 1

    def events(
        self, after: int, before: int, limit: int, limit_bytes: int, newest: bool = False
    ) -> list[Event]:
        between = self.between(after, before)
        if newest:
            between.reverse()
        count = sum(
            index == 0 or sum(len(event.body) for event in between[: index + 1]) <= limit_bytes
            for index in range(len(between))
        )
        chosen = between[: min(count, limit)]
        return chosen[::-1] if newest else chosen

    def cut(
        self, profile: Profile, after: int, budget_bytes: int | None = None, hidden_from: int = 0
    ) -> tuple[bytes, int]:
        if not self.first_seq <= after + 1 <= self.head_seq:
            raise IndexError("not held")
        budget = profile.high_water_bytes if budget_bytes is None else budget_bytes
        end = after + 1
        while end < self.head_seq and self._framed_size(profile, after, end + 1) <= budget:
            end += 1
        span = b"".join(
            profile.encode(event.body)
            for event in self.between(after, end + 1)
            if not hidden_from or event.hidden_from != hidden_from
        )
        if hidden_from:
            return span, end
        key = (profile, profile.high_water_bytes, after, end)
        if key not in self.spans and (end == self.head_seq or budget == profile.high_water_bytes):
            if len(self.spans) == SPANS_KEPT:
                self.forget_spans()
            self.spans[key] = span
        return self.spans.get(key, span), end

    def _framed_size(self, profile: Profile, after: int, end: int) -> int:
        return sum(len(profile.encode(event.body)) for event in self.between(after, end + 1))

    def forget_spans(self) -> None:
        self.spans.clear()
