"""Lines that a terminal may be sent. Pure: no sockets, clock or await."""

import re
from collections.abc import Iterable

# RFC 854, RFC 855: what a telnet client may send between the characters: IAC and a verb, which is followed
# by an option, by a subnegotiation up to IAC SE, or by nothing.
_telnet_command = re.compile(rb"\xff(?:[\xfb-\xfe].?|\xfa.*?(?:\xff\xf0|\Z)|.?)", re.DOTALL)

# What no terminal may be sent.
_BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_CONTROLS = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *_BIDI_CONTROLS]
_CLEANED = str.maketrans(dict.fromkeys(_CONTROLS, "") | {"\t": " "})

_UNITS_S = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def clean(text: str) -> str:
    """The text without control characters: no escape sequence passes from one terminal to another."""
    return text.translate(_CLEANED)


def decode_line(payload: bytes) -> str:
    """What was typed, without what a telnet client negotiates. Raises UnicodeDecodeError."""
    return clean(_telnet_command.sub(b"", payload).decode())


def encode_lines(lines: Iterable[str]) -> bytes:
    """Lines for the screen, cleaned."""
    return b"".join(clean(line).encode() + b"\n" for line in lines)


def prefix_lines(prefix: str, text: str) -> list[str]:
    """A text of any number of lines, each with the prefix."""
    return [prefix + line for line in text.splitlines()] or [prefix]


def shown_room(room: str, author: str) -> str:
    """Where something was said: of a room of two, by whom."""
    return f"@{author}" if room.startswith("@") else room


def shown_duration(duration_s: int) -> str:
    """Seconds as a person types them: ``90m``, ``2h``."""
    unit, size_s = next((unit, size_s) for unit, size_s in _UNITS_S.items() if not duration_s % size_s)
    return f"{duration_s // size_s}{unit}"


_duration = re.compile("([1-9][0-9]{0,8})([smhd])").fullmatch


def parse_duration_s(text: str) -> int | None:
    """The seconds in ``30s``, ``10m``, ``2h`` or ``7d``; None where it is something else."""
    found = _duration(text)
    return int(found[1]) * _UNITS_S[found[2]] if found else None
