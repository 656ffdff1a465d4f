"""`fastchat migrate-store`: a history out of a file into a PostgreSQL database."""

from pathlib import Path
from typing import Annotated

import typer

from fastchat.compiled import find_missing
from fastchat.config.cluster import is_postgresql
from fastchat.config.service_url import check_postgresql_url, masked
from fastchat.control.options import FAILURE, USAGE, end


def migrate_store(
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="The file, or its URL as in store.url: sqlite:///PATH.")
    ],
    target: Annotated[
        str,
        typer.Argument(metavar="TO", help="postgresql://USER:PASSWORD@HOST/DATABASE, with no chat in it."),
    ],
) -> None:
    """Copy a SQLite store into PostgreSQL, checked; run it again to go on where it ended. Stop the server."""
    try:
        if not is_postgresql(target):
            raise ValueError
        check_postgresql_url(target)
    except ValueError as error:
        hint = str(error) or "write postgresql://USER:PASSWORD@HOST/DATABASE"
        end([f"TO is {masked(target)}: {hint}"], USAGE)
    if (problem := find_missing()) is not None:
        end([problem], FAILURE)
    from fastchat.store import StoreError, sqlite_path

    path = sqlite_path(source) if source.startswith("sqlite:") else Path(source)
    if path is None or "://" in source.removeprefix("sqlite:"):
        end([f"FROM is {masked(source)}: name a file, or sqlite:///PATH"], USAGE)
    try:
        from fastchat.store.postgres.copying import copy_history
    except ModuleNotFoundError as error:
        if error.name != "asyncpg":
            raise
        end(["PostgreSQL needs asyncpg; install it with: pip install 'fastchat-server[postgres]'"], FAILURE)
    try:
        copy_history(path, target, lambda line: print(line, flush=True))
    except StoreError as error:
        end([str(error)], FAILURE)
    except KeyboardInterrupt:
        end(["stopped; run it again to go on"], FAILURE)
    print(f"copied {path} to {masked(target)}: set store.url to it, and start the server")
