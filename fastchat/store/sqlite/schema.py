"""The database file: its tables, its version, how a connection to it is made.

An event's key is ``room_id << 40 | seq``: a room's events lie together, in order, in one B-tree.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from fastchat.store.errors import StoreError as StoreError

Durability = Literal["full", "normal"]
Statement = tuple[str, tuple[Any, ...]]
"""SQL and its parameters."""

SEQ_BITS = 40
SEQ_MASK = (1 << SEQ_BITS) - 1
BUSY_TIMEOUT_S = 2.0
WAL_PAGES = 4000  # of 4 KiB
CACHE_KIB = 16_000
APPLICATION_ID = 0x46636861  # "Fcha": tells the file from other programs' databases
SQLITE_NEEDED = (3, 38)  # for the operator ->>

SCHEMA_1 = """
CREATE TABLE rooms (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    epoch TEXT NOT NULL,
    head INTEGER NOT NULL,      -- seq of the newest event
    first INTEGER NOT NULL,     -- seq of the oldest event that trimming has left
    size_bytes INTEGER NOT NULL DEFAULT 0,
    indexed INTEGER NOT NULL DEFAULT 0  -- seq up to which the search index goes
);
CREATE INDEX rooms_to_index ON rooms (id) WHERE indexed < head;
CREATE TABLE events (
    key INTEGER PRIMARY KEY,    -- room id << 40 | seq
    kind TEXT NOT NULL,
    author TEXT NOT NULL,
    id TEXT,                    -- the author's own
    at_ms INTEGER NOT NULL,
    body TEXT NOT NULL          -- the event as every client gets it
);
CREATE UNIQUE INDEX events_by_id ON events (key >> 40, author, id) WHERE id IS NOT NULL;
CREATE TABLE states (           -- messages that were changed, as they are now
    key INTEGER PRIMARY KEY,
    body TEXT NOT NULL
);
CREATE TABLE marks (            -- how far users have read
    user TEXT NOT NULL,
    room_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (user, room_id)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE texts USING fts5(text, tokenize = "unicode61 remove_diacritics 2");
"""

SCHEMA_2 = """
CREATE TABLE facts (            -- what is true of a room beside its events
    room_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,        -- JSON
    PRIMARY KEY (room_id, name)
) WITHOUT ROWID;
CREATE TABLE directs (          -- rooms of two by who is in them
    user TEXT NOT NULL,
    room_id INTEGER NOT NULL,
    PRIMARY KEY (user, room_id)
) WITHOUT ROWID;
CREATE TABLE accounts (
    key TEXT PRIMARY KEY,       -- what the name shares with all that look like it
    name TEXT NOT NULL,
    password TEXT,              -- what argon2 made of it
    subject TEXT UNIQUE,        -- issuer and sub of its tokens
    operator INTEGER NOT NULL,
    disabled INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    seen_at_ms INTEGER NOT NULL,
    valid_from_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    key INTEGER,                -- of the event that it tells of, if there is one
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    room TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL        -- JSON, or empty
);
CREATE INDEX audit_by_event ON audit (key) WHERE key IS NOT NULL;
"""

SCHEMA_3 = """
ALTER TABLE rooms ADD COLUMN published INTEGER;  -- seq up to which a broker has the events; NULL: none waits
CREATE INDEX rooms_to_publish ON rooms (id) WHERE published < head;
CREATE TABLE notices (          -- what no event tells of, and no broker has yet
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    slot INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    body TEXT NOT NULL          -- a CloudEvent
);
CREATE TABLE meta (             -- of the outbox: 'sending' where it has begun, 'notices_dropped'
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
"""

MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (
    lambda connection: _run(connection, SCHEMA_1),
    lambda connection: _run(connection, SCHEMA_2),
    lambda connection: _run(connection, SCHEMA_3),
)
"""Each takes the schema one version further; a file's version is how many it has had."""


def _run(connection: sqlite3.Connection, script: str) -> None:
    # Not executescript: that commits what is open, and a migration happens whole or not at all.
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            statement = ""


def connect(path: Path, durability: Durability) -> sqlite3.Connection:
    """A connection that writes; creates the file and migrates it where needed. Raises StoreError."""
    check_sqlite()
    try:
        connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=64
        )
    except sqlite3.Error as error:
        raise StoreError(f"cannot open {path}: {error}") from None
    try:
        check_owner(connection, path)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreError(f"cannot use {path}: its file system has no shared memory for SQLite's WAL")
        # A commit that finds the log longer than this moves it into the file, which waits for the disk again.
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        set_durability(connection, durability)
        migrate(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise StoreError(f"cannot use {path}: {error}") from None
    except BaseException:
        connection.close()
        raise
    return connection


def check_sqlite() -> None:
    """Raises StoreError where this Python's SQLite is too old."""
    if sqlite3.sqlite_version_info < SQLITE_NEEDED:
        needed = ".".join(map(str, SQLITE_NEEDED))
        raise StoreError(f"SQLite {needed} is needed, but this Python has {sqlite3.sqlite_version}")


def set_durability(connection: sqlite3.Connection, durability: Durability) -> None:
    """Whether commits wait for the disk: ``full`` ones do. Not within a transaction."""
    connection.execute(f"PRAGMA synchronous = {durability.upper()}")


def check_owner(connection: sqlite3.Connection, path: Path) -> int:
    """Refuses another program's file, and a newer one of ours; returns its version. Raises StoreError."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    if pages and owner != APPLICATION_ID and (owner or version or has_tables(connection)):
        raise StoreError(f"{path} is not a file of fastchat's, but another program's database")
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{path} is of version {version}, written by a newer fastchat; this one knows {len(MIGRATIONS)}"
        )
    return int(version)


def has_tables(connection: sqlite3.Connection) -> bool:
    """Whether there is anything in the file."""
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that only reads, for another thread."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA query_only = ON")
    return connection


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Brings the schema to this version, whole or not at all. Raises StoreError for a newer file's."""
    if check_owner(connection, path) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have been quicker.
        for step in MIGRATIONS[check_owner(connection, path) :]:
            step(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
