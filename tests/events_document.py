"""docs/schemas/events.json as the tests use it: what other services may be sent."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

_PATH = Path(__file__).parent.parent / "docs" / "schemas" / "events.json"


class EventsDocument:
    """The parsed file."""

    def __init__(self, path: Path = _PATH) -> None:
        self.root: dict[str, Any] = json.loads(path.read_text())
        Draft202012Validator.check_schema(self.root)
        self._validator = Draft202012Validator(self.root)

    @property
    def types(self) -> set[str]:
        """Every ``type`` that an event may have."""
        found: set[str] = set()
        for case in self.root["oneOf"]:
            kind = case["properties"]["type"]
            found |= {kind["const"]} if "const" in kind else set(kind["enum"])
        return found

    def check(self, body: bytes) -> dict[str, Any]:
        """The event, which is as the file says. Raises jsonschema.ValidationError."""
        event: dict[str, Any] = json.loads(body)
        self._validator.validate(event)
        return event
