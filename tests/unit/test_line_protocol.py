"""The line edge over a transport that is none."""

import typing
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat.protocols.line import LineListener, LineProtocol
from tests.fakes import FakeLoop, FakeTransport, RecordingHandler


class Client:
    """One connection, both of its ends."""

    def __init__(
        self,
        on_event: Callable[[RecordingHandler, tuple[object, ...]], object] | None = None,
        *,
        half_close: bool = True,
        **options: typing.Any,
    ) -> None:
        self.loop = FakeLoop()
        self.handler = RecordingHandler(on_event)
        self.listener = LineListener(lambda: self.handler, loop=self.loop, **options)
        self.protocol = LineProtocol(self.listener)
        self.transport = FakeTransport(self.loop, half_close=half_close)
        self.transport.connect(self.protocol)

    def send(self, data: bytes) -> None:
        self.transport.peer_sends(data)
        self.loop.turn()

    def end(self) -> None:
        self.transport.peer_ends()
        self.loop.turn()

    def lines(self) -> list[bytes | str]:
        """Returns the lines that the handler got; other events by their name."""
        return [
            typing.cast("bytes", event[1]) if event[0] == "message" else str(event[0])
            for event in self.handler.take()
        ]

    def has_ended(self) -> bool:
        return self.transport.lost


def test_lines() -> None:
    client = Client()
    client.send(b"one\ntwo\r\n\n\r\nthree\r\r\nfo")
    assert client.lines() == ["open", b"one", b"two", b"", b"", b"three\r"]
    client.send(b"ur")
    assert client.lines() == []
    client.send(b"\r")
    client.send(b"\n\xff\xfe\x00\n")
    assert client.lines() == [b"four", b"\xff\xfe\x00"]
    assert client.protocol.peer_address == "192.0.2.1"


def test_a_refused_client_is_told_why() -> None:
    client = Client(admit=lambda address: f"too many connections from {address}")
    assert client.transport.take() == b"too many connections from 192.0.2.1\n"
    client.send(b"hello\n")
    client.end()
    assert client.has_ended()
    assert client.lines() == []


@pytest.mark.parametrize("size", [10, 11, 12, 13, 1000, 200_000])
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_a_line_too_long_is_skipped_once(size: int, step: int) -> None:
    if step == 1 and size > 1000:
        step = 1000
    client = Client(max_line_bytes=10)
    data = b"before\n" + b"x" * size + b"\nafter\n"
    for start in range(0, len(data), step):
        client.send(data[start : start + step])
        assert len(client.protocol._kept) <= 11
    middle = b"x" * size if size <= 10 else "oversize"
    assert client.lines() == ["open", b"before", middle, b"after"]


@pytest.mark.parametrize("step", [1, 100])
def test_the_carriage_return_does_not_count(step: int) -> None:
    client = Client(max_line_bytes=10)
    data = b"0123456789\r\n0123456789\r\r\n0123456789\rx\n0123456789x\r\n"
    for start in range(0, len(data), step):
        client.send(data[start : start + step])
    assert client.lines() == ["open", b"0123456789", "oversize", "oversize", "oversize"]


def test_oversize_tells_the_limit_before_the_line_ends() -> None:
    client = Client(max_line_bytes=10)
    client.send(b"{" + b"x" * 100_000)
    assert client.handler.take() == [("open",), ("oversize", 10, b"{" + b"x" * 15)]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_oversize_tells_how_the_line_begins(end: bytes) -> None:
    client = Client(max_line_bytes=10)
    client.send(b"before\n{ 234567890" + end)
    client.end()
    oversize = [event for event in client.handler.take() if event[0] == "oversize"]
    assert oversize == [("oversize", 10, b"{ 234567890")]


def test_no_line_comes_after_pause_reading() -> None:
    def pause(handler: RecordingHandler, event: tuple[object, ...]) -> None:
        if event[0] == "message":
            handler.stream.pause_reading()

    client = Client(pause)
    client.send(b"a\nb\nc\nd")
    client.send(b"\ne\n")
    assert client.lines() == ["open", b"a"]
    assert client.transport.unread == 3
    for line in (b"b", b"c", b"d", b"e"):
        client.handler.stream.resume_reading()
        client.handler.stream.resume_reading()
        client.loop.turn()
        assert client.lines() == [line]
    client.handler.stream.resume_reading()
    client.loop.turn()
    assert client.lines() == []
    assert client.transport.reading


def test_pausing_in_on_open_although_the_transport_starts_reading_after_it() -> None:
    client = Client(lambda handler, event: handler.stream.pause_reading() if event == ("open",) else None)
    client.send(b"a\nb\n")
    client.send(b"c\n")
    assert client.lines() == ["open"]
    assert client.transport.unread == 2
    client.handler.stream.resume_reading()
    client.loop.turn()
    assert client.lines() == [b"a", b"b", b"c"]


def test_pause_and_resume_writing_are_told() -> None:
    client = Client()
    client.transport.set_write_buffer_limits(1000, 500)
    client.transport.stop_peer()
    client.transport.write(b"x" * 2000)
    client.transport.start_peer()
    assert client.lines() == ["open", "pause", "resume"]


# The end ----------------------------------------------------------------------------------------


def test_a_client_that_has_ended_its_input_gets_its_answers() -> None:
    client = Client()
    client.send(b"a\nlast")
    client.end()
    assert client.lines() == ["open", b"a", b"last", "eof"]
    assert not client.transport.is_closing()
    client.transport.write(b"answer\n")
    client.handler.stream.close(1000, "")
    client.transport.write(b"what this turn has collected\n")
    client.loop.turn()
    assert client.transport.take() == b"answer\nwhat this turn has collected\n"
    assert client.has_ended()
    assert client.handler.take() == [("close", 1000, "")]


def test_a_handler_that_does_not_end_it_is_not_waited_for() -> None:
    client = Client(close_timeout_s=5)
    client.end()
    client.loop.advance(4.9)
    assert not client.has_ended()
    client.loop.advance(0.2)
    assert client.has_ended()
    assert client.handler.take() == [("open",), ("eof",), ("close", 1000, "")]
    client.loop.advance(10)
    assert client.loop.timers == 0


def test_the_end_of_input_waits_while_reading_is_paused() -> None:
    client = Client(lambda handler, event: handler.stream.pause_reading() if event == ("open",) else None)
    client.send(b"a\nb")
    client.end()
    assert client.lines() == ["open"]
    client.handler.stream.resume_reading()
    client.loop.turn()
    client.loop.turn()
    assert client.lines() == [b"a", b"b", "eof"]


def test_an_unfinished_line_that_is_too_long_is_told_once() -> None:
    client = Client(max_line_bytes=10)
    client.send(b"x" * 11)
    client.end()
    assert client.lines() == ["open", "oversize", "eof"]
    client = Client(max_line_bytes=10)
    client.send(b"0123456789\r")
    client.end()
    assert client.lines() == ["open", b"0123456789", "eof"]


def test_close_flushes_ends_and_reads_on() -> None:
    client = Client(close_timeout_s=5)
    client.handler.stream.close(4000, "enough")
    client.handler.stream.close(4001, "again")
    client.transport.write(b"bye\n")
    client.send(b"ignored\n")
    assert client.handler.take() == [("open",), ("close", 4000, "enough")]
    assert client.transport.take() == b"bye\n"
    assert client.transport.eof_written
    assert client.transport.unread == 0
    assert not client.has_ended()
    client.end()
    assert client.has_ended()
    assert client.handler.take() == []


def test_a_client_that_does_not_let_go_is_dropped() -> None:
    client = Client(close_timeout_s=5)
    client.transport.stop_peer()
    client.transport.write(b"x" * 1000)
    client.handler.stream.close(4000, "")
    client.loop.advance(4.9)
    assert not client.has_ended()
    client.loop.advance(0.2)
    assert client.has_ended()


def test_the_end_waits_for_a_slow_reader_to_get_everything() -> None:
    client = Client(close_timeout_s=5)
    client.transport.set_write_buffer_limits(1000, 500)
    client.transport.stop_peer()
    client.transport.write(b"x" * 2000)
    client.handler.stream.close(4000, "enough")
    client.loop.advance(1)
    assert client.lines() == ["open", "pause"]
    client.transport.start_peer()
    client.loop.turn()
    assert client.handler.take() == [("resume",), ("close", 4000, "enough")]
    assert client.transport.take() == b"x" * 2000
    client.end()
    assert client.has_ended()


def test_a_last_line_may_close() -> None:
    client = Client(lambda handler, event: handler.stream.close(4000, "") if event[0] == "message" else None)
    client.send(b"a\nb\nc")
    client.end()
    assert client.handler.take() == [("open",), ("message", b"a", True), ("close", 4000, "")]
    client = Client(lambda handler, event: handler.stream.close(4000, "") if event[0] == "message" else None)
    client.send(b"a")
    client.end()
    assert client.handler.take() == [("open",), ("message", b"a", True), ("close", 4000, "")]
    assert client.has_ended()


def test_resets_and_aborts() -> None:
    client = Client()
    client.send(b"half")
    client.transport.peer_resets()
    assert client.handler.take() == [("open",), ("close", 1006, "the connection was lost")]
    client = Client(lambda handler, event: handler.stream.abort() if event[0] == "message" else None)
    client.send(b"a\nb\n")
    assert client.lines() == ["open", b"a", "close"]
    client = Client()
    client.handler.stream.close(4000, "")
    client.transport.peer_resets()
    client.loop.turn()
    assert client.lines() == ["open", "close"]


def test_where_the_sending_side_cannot_be_ended_alone() -> None:
    client = Client(half_close=False)
    client.send(b"a")
    client.end()
    assert client.lines() == ["open", b"a", "eof", "close"]
    assert client.has_ended()


@given(
    st.lists(
        st.one_of(st.sampled_from([b"\n", b"\r\n", b"\r", b"x" * 9]), st.binary(max_size=14)), max_size=20
    ),
    st.lists(st.integers(0, 300), max_size=10),
    st.booleans(),
)
def test_lines_are_what_split_says(parts: list[bytes], cuts: list[int], pauses: bool) -> None:
    def pause(handler: RecordingHandler, event: tuple[object, ...]) -> None:
        if pauses and event[0] == "message":
            handler.stream.pause_reading()
            handler.stream.resume_reading()

    data = b"".join(parts)
    expected: list[bytes | str] = ["open"]
    *lines, last = data.split(b"\n")
    for line in [*lines, last] if last else lines:
        stripped = line.removesuffix(b"\r")
        expected.append(stripped if len(stripped) <= 10 else "oversize")
    client = Client(pause, max_line_bytes=10)
    at = 0
    for cut in sorted(cut % (len(data) + 1) for cut in cuts):
        client.send(data[at:cut])
        at = cut
    client.send(data[at:])
    client.end()
    assert client.lines() == [*expected, "eof"]
