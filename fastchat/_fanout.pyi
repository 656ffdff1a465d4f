from collections.abc import Callable
from typing import Any, Protocol

from fastchat._ring import Event, Profile, Ring

class WritableTransport(Protocol):
    def write(self, data: bytes | memoryview, /) -> None: ...
    def writelines(self, data: list[bytes], /) -> None: ...
    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def abort(self) -> None: ...
    def get_extra_info(self, name: str) -> Any: ...

class WriterOwner(Protocol):
    def on_writable(self) -> None: ...

class Subscription:
    channel: Channel
    writer: Writer
    position: int
    seq: int
    def cancel(self) -> None: ...

class Channel:
    name: str
    ring: Ring
    fanout: Fanout
    def __len__(self) -> int: ...
    def publish(self, event: Event, hidden_from: Subscription | None = None) -> None: ...

class Writer:
    id: int
    profile: Profile
    fanout: Fanout
    paused: bool
    closed: bool
    paused_at: float
    owner: Any
    transport: Any
    def __init__(
        self,
        fanout: Fanout,
        profile: Profile,
        transport: WritableTransport,
        owner: WriterOwner | None = None,
    ) -> None: ...
    def write(self, data: bytes) -> None: ...
    def would_block(self) -> bool: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def subscribe(self, channel: Channel, after: int | None = None) -> Subscription: ...
    def flush(self) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...

class Fanout:
    slice_s: float
    events: int
    deliveries: int
    writes: int
    bytes_written: int
    pauses: int
    lags: int
    missed: int
    sweeps: int
    failures: int
    sweep_time_s: float
    stalled: set[Writer]
    def __init__(
        self,
        call_soon: Callable[[Callable[[], object]], object],
        clock: Callable[[], float],
        encode_lagged: Callable[[str, int, int], bytes],
        slice_s: float = 0.005,
    ) -> None: ...
    def channel(self, name: str, ring_bytes: int, head_seq: int = 0) -> Channel: ...
    def overdue(self, limit_s: float) -> list[Writer]: ...
    def tick(self) -> None: ...
