"""The `fastchat` command.

An error is one line, not a traceback. Exit code 2: wrong settings or usage; 1: the server can't start.
"""

import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from fastchat import log
from fastchat.compiled import find_missing
from fastchat.config import ConfigError, Loaded, Settings, describe, load, read
from fastchat.config.cluster import is_postgresql
from fastchat.config.duration import parse_duration_s
from fastchat.config.service_url import masked
from fastchat.control import audit, migrating, rooms, users
from fastchat.control.options import FAILURE, USAGE, ConfigFile, Sets, end
from fastchat.errors import StartError

app = typer.Typer(
    help="A chat server: WebSocket, JSON lines and plain text, on one machine or on many.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Shows and checks the settings.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")
app.add_typer(users.app, name="user")
app.add_typer(rooms.app, name="room")
app.command()(audit.audit)
app.command("migrate-store")(migrating.migrate_store)


def main() -> None:
    """The console script."""
    app(prog_name="fastchat")


def _print_version(wanted: bool) -> None:
    if wanted:
        try:
            print(f"fastchat {importlib.metadata.version('fastchat-server')}")
        except importlib.metadata.PackageNotFoundError:
            print("fastchat (version unknown: run from its sources, not installed)")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Nothing but the options that every command shares."""


@app.command()
def serve(
    http: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Listen here for HTTP and WebSocket (http.listen)."),
    ] = None,
    line: Annotated[
        str | None, typer.Option(metavar="HOST:PORT|off", help="Listen here for lines (line.listen).")
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="Where rooms are kept (store.url).")
    ] = None,
    broker: Annotated[
        str | None, typer.Option(metavar="URL", help="RabbitMQ, NATS or Redis (broker.url).")
    ] = None,
    workers: Annotated[
        str | None, typer.Option(metavar="N", help="Processes on the same ports (server.workers).")
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    ready_fd: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Write the bound addresses as JSON to this open descriptor."),
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Write the bound addresses as JSON to this file.")
    ] = None,
) -> None:
    """Run the server until SIGTERM or SIGINT; SIGHUP reads [fanout] again."""
    flags = {
        "http.listen": http,
        "line.listen": line,
        "store.url": store,
        "broker.url": broker,
        "server.workers": workers,
    }
    environ = dict(os.environ)

    def reload() -> Settings:
        return load(config, sets or [], environ, flags)

    settings = _read(config, sets, environ, flags).settings
    if ready_fd is not None:
        _check_open(ready_fd)
    log.configure(settings.log.level, settings.log.format)
    _check_compiled()
    # Not before it is needed: it takes the whole server along, and the compiled modules.
    from fastchat import serving

    try:
        if settings.server.workers > 1:
            from fastchat import workers as supervisor

            raise typer.Exit(
                supervisor.run(settings, reload=reload, ready_fd=ready_fd, ready_file=ready_file)
            )
        status = serving.run(settings, reload=reload, ready_fd=ready_fd, ready_file=ready_file)
    except StartError as error:
        end([str(error)], FAILURE)
    raise typer.Exit(status)


@app.command()
def backup(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The copy, one file; copy it back to restore.")
    ],
    store: Annotated[str | None, typer.Option(metavar="URL", help="What to copy (store.url).")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
) -> None:
    """Copy the store to FILE, checked and complete, also while the server runs."""
    url = _read(config, sets, os.environ, {"store.url": store}).settings.store.url
    if is_postgresql(url):
        end([f"store.url is {masked(url)}: copy a PostgreSQL database with its own pg_dump"], USAGE)
    _check_compiled()
    from fastchat.store import StoreError, back_up, sqlite_path

    source = sqlite_path(url)
    if source is None:
        end([f"store.url is {url}, of which there is nothing to copy; name a store with --store URL"], USAGE)
    try:
        size_bytes = back_up(source, file, replace=force)
    except StoreError as error:
        end([str(error)], FAILURE)
    print(f"copied {source} to {file}: {size_bytes} bytes")


@app.command()
def token(
    user: Annotated[str, typer.Option(metavar="NAME", help="Whose token it is: sub and name.")],
    rooms: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN=r|rw|rwm",
            help="Only these rooms: to read, to write, to moderate; may be repeated. Without it, all.",
        ),
    ] = None,
    expires: Annotated[
        str, typer.Option(metavar="TIME", help="How long it lasts: 90s, 10m, 12h, 7d.")
    ] = "1h",
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A private key in PEM; else auth.secret or one of auth.key_files."),
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
) -> None:
    """Print a token as your own login would make it, for development."""
    settings = _read(config, sets, os.environ).settings
    _check_compiled()
    from fastchat.auth.building import sign_token
    from fastchat.messages import WireError

    grants = dict(one.rpartition("=")[::2] for one in rooms or [])
    try:
        made = sign_token(settings.auth, user, grants, parse_duration_s(expires), key)
    except ValueError as error:
        end([f"--expires: {error}"], USAGE)
    except WireError as error:
        end([error.message], USAGE)
    except StartError as error:
        end([str(error)], USAGE)
    print(made)


@config_app.command()
def show(
    config: ConfigFile = None,
    sets: Sets = None,
    toml: Annotated[bool, typer.Option("--toml", help="As a TOML file that explains itself.")] = False,
) -> None:
    """Print every setting with its value, unit, default, origin and the reason to change it."""
    loaded = _read(config, sets, os.environ)
    text = describe.toml(loaded.settings) if toml else describe.table(loaded.settings, loaded.origins)
    print(text, end="")


@config_app.command()
def check(config: ConfigFile = None, sets: Sets = None) -> None:
    """Say whether the settings can be used."""
    count = len(_read(config, sets, os.environ).origins)
    print(f"the settings are right: {count} given, the others are defaults")


def _read(
    config: Path | None,
    sets: list[str] | None,
    environ: Mapping[str, str],
    flags: Mapping[str, str | None] | None = None,
) -> Loaded:
    try:
        return read(config, sets or [], environ, flags)
    except ConfigError as error:
        end(error.problems, USAGE)


def _check_open(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except (OSError, OverflowError):
        end([f"--ready-fd: {descriptor} is not an open file descriptor"], USAGE)


def _check_compiled() -> None:
    if (problem := find_missing()) is not None:
        end([problem], FAILURE)
