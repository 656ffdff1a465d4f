"""The frame parser: whole, byte by byte, with trailing bytes, and against its twin."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat._websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameParser,
    WebSocketError,
    encode_close,
    encode_frame,
    parse_close,
)
from tests.twins.websocket import FrameParserTwin

pytestmark = pytest.mark.compiled

MASK = b"\x37\xfa\x21\x3d"
LIMIT = 1000

Outcome = list[tuple[int, bytes] | int]


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    return encode_frame(opcode, payload, MASK, fin)


def header(first: int, length_code: int, extended: bytes = b"", mask: bytes = MASK) -> bytes:
    """A frame's header as it must not be, perhaps."""
    return bytes([first, (0x80 if mask else 0) | length_code]) + extended + mask


def run(parser: FrameParser | FrameParserTwin, chunks: list[bytes]) -> Outcome:
    """Returns the messages, and at the end the close code of the error where there is one."""
    outcome: Outcome = []
    for chunk in chunks:
        parser.feed(chunk)
        try:
            while (message := parser.next()) is not None:
                outcome.append(message)
        except WebSocketError as error:
            outcome.append(error.close_code)
    return outcome


def parse(data: bytes, limit: int = LIMIT) -> Outcome:
    """Parses whole, byte by byte and in halves; all must agree."""
    whole = run(FrameParser(limit), [data])
    assert run(FrameParser(limit), [data[i : i + 1] for i in range(len(data))]) == whole
    middle = len(data) // 2
    assert run(FrameParser(limit), [data[:middle], data[middle:]]) == whole
    return whole


MESSAGES = {
    "empty text": (masked(TEXT), [(TEXT, b"")]),
    "empty binary": (masked(BINARY), [(BINARY, b"")]),
    "text": (masked(TEXT, b"Hello"), [(TEXT, b"Hello")]),
    "characters of all lengths": (masked(TEXT, "aé€😀".encode()), [(TEXT, "aé€😀".encode())]),
    "125 bytes": (masked(BINARY, b"x" * 125), [(BINARY, b"x" * 125)]),
    "126 bytes": (masked(BINARY, b"x" * 126), [(BINARY, b"x" * 126)]),
    "the limit": (masked(BINARY, bytes(range(250)) * 4), [(BINARY, bytes(range(250)) * 4)]),
    "ping": (masked(PING, b"p" * 125), [(PING, b"p" * 125)]),
    "pong": (masked(PONG), [(PONG, b"")]),
    "close without a code": (masked(CLOSE), [(CLOSE, b"")]),
    "close": (masked(CLOSE, b"\x03\xe8bye"), [(CLOSE, b"\x03\xe8bye")]),
    "fragments": (
        masked(TEXT, b"a", fin=False) + masked(CONTINUATION, b"b", fin=False) + masked(CONTINUATION, b"c"),
        [(TEXT, b"abc")],
    ),
    "a character over fragments": (
        masked(TEXT, b"\xf0", fin=False) + masked(CONTINUATION, b"\x9f\x98", fin=False)
        + masked(CONTINUATION, b"\x80"),
        [(TEXT, "😀".encode())],
    ),
    "control frames amid fragments": (
        masked(BINARY, b"a", fin=False) + masked(PING, b"1") + masked(CONTINUATION, b"", fin=False)
        + masked(PONG, b"2") + masked(CONTINUATION, b"b") + masked(TEXT, b"c"),
        [(PING, b"1"), (PONG, b"2"), (BINARY, b"ab"), (TEXT, b"c")],
    ),
    "a control frame between two halves of a character": (
        masked(TEXT, b"\xc3", fin=False) + masked(PING, b"\xff") + masked(CONTINUATION, b"\xa9"),
        [(PING, b"\xff"), (TEXT, "é".encode())],
    ),
    "as many empty fragments as allowed": (
        masked(TEXT, fin=False) + masked(CONTINUATION, fin=False) * 127 + masked(CONTINUATION, b"x"),
        [(TEXT, b"x")],
    ),
}  # fmt: skip

ERRORS = {
    "not masked": (header(0x81, 0, mask=b""), 1002),
    "first reserved bit": (header(0xC1, 0), 1002),
    "second reserved bit": (header(0xA1, 0), 1002),
    "third reserved bit": (header(0x91, 0), 1002),
    **{
        f"opcode {opcode}": (header(0x80 | opcode, 0), 1002) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    },
    "fragmented ping": (header(0x09, 0), 1002),
    "fragmented close": (header(0x08, 0), 1002),
    "long ping": (header(0x89, 126, b"\x00\x7e"), 1002),
    "very long ping": (header(0x89, 127, bytes(5) + b"\x01\x00\x00"), 1002),
    "continuation of nothing": (masked(CONTINUATION, b"x"), 1002),
    "text amid a message": (masked(TEXT, b"a", fin=False) + masked(TEXT, b"b"), 1002),
    "16 bits for a short length": (header(0x82, 126, b"\x00\x7d"), 1002),
    "64 bits for a short length": (header(0x82, 127, bytes(6) + b"\xff\xff"), 1002),
    "length 2**63": (header(0x82, 127, b"\x80" + bytes(7)), 1002),
    "length 2**64-1": (header(0x82, 127, b"\xff" * 8), 1002),
    "length 2**63-1": (
        header(0x82, 127, b"\x7f" + b"\xff" * 7, mask=b"")[:1] + b"\xff\x7f" + b"\xff" * 7,
        1009,
    ),
    "one byte too long": (header(0x82, 126, b"\x03\xe9", mask=b"")[:1] + b"\xfe\x03\xe9", 1009),
    "fragments too long": (
        masked(TEXT, b"a" * 600, fin=False) + bytes([0x80, 0xFE]) + (401).to_bytes(2, "big"),
        1009,
    ),
    "empty fragments without end": (masked(TEXT, fin=False) + masked(CONTINUATION, fin=False) * 128, 1008),
    "a lone continuation byte": (masked(TEXT, b"a\x80"), 1007),
    "overlong": (masked(TEXT, b"\xc0\xaf"), 1007),
    "overlong in three": (masked(TEXT, b"\xe0\x80\xaf"), 1007),
    "overlong in four": (masked(TEXT, b"\xf0\x80\x80\xaf"), 1007),
    "surrogate": (masked(TEXT, b"\xed\xa0\x80"), 1007),
    "above U+10FFFF": (masked(TEXT, b"\xf4\x90\x80\x80"), 1007),
    "0xf5": (masked(TEXT, b"\xf5"), 1007),
    "half a character": (masked(TEXT, b"\xc3"), 1007),
    "half a character at the end of fragments": (
        masked(TEXT, b"\xe2\x82", fin=False) + masked(CONTINUATION),
        1007,
    ),
    "one byte of a close code": (masked(CLOSE, b"\x03"), 1002),
    "close reason": (masked(CLOSE, b"\x03\xe8\xff"), 1007),
    **{
        f"close code {code}": (masked(CLOSE, code.to_bytes(2, "big")), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    },
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name: str) -> None:
    data, expected = MESSAGES[name]
    assert parse(data) == expected
    assert run(FrameParserTwin(LIMIT), [data]) == expected


@pytest.mark.parametrize("name", MESSAGES)
def test_trailing_bytes_wait_for_the_rest(name: str) -> None:
    data, expected = MESSAGES[name]
    if expected[-1][0] == CLOSE:
        assert parse(data + b"\xff\xff\xff") == expected
    else:
        more = masked(TEXT, b"more")
        assert parse(data + more[:-1]) == expected
        assert parse(data + more) == [*expected, (TEXT, b"more")]


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    data, code = ERRORS[name]
    assert parse(masked(PING, b"ok") + data) == [(PING, b"ok"), code]
    assert run(FrameParserTwin(LIMIT), [data]) == [code]


@pytest.mark.parametrize("name", ERRORS)
def test_nothing_follows_an_error(name: str) -> None:
    data, code = ERRORS[name]
    parser = FrameParser(LIMIT)
    assert run(parser, [data + masked(TEXT, b"a"), masked(TEXT, b"b")]) == [code]
    assert parser.buffered_bytes == 0


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 4000, 4999])
def test_close_codes_that_travel(code: int) -> None:
    frame = masked(CLOSE, code.to_bytes(2, "big") + "tschüß".encode())
    ((opcode, payload),) = run(FrameParser(LIMIT), [frame])  # type: ignore[misc]
    assert opcode == CLOSE
    assert parse_close(payload) == (code, "tschüß")


def test_client_side_wants_unmasked_frames() -> None:
    assert run(FrameParser(LIMIT, require_mask=False), [encode_frame(TEXT, b"x" * 200)]) == [
        (TEXT, b"x" * 200)
    ]
    assert run(FrameParser(LIMIT, require_mask=False), [masked(TEXT, b"x")]) == [1002]


def test_bad_utf8_fails_at_its_first_byte() -> None:
    parser = FrameParser(LIMIT)
    frame = masked(TEXT, b"a" * 100 + b"\xff" + b"a" * 800)
    assert run(parser, [frame[: 8 + 100]]) == []
    assert run(parser, [frame[8 + 100 : 8 + 101]]) == [1007]


def test_memory_follows_what_has_arrived_not_what_was_announced() -> None:
    parser = FrameParser(1 << 40)
    frame = bytes([0x82, 0xFF]) + (1 << 39).to_bytes(8, "big") + MASK
    assert run(parser, [frame, b"x" * 1000]) == []
    assert parser.buffered_bytes <= 2000


def test_empty_fragments_cost_no_memory() -> None:
    parser = FrameParser(LIMIT)
    assert run(parser, [masked(TEXT, fin=False) + masked(CONTINUATION, fin=False) * 100]) == []
    assert parser.buffered_bytes == 0


def test_a_parser_owns_nothing_between_messages() -> None:
    parser = FrameParser(LIMIT)
    data = masked(TEXT, b"x" * 500, fin=False) + masked(PING, b"p") + masked(CONTINUATION, b"y" * 500)
    run(parser, [data[i : i + 7] for i in range(0, len(data), 7)])
    assert parser.buffered_bytes == 0


def test_kept_bytes_survive_the_buffer() -> None:
    parser = FrameParser(LIMIT)
    data = masked(TEXT, b"first") + masked(TEXT, b"second") + masked(TEXT, b"third")[:-2]
    buffer = bytearray(4096)
    buffer[: len(data)] = data
    parser.feed(memoryview(buffer), len(data))
    assert parser.next() == (TEXT, b"first")
    parser.keep()
    buffer[:] = b"\xff" * len(buffer)
    buffer.extend(b"not exported any more")
    parser.keep()
    parser.feed(masked(TEXT, b"third")[-2:])
    assert parser.next() == (TEXT, b"second")
    assert parser.next() == (TEXT, b"third")
    assert parser.next() is None


def test_the_buffer_is_let_go_when_there_is_no_more_message() -> None:
    parser = FrameParser(LIMIT)
    buffer = bytearray(masked(TEXT, b"a") + masked(TEXT, b"bcd")[:-1])
    parser.feed(buffer)
    with pytest.raises(BufferError):
        buffer.clear()
    assert parser.next() == (TEXT, b"a")
    assert parser.next() is None
    buffer.clear()
    assert parser.next() is None


def test_feeding_twice_keeps_the_order() -> None:
    parser = FrameParser(LIMIT)
    for text in (b"1", b"2", b"3"):
        parser.feed(masked(TEXT, text))
    assert [parser.next() for _ in range(4)] == [(TEXT, b"1"), (TEXT, b"2"), (TEXT, b"3"), None]


@pytest.mark.parametrize("size", [-1, 4, 2**70])
def test_a_size_outside_of_the_buffer_is_refused(size: int) -> None:
    buffer = bytearray(3)
    with pytest.raises(ValueError, match="size is not within the buffer"):
        FrameParser(LIMIT).feed(buffer, size)
    buffer.clear()


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="negative"):
        FrameParser(-1)
    with pytest.raises(TypeError):
        FrameParser(LIMIT).feed("text")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="4 bytes"):
        encode_frame(TEXT, b"", b"123")
    with pytest.raises(ValueError, match="opcode"):
        encode_frame(16, b"")


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 125, 126, 65535, 65536, 70001])
def test_what_is_encoded_is_parsed(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    for mask, require_mask in ((MASK, True), (None, False)):
        frame = encode_frame(BINARY, memoryview(payload), mask)
        assert run(FrameParser(1 << 20, require_mask), [frame]) == [(BINARY, payload)]
        assert run(FrameParser(1 << 20, require_mask), [frame[:70], frame[70:]]) == [(BINARY, payload)]


def test_encode_close() -> None:
    assert encode_close(1005) == b"\x88\x00"
    assert encode_close(1000, "bye") == b"\x88\x05\x03\xe8bye"
    frame = encode_close(4001, "é" * 100)
    assert len(frame) == 2 + 2 + 122
    assert parse_close(frame[2:]) == (4001, "é" * 61)


# Any sequence of frames, right or wrong, in any chunks ------------------------------------------

payloads = st.one_of(
    st.binary(max_size=20),
    st.text(max_size=10).map(str.encode),
    st.sampled_from([b"", b"x" * 126, b"\xf0\x9f"]),
)
right_frames = st.builds(
    lambda opcode, payload, fin: masked(opcode, payload, fin=fin),
    st.sampled_from([CONTINUATION, CONTINUATION, TEXT, BINARY]),
    payloads,
    st.booleans(),
)
control_frames = st.builds(masked, st.sampled_from([PING, PONG]), st.binary(max_size=125))
close_frames = st.builds(
    lambda code, rest: masked(CLOSE, code.to_bytes(2, "big") + rest),
    st.integers(990, 1020),
    st.binary(max_size=5),
)
streams = st.lists(
    st.one_of(
        right_frames, right_frames, control_frames, control_frames, close_frames, st.binary(max_size=12)
    ),
    max_size=12,
).map(b"".join)


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(streams, st.lists(st.integers(0, 2000), max_size=20), st.integers(0, 300))
def test_the_twin_agrees_whatever_comes(data: bytes, cuts: list[int], limit: int) -> None:
    expected = run(FrameParserTwin(limit), [data])
    assert run(FrameParser(limit), chunked(data, cuts)) == expected
    assert run(FrameParserTwin(limit), chunked(data, cuts)) == expected


@given(
    st.lists(
        st.tuples(st.lists(st.text(max_size=30), min_size=1, max_size=5), st.binary(max_size=125)), max_size=8
    ),
    st.lists(st.integers(0, 2000), max_size=20),
)
def test_fragmented_texts_come_out_whole(messages: list[tuple[list[str], bytes]], cuts: list[int]) -> None:
    data = b""
    expected: Outcome = []
    for texts, ping in messages:
        fragments = [text.encode() for text in texts]
        for number, fragment in enumerate(fragments):
            data += masked(CONTINUATION if number else TEXT, fragment, fin=number == len(fragments) - 1)
            if number == 0 and len(fragments) > 1:
                data += masked(PING, ping)
                expected.append((PING, ping))
        expected.append((TEXT, b"".join(fragments)))
    assert run(FrameParser(1 << 16), chunked(data, cuts)) == expected


@given(st.binary(max_size=40), st.lists(st.integers(0, 40), max_size=5))
def test_utf8_as_python_understands_it(data: bytes, cuts: list[int]) -> None:
    expected: Outcome
    try:
        data.decode()
        expected = [(TEXT, data)]
    except UnicodeDecodeError:
        expected = [1007]
    assert run(FrameParser(100), chunked(masked(TEXT, data), cuts)) == expected
