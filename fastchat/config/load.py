"""Reads settings from their sources and says, in one line each, what is wrong with them."""

import difflib
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource

from fastchat.config.describe import HIDDEN, allowed, as_text
from fastchat.config.names import SECTIONS, SETTINGS, is_secret, value_of
from fastchat.config.service_url import masked
from fastchat.config.settings import Settings
from fastchat.errors import ConfigError

ENV_PREFIX = "FASTCHAT_"
CONFIG_VARIABLE = "FASTCHAT_CONFIG"
FLAGS = {
    "http.listen": "--http",
    "line.listen": "--line",
    "store.url": "--store",
    "broker.url": "--broker",
    "server.workers": "--workers",
}

# A Kubernetes service named "fastchat" puts these into its pods unasked.
_KUBERNETES = re.compile(r"FASTCHAT_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_.+)?)?)")


@dataclass(frozen=True)
class Given:
    """A value as it was given, and by whom: a flag, an environment variable's name or a file's path."""

    value: object
    origin: str


@dataclass(frozen=True)
class Loaded:
    """Settings, and the origin of each that was given: {"http.listen": "--http"}."""

    settings: Settings
    origins: Mapping[str, str]


def load(
    config_file: Path | None,
    sets: Sequence[str],
    environ: Mapping[str, str],
    flags: Mapping[str, str | None] | None = None,
) -> Settings:
    """Settings from all sources; raises ConfigError with every problem that was found.

    `sets` are `section.key=value`, the last one counts; `flags` maps settings that have a flag of
    their own to its value, None where it wasn't given. Reads the file anew at each call.
    """
    return read(config_file, sets, environ, flags).settings


def read(
    config_file: Path | None,
    sets: Sequence[str],
    environ: Mapping[str, str],
    flags: Mapping[str, str | None] | None = None,
) -> Loaded:
    """As `load`, with the origin of every value that is not a default."""
    problems: list[str] = []
    given: dict[str, Given] = {}
    # Weakest first: the later one replaces the earlier.
    given.update(_from_file(config_file, environ, problems))
    given.update(_from_environment(environ, problems))
    given.update(_from_sets(sets, problems))
    for name, value in (flags or {}).items():
        if value is not None:
            given[name] = Given(value, FLAGS[name])
    try:
        settings = Settings(**_nest(given))
    except ValidationError as error:
        problems += [_explain(details, given) for details in error.errors(include_url=False)]
        raise ConfigError(problems) from None
    if problems:
        raise ConfigError(problems)
    return Loaded(settings, {name: value.origin for name, value in given.items()})


def changes(old: Settings, new: Settings) -> list[str]:
    """The names of the settings that differ."""
    return [name for name in SETTINGS if value_of(old, name) != value_of(new, name)]


def is_live(name: str) -> bool:
    """Whether a change of the setting can take effect while the server runs."""
    return name.startswith("fanout.")


def _from_file(config_file: Path | None, environ: Mapping[str, str], problems: list[str]) -> dict[str, Given]:
    named_by = "--config"
    if config_file is None and environ.get(CONFIG_VARIABLE):
        config_file, named_by = Path(environ[CONFIG_VARIABLE]), CONFIG_VARIABLE
    if config_file is None:
        return {}
    try:
        table = tomllib.loads(config_file.read_bytes().decode())
    except OSError as error:
        reason = error.strerror or str(error)
        problems.append(f"cannot read {config_file} (from {named_by}): {reason[:1].lower()}{reason[1:]}")
    except UnicodeDecodeError as error:
        problems.append(f"{config_file}: not UTF-8 text (at byte {error.start})")
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{config_file}: not valid TOML: {str(error)[:1].lower()}{str(error)[1:]}")
    else:
        given: dict[str, Given] = {}
        _flatten(table, "", str(config_file), given, problems)
        return given
    return {}


def _flatten(
    table: Mapping[str, Any], prefix: str, origin: str, given: dict[str, Given], problems: list[str]
) -> None:
    for key, value in table.items():
        name = prefix + key
        if name in SETTINGS:
            given[name] = Given(value, origin)
        elif name not in SECTIONS:
            problems.append(
                _unknown(name, origin, [*SETTINGS, *SECTIONS], "section" if _is_table(value) else "setting")
            )
        elif _is_table(value):
            _flatten(value, f"{name}.", origin, given, problems)
        else:
            problems.append(
                f"{name}: {_shown(value)} is not allowed (from {origin}); it is a section: [{name}]"
            )


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, Given]:
    names = {ENV_PREFIX + name.replace(".", "__").upper(): name for name in SETTINGS}
    ours = {
        name: value
        for name, value in environ.items()
        if name.startswith(ENV_PREFIX)
        and name != CONFIG_VARIABLE
        and not ("KUBERNETES_SERVICE_HOST" in environ and _KUBERNETES.fullmatch(name))
    }
    known = [*names, CONFIG_VARIABLE]
    problems += [_unknown(name, "the environment", known, "setting") for name in ours if name not in names]
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value for name, value in ours.items() if name in names}
    given: dict[str, Given] = {}
    _flatten(source(), "", "", given, problems)
    variables = {name: variable for variable, name in names.items()}
    return {name: Given(got.value, variables[name]) for name, got in given.items()}


def _from_sets(sets: Sequence[str], problems: list[str]) -> dict[str, Given]:
    given: dict[str, Given] = {}
    for text in sets:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            problems.append(f"--set: {text!r} is not allowed; use section.key=value")
        elif name in SETTINGS:
            given[name] = Given(value.strip(), "--set")
        else:
            problems.append(_unknown(name, "--set", SETTINGS, "setting"))
    return given


def _nest(given: Mapping[str, Given]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, one in given.items():
        *sections, key = name.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[key] = one.value
    return tree


def _unknown(name: str, origin: str, known: Iterable[str], noun: str) -> str:
    # A right key in the wrong section looks far away as a whole.
    key = name.rpartition(".")[2]
    nearest = [other for other in known if other.rpartition(".")[2] == key]
    if not nearest:
        by_lower = {other.lower(): other for other in known}
        nearest = [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=1)]
    hint = f"did you mean {nearest[0]}?" if nearest else "'fastchat config show' lists them all"
    return f"{name}: no such {noun} (from {origin}); {hint}"


def _explain(details: ErrorDetails, given: Mapping[str, Given]) -> str:
    context = details.get("ctx", {})
    if details["type"] == "refusal":
        return str(context["problem"])
    if details["type"] == "conflict":
        setting, other = context["setting"], context["other"]
        expected = f"it must be {context['relation']} {other}, which is {_value(other, given)}"
        return f"{setting}: {_value(setting, given)} does not fit; {expected}"
    setting = _setting_at(details["loc"])
    inner = details["loc"][setting.count(".") + 1 :]
    if len(inner) > 1:
        return _explain_table(setting, str(inner[0]), str(inner[1]), details, given)
    # A validator's own text knows more than the setting's general rule.
    expected = str(context.get("error", "")) or f"use {allowed(SETTINGS[setting])}"
    origin = f"from {given[setting].origin}" if setting in given else "the default"
    # A list's error carries its item, which says more than the whole.
    shown = HIDDEN if is_secret(setting) else _shown(details["input"])
    return f"{setting}: {shown} is not allowed ({origin}); {expected}"


def _explain_table(
    setting: str, index: str, key: str, details: ErrorDetails, given: Mapping[str, Given]
) -> str:
    """As ``_explain``, of a key in one of a setting's tables."""
    (model, *_) = typing.get_args(SETTINGS[setting].annotation)
    where = f"{setting}: table {int(index) + 1} (from {given[setting].origin})"
    if details["type"] == "missing":
        return f"{where}: {key} is missing; use {allowed(model.model_fields[key])}"
    if key not in model.model_fields:
        return f"{where}: {key}: no such key; use {', '.join(model.model_fields)}"
    rule = allowed(model.model_fields[key])
    return f"{where}: {key}: {_shown(details['input'])} is not allowed; use {rule}"


def _setting_at(location: tuple[int | str, ...]) -> str:
    # Behind the setting's own name pydantic adds a list's index or a union's member.
    parts = [str(part) for part in location]
    return next(name for end in range(len(parts), 0, -1) if (name := ".".join(parts[:end])) in SETTINGS)


def _value(name: str, given: Mapping[str, Given]) -> str:
    if name in given and is_secret(name):
        return f"{HIDDEN} (from {given[name].origin})"
    if name in given:
        return f"{masked(str(given[name].value))} (from {given[name].origin})"
    return f"{as_text(SETTINGS[name].get_default(), name) or 'nothing'} (the default)"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    # A store's URL may carry a password, and messages end up in logs.
    return masked(repr(value))
