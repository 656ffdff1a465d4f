"""The settings of how messages reach subscribers. Pure."""

from typing import Literal, Self

from pydantic import Field, model_validator

from fastchat.config.section import DAY_S, GIB, Inheriting, Section, conflict


class Watermarks(Inheriting):
    """Watermarks of one listener where they differ from [fanout]."""

    high_water_bytes: int | None = Field(
        default=None,
        ge=1024,
        le=GIB,
        description="Set it where this listener's clients need another bound than fanout.high_water_bytes.",
    )
    low_water_bytes: int | None = Field(
        default=None,
        ge=0,
        le=GIB,
        description="Set it where this listener's clients need another bound than fanout.low_water_bytes.",
    )


class Fanout(Section):
    """How messages reach subscribers. SIGHUP re-reads this section."""

    high_water_bytes: int = Field(
        default=65536,
        ge=1024,
        le=GIB,
        description="Memory one slow client may hold; lower it for many clients, raise it for distant ones.",
    )
    low_water_bytes: int = Field(
        default=32768,
        ge=0,
        le=GIB,
        description="A slow client is served again below this; near high_water_bytes is smoother, busier.",
    )
    ring_bytes: int = Field(
        default=1_048_576,
        ge=1024,
        le=GIB,
        description="Each room's newest part in memory, all of a memory room; raise it for slow readers.",
    )
    slice_ms: float = Field(
        default=5,
        ge=0.1,
        le=1000,
        description="Longest turn of a sweep; lower it for quicker replies while huge rooms are busy.",
    )
    replay_bytes: int = Field(
        default=16_777_216,
        ge=65536,
        le=GIB,
        description="Memory for older events from the store; raise it where many clients catch up at once.",
    )
    slow_reader: Literal["lag", "disconnect"] = Field(
        default="lag",
        description="lag lets stuck readers stay, however far behind; disconnect makes them come back.",
    )
    slow_reader_timeout_s: float = Field(
        default=30,
        gt=0,
        le=DAY_S,
        description="How long a reader may stay stuck before disconnect applies; raise it for phones.",
    )
    send_buffer_bytes: int = Field(
        default=0,
        ge=0,
        le=GIB,
        description="Bounds the kernel's memory per connection (SO_SNDBUF); 0 leaves it to the kernel.",
    )
    websocket: Watermarks = Field(default=Watermarks(), description="Watermarks of WebSocket connections.")
    line: Watermarks = Field(default=Watermarks(), description="Watermarks of the line port's connections.")

    def watermarks(self, listener: Literal["websocket", "line"]) -> tuple[int, int]:
        """The listener's (high, low) in bytes, its own or inherited."""
        return self._inherited(self.websocket if listener == "websocket" else self.line)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        _check_watermarks("fanout", "fanout", self.high_water_bytes, self.low_water_bytes, self.ring_bytes)
        for listener, own in (("fanout.websocket", self.websocket), ("fanout.line", self.line)):
            high_in = "fanout" if own.high_water_bytes is None else listener
            low_in = "fanout" if own.low_water_bytes is None else listener
            high, low = self._inherited(own)
            _check_watermarks(high_in, low_in, high, low, self.ring_bytes)
        return self

    def _inherited(self, own: Watermarks) -> tuple[int, int]:
        high = self.high_water_bytes if own.high_water_bytes is None else own.high_water_bytes
        low = self.low_water_bytes if own.low_water_bytes is None else own.low_water_bytes
        return high, low


def _check_watermarks(high_in: str, low_in: str, high: int, low: int, ring: int) -> None:
    """Compares a pair and the ring; the pair's values stand in the sections `high_in` and `low_in`."""
    if low >= high:
        raise conflict(f"{low_in}.low_water_bytes", "less than", f"{high_in}.high_water_bytes")
    if ring < high:
        raise conflict("fanout.ring_bytes", "at least", f"{high_in}.high_water_bytes")
