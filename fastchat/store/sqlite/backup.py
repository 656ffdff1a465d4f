"""A copy of the file as it is at one moment, while a server may be using it."""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from fastchat.store.sqlite.schema import BUSY_TIMEOUT_S, StoreError, check_owner, check_sqlite, has_tables
from fastchat.store.sqlite.store import reason


def back_up(source: Path, target: Path, *, replace: bool = False) -> int:
    """Copies ``source`` to ``target``; returns the copy's size in bytes. Raises StoreError.

    The copy has everything that was acknowledged before it began. It is checked, and on the disk, before it
    has its name: whatever goes wrong, there is either a good copy or what was there before.
    """
    check_sqlite()
    if not source.is_file():
        raise StoreError(f"there is no store at {source}")
    if target.exists() and target.samefile(source):
        raise StoreError(f"{target} is the store itself; choose another file for the copy")
    if target.is_dir():
        raise StoreError(f"{target} is a folder; name a file in it")
    if target.exists() and not replace:
        raise StoreError(f"{target} is there already; --force replaces it")
    if beside(target, "-wal").exists():
        raise StoreError(f"{target} is in use, or was when its server was killed; choose another file")
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        _copy(source, partial)
        size = _sync(partial)
        partial.replace(target)
        _sync(target.parent)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {reason(error)}") from None
    except sqlite3.Error as error:
        raise StoreError(f"cannot copy {source} to {target}: {error}") from None
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                beside(partial, suffix).unlink()
    return size


def beside(path: Path, suffix: str) -> Path:
    """A file that SQLite keeps beside a database."""
    return path.with_name(path.name + suffix)


def _copy(source: Path, partial: Path) -> None:
    # Reads alone, but may have to bring the log of a server that was killed into order.
    uri = f"{source.absolute().as_uri()}?mode=rw"
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as original,
        closing(sqlite3.connect(partial, isolation_level=None)) as copy,
    ):
        check_owner(original, source)
        if not has_tables(original):
            raise StoreError(f"{source} is not a file of fastchat's: there is nothing in it")
        # All at once: a copy in pieces begins anew with every commit of the server.
        original.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # so that the copy is one file
        (verdict,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
        if verdict != "ok":
            raise StoreError(f"{source} is damaged: {verdict.replace(chr(10), ' ')}; the copy was not kept")


def _sync(path: Path) -> int:
    """Waits until a file or folder is on the disk; returns its size."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
