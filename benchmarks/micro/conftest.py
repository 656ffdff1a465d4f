"""What the micro-benchmarks share: payloads, and a transport that takes everything."""

import pytest

EVENT = b'{"type":"message","room":"lobby","seq":1,"id":"1","from":"alice","at":1700000000000,"text":"%s"}'


class NullTransport:
    """Takes every write and keeps nothing, so that only what leads to a write is measured."""

    def write(self, data: bytes) -> None:
        """Taken."""

    def writelines(self, data: list[bytes]) -> None:
        """Taken."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def get_write_buffer_size(self) -> int:
        """Nothing is kept."""
        return 0

    def get_extra_info(self, name: str) -> None:
        """There is no socket."""

    def abort(self) -> None:
        """There is nothing to end."""


@pytest.fixture(params=[16, 1024, 65536], ids=lambda size: f"{size}B")
def payload(request: pytest.FixtureRequest) -> bytes:
    """A text of so many bytes."""
    return b"x" * int(request.param)
