"""What callgrind writes: how many instructions, and who called whom how often. Pure: text in, counts out."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter

_POSITION = re.compile(r"(?P<kind>ob|cob|fn|cfn)=\((?P<number>\d+)\)(?: (?P<name>.*))?")
_OURS = re.compile(r"/fastchat/_\w+\.[\w.-]*so$")


@dataclasses.dataclass
class Dump:
    """One dump of callgrind.

    ``calls`` are those out of fastchat's compiled modules into anything else, by the callee's name. Whatever
    object a module has made goes through one of them, whether it comes from the heap or from a free list.
    """

    instructions: int = 0
    calls: Counter[str] = dataclasses.field(default_factory=Counter)


def parse_dump(text: str) -> Dump:
    """Reads callgrind's format: names are given once, and referred to by number then."""
    dump = Dump()
    names: dict[tuple[str, str], str] = {}
    at = {"ob": "", "fn": "", "cob": "", "cfn": ""}
    for line in text.splitlines():
        if match := _POSITION.match(line):
            kind = match["kind"]
            key = (kind.removeprefix("c"), match["number"])
            if match["name"] is not None:
                names[key] = match["name"]
            at[kind] = names[key]
            if kind == "ob":
                at["cob"] = at["ob"]
        elif line.startswith("calls="):
            if _OURS.search(at["ob"]) and not _OURS.search(at["cob"]):
                dump.calls[at["cfn"].partition("'")[0]] += int(line[6:].split()[0])
            at["cob"] = at["ob"]
        elif line.startswith("totals:"):
            dump.instructions = int(line.split()[1])
    return dump
