"""Settings as text for people: values, what is allowed, a table, a TOML file. Pure."""

import json
import textwrap
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from fastchat.config.names import SECTIONS, SETTINGS, has_password, is_secret, unit_of, value_of
from fastchat.config.service_url import masked
from fastchat.config.settings import Settings
from fastchat.config.values import Allowed

HIDDEN = "***"
_WIDTH = 100


def allowed(field: FieldInfo) -> str:
    """What the setting accepts, to follow the word "use"."""
    for rule in field.metadata:
        if isinstance(rule, Allowed):
            return rule.text
    if choices := _choices(field.annotation):
        return " or ".join(f"'{choice}'" for choice in choices)
    return _range(field)


def _choices(kind: Any) -> list[str]:
    """The words of a Literal, and 'inherit' where it may be None."""
    if typing.get_origin(kind) is typing.Literal:
        return [*typing.get_args(kind)]
    words = [word for member in typing.get_args(kind) for word in _choices(member)]
    return [*words, "inherit"] if words else []


def _range(field: FieldInfo) -> str:
    marks = ("ge", "gt", "le")
    rules = {mark: getattr(rule, mark) for rule in field.metadata for mark in marks if hasattr(rule, mark)}
    bound = {mark: as_text(value) for mark, value in rules.items()}
    kind = "a number" if field.annotation is float else "a whole number"
    bounds = (
        f"above {bound['gt']}, up to {bound['le']}"
        if "gt" in bound
        else f"from {bound['ge']} to {bound['le']}"
    )
    inherit = ", or 'inherit'" if field.default is None else ""
    return f"{kind} {bounds}{inherit}"


def as_text(value: object, name: str = "") -> str:
    """A value as `--set` accepts it for the setting of this name."""
    if value is None:
        return "off" if name == "line.listen" else "inherit"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        if value and isinstance(value[0], BaseModel):
            return json.dumps([_given(table) for table in value])
        return ",".join(map(str, value)) or "[]"
    return str(value)


def shown(value: object, name: str) -> str:
    """A value as text for anybody to see: without what is secret in it."""
    text = as_text(value, name)
    if is_secret(name) and value != SETTINGS[name].get_default():
        return HIDDEN
    return masked(text) if has_password(name) else text


def _given(table: BaseModel) -> dict[str, Any]:
    """What of a table differs from its defaults, as plain values."""
    return table.model_dump(exclude_defaults=True)


def as_toml(value: object, name: str) -> str:
    """A value as TOML writes it."""
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        if value and isinstance(value[0], BaseModel):
            return "[\n" + "".join(f"    {_inline_table(table)},\n" for table in value) + "]"
        return f"[{', '.join(json.dumps(item) for item in value)}]"
    text = as_text(value, name)
    # JSON's strings are TOML's, as no setting holds characters outside ASCII.
    return text if isinstance(value, int | float) else json.dumps(text)


def _inline_table(table: BaseModel) -> str:
    pairs = [f"{key} = {json.dumps(value)}" for key, value in _given(table).items()]
    return f"{{ {', '.join(pairs)} }}"


def table(settings: Settings, origins: Mapping[str, str]) -> str:
    """Every setting with value, unit and default; below, who gave the value and why to change it."""
    rows = [("SETTING", "VALUE", "UNIT", "DEFAULT")]
    for name, field in SETTINGS.items():
        default, value = field.get_default(), value_of(settings, name)
        rows.append((name, shown(value, name), unit_of(name), as_text(default, name)))
    # One long list of origins must not push every other row out of sight.
    widths = [min(max(len(row[column]) for row in rows), 33) for column in range(3)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[3]]).rstrip())
        if row[0] in origins:
            lines.append(f"    from {origins[row[0]]}")
        if row[0] in SETTINGS:
            lines.append(f"    {SETTINGS[row[0]].description}")
    return "\n".join(lines) + "\n"


def toml(settings: Settings) -> str:
    """A TOML file that gives these settings again and explains each of them."""
    lines = [
        "# Settings of fastchat; use it with: fastchat serve --config FILE",
        "# Flags and environment variables (FASTCHAT_SECTION__KEY) are stronger than this file.",
    ]
    for section, model in SECTIONS.items():
        lines += ["", *_comment(model.__doc__ or ""), f"[{section}]"]
        for key in model.model_fields:
            name = f"{section}.{key}"
            if name in SETTINGS:
                lines += _toml_setting(name, key, value_of(settings, name))
    return "\n".join(lines) + "\n"


def _toml_setting(name: str, key: str, value: object) -> list[str]:
    field = SETTINGS[name]
    default = as_toml(field.get_default(), name)
    given = f"{key} = {as_toml(value, name)}"
    if is_secret(name) and value != field.get_default():
        given = f"# {key} is given and not shown"
    elif shown(value, name) != as_text(value, name):
        given = f"# {key} = {json.dumps(shown(value, name))}"
    return [
        *_comment(field.description or ""),
        *_comment(f"Use {allowed(field)}."),
        f"# Default: {default}",
        given,
    ]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
