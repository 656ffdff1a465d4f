"""docs/asyncapi.yaml as the tests use it: what clients may send, and what the server says that it sends."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT7

DOCS = Path(__file__).parent.parent / "docs"
_URI = "urn:fastchat:asyncapi"


def _check_pattern(
    validator: object, pattern: str, instance: object, schema: object
) -> Iterator[ValidationError]:
    # Patterns are ECMA 262's, whose $ does not match before a last newline as Python's does.
    if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield ValidationError(f"{instance!r} does not match {pattern}")


# AsyncAPI 3.0's own schema language is JSON Schema draft 7 with a few words more.
_Validator = extend(Draft7Validator, {"pattern": _check_pattern})


class ProtocolDocument:
    """The parsed file. Messages are known by the `type` that they carry on the wire."""

    def __init__(self, path: Path = DOCS / "asyncapi.yaml") -> None:
        self.root: dict[str, Any] = yaml.safe_load(path.read_text())
        self._registry: Registry[Any] = Registry().with_resource(_URI, DRAFT7.create_resource(self.root))
        operations: list[dict[str, Any]] = list(self.root["operations"].values())
        received = [operation for operation in operations if operation["action"] == "receive"]
        self.commands = self._by_type(message for one in received for message in one["messages"])
        """What clients may send, by type."""
        replies = [message for one in received for message in one["reply"]["messages"]]
        events = [message for one in operations if one["action"] == "send" for message in one["messages"]]
        self.from_server = self._by_type(iter(replies + events))
        """Replies and events, by type."""
        self.error_meanings: Mapping[str, str] = self.schema("error_code")["x-meanings"]
        self.close_meanings: Mapping[int, str] = self.schema("close_code")["x-meanings"]
        """Close codes that are announced by a `bye`."""
        self.silent_close_meanings: Mapping[int, str] = self.schema("close_code")["x-meanings-without-bye"]

    def schema(self, name: str) -> dict[str, Any]:
        """A part of the schemas that messages share."""
        schema: dict[str, Any] = self.root["components"]["schemas"][name]
        return schema

    def message(self, key: str) -> dict[str, Any]:
        message: dict[str, Any] = self.root["components"]["messages"][key]
        return message

    def examples(self, key: str) -> list[dict[str, Any]]:
        """The payloads of a message's examples."""
        return [example["payload"] for example in self.message(key)["examples"]]

    def accepts(self, key: str, document: object) -> bool:
        """Whether a message's schema allows the payload."""
        return not self.problems(key, document)

    def problems(self, key: str, document: object) -> list[str]:
        """What is wrong with a payload for the message of this key."""
        reference = {"$ref": f"{_URI}#/components/messages/{key}/payload"}
        validator = _Validator(reference, registry=self._registry)
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]

    def check_from_server(self, raw: str | bytes) -> dict[str, Any]:
        """Decodes what the server sent. Fails when it is not as documented, to the last field."""
        document: dict[str, Any] = json.loads(raw)
        assert document.get("type") in self.from_server, f"undocumented type: {document}"
        problems = self.problems(self.from_server[document["type"]], document)
        assert not problems, f"{document}: {problems}"
        if document["type"] == "bye":
            assert document["code"] in self.close_meanings, document
        return document

    def _by_type(self, references: Iterator[dict[str, str]]) -> dict[str, str]:
        keys = [reference["$ref"].rpartition("/")[2] for reference in references]
        return {self.message(key)["payload"]["properties"]["type"]["const"]: key for key in keys}
