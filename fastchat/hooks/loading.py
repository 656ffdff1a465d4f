"""Finds hooks: in modules that the configuration names, and in objects that a program passes."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from fastchat.errors import StartError
from fastchat.hooks.interface import Kind

_ARGUMENTS = {
    Kind.AUTHENTICATE: ("credentials",),
    Kind.AUTHORIZE: ("user", "action", "room"),
    Kind.ON_MESSAGE: ("message",),
    Kind.ON_JOIN: ("user", "room"),
    Kind.ON_LEAVE: ("user", "room"),
    Kind.ON_CONNECT: ("user", "address"),
    Kind.ON_DISCONNECT: ("user", "address"),
    Kind.ON_START: ("server",),
}


@dataclass(frozen=True, slots=True)
class Installed:
    """One hook: its function or method, and a name for logs and counters."""

    name: str
    kind: Kind
    function: Callable[..., Any]
    asynchronous: bool
    owner: object
    """The module or object whose it is."""


def load_modules(names: Sequence[str], folder: Path | None = None) -> list[ModuleType]:
    """Imports modules, also from ``folder``, where None the working directory.

    Raises StartError, which says what is wrong with one. Blocks.
    """
    if not names:
        return []
    modules = []
    folder = folder or Path.cwd()
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except ModuleNotFoundError as error:
            if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
                raise StartError(
                    f"there is no module {name} (hooks.modules) in {folder} or among what is installed; "
                    "start the server in the folder that has it, or install it"
                ) from None
            raise _cannot_import(name, error) from error
        except Exception as error:
            raise _cannot_import(name, error) from error
    return modules


def _cannot_import(name: str, error: Exception) -> StartError:
    return StartError(f"cannot import {name} (hooks.modules): {type(error).__name__}: {error}; correct it")


def collect(owners: Sequence[Any]) -> list[Installed]:
    """Every hook of these modules and objects, in their order. Raises StartError where one has none."""
    found = []
    for owner in owners:
        own = [hook for kind in Kind if (hook := _find(owner, kind)) is not None]
        if not own:
            raise StartError(f"{_name(owner)} has no hook; {_advice(owner)}")
        found += own
    return found


def _find(owner: Any, kind: Kind) -> Installed | None:
    function = getattr(owner, kind.value, None)
    if function is None:
        return None
    name = f"{_name(owner)}.{kind.value}"
    if not callable(function):
        raise StartError(f"{name} is no function; define it with def or async def")
    _check_arguments(name, kind, function)
    asynchronous = inspect.iscoroutinefunction(function)
    if not asynchronous and not inspect.isroutine(function):  # an object that can be called
        asynchronous = inspect.iscoroutinefunction(type(function).__call__)
    return Installed(name, kind, function, asynchronous, owner)


def _check_arguments(name: str, kind: Kind, function: Callable[..., Any]) -> None:
    arguments = _ARGUMENTS[kind]
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        raise StartError(f"{name} has other arguments than ({', '.join(arguments)})") from None
    except ValueError:  # a function in C does not say
        return


def _name(owner: Any) -> str:
    name = owner.__name__ if isinstance(owner, ModuleType | type) else type(owner).__qualname__
    return str(name)


def _advice(owner: Any) -> str:
    names = [kind.value for kind in Kind]
    for attribute in dir(owner):
        if match := difflib.get_close_matches(attribute, names, n=1, cutoff=0.8):
            return f"is {attribute} meant to be {match[0]}?"
    return f"define one of {', '.join(names)}"
