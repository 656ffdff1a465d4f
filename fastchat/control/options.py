"""What the operator's commands have in common: their options, and how they end."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import orjson
import typer

from fastchat import log
from fastchat.compiled import find_missing
from fastchat.config import ConfigError, Settings, load
from fastchat.control.client import Control, ControlError, open_control

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Settings in TOML; FASTCHAT_CONFIG names one, too."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="One setting; may be repeated, the last counts."),
]
StoreUrl = Annotated[
    str | None, typer.Option("--store", metavar="URL", help="The server's store (store.url).")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")]

USAGE = 2
FAILURE = 1


def read_settings(context: typer.Context) -> Settings:
    """The settings that the command's group was given. Ends the command where they are wrong."""
    config, sets, store = context.obj
    try:
        return load(config, sets or [], dict(os.environ), {"store.url": store})
    except ConfigError as error:
        end(error.problems, USAGE)


def remember(
    context: typer.Context, config: ConfigFile = None, sets: Sets = None, store: StoreUrl = None
) -> None:
    """Callback of a group of commands: which server they mean."""
    context.obj = (config, sets, store)


@contextmanager
def control(context: typer.Context) -> Iterator[Control]:
    """The server. What it refuses ends the command with one line."""
    settings = read_settings(context)
    if (problem := find_missing()) is not None:
        end([problem], FAILURE)
    log.configure("error", "text")
    try:
        with open_control(settings) as opened:
            yield opened
    except ControlError as error:
        end([str(error)], FAILURE)


def end(problems: list[str], status: int) -> NoReturn:
    """Says what is wrong and ends the command."""
    for problem in problems:
        print(f"fastchat: {problem}", file=sys.stderr)
    raise typer.Exit(status)


def when(at_ms: int | None) -> str:
    """A time as people read it, in UTC; a dash where there is none."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}" if at_ms else "-"


def print_json(objects: list[dict[str, Any]]) -> None:
    """One per line."""
    for each in objects:
        print(orjson.dumps(each).decode())


def print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as what is in them."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in (header, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
