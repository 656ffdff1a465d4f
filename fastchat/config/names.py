"""Every setting by its name, `section.key`. Pure."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fastchat.config.settings import Settings
from fastchat.config.values import ADDRESS_WITH_PASSWORD, SECRET

_UNITS = (("_per_s", "per s"), ("_bytes", "bytes"), ("_ms", "ms"), ("_s", "s"))


def _sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    for key, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield prefix + key, kind
            yield from _sections(kind, f"{prefix}{key}.")


SECTIONS: dict[str, type[BaseModel]] = dict(_sections(Settings))
"""Sections by name; `fanout.websocket` is one, too."""

SETTINGS: dict[str, FieldInfo] = {
    f"{section}.{key}": field
    for section, model in SECTIONS.items()
    for key, field in model.model_fields.items()
    if f"{section}.{key}" not in SECTIONS
}
"""Settings by name, in the order of the sections."""


def value_of(settings: Settings, name: str) -> Any:
    """The value of the setting `section.key`."""
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def is_secret(name: str) -> bool:
    """Whether the setting's value must not be shown to anyone."""
    return SETTINGS[name].json_schema_extra == SECRET


def has_password(name: str) -> bool:
    """Whether the setting's value is an address that may have a password in it."""
    return SETTINGS[name].json_schema_extra == ADDRESS_WITH_PASSWORD


def unit_of(name: str) -> str:
    """The unit that the setting's name ends in, or nothing."""
    return next((unit for suffix, unit in _UNITS if name.endswith(suffix)), "")
