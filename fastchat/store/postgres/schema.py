"""The tables in a database, their version, and how several nodes that start at once bring them to it.

What is text is compared by its bytes (``COLLATE "C"``), as everywhere in fastchat. No text of PostgreSQL's
holds a zero character: see ``escape``.
"""

from collections.abc import Mapping, Sequence
from secrets import token_hex
from typing import Any

import orjson

from fastchat.store.errors import StoreError
from fastchat.store.postgres.appending import APPENDING_1
from fastchat.store.postgres.connection import SCHEMA, Connection
from fastchat.store.postgres.errors import address
from fastchat.store.postgres.nodes import NODES_1
from fastchat.store.postgres.waiting import WAITING_1

OWNER = "fastchat"
"""What stands in ``meta``, to tell our tables from another program's."""

SCHEMA_1 = """
CREATE TABLE rooms (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    epoch text NOT NULL,
    head bigint NOT NULL DEFAULT 0,         -- seq of the newest event
    first bigint NOT NULL DEFAULT 1,        -- seq of the oldest event that trimming has left
    size_bytes bigint NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0       -- of its facts: grows with every change of them
) WITH (fillfactor = 50);                   -- each commit writes to it, beside the row that was there
CREATE TABLE events (
    room_id bigint NOT NULL,
    seq bigint NOT NULL,
    kind text NOT NULL,
    author text COLLATE "C" NOT NULL,
    id text COLLATE "C",                    -- the author's own
    at_ms bigint NOT NULL,
    body text NOT NULL,                     -- the event as every client gets it
    words tsvector,                         -- of the message as it is now
    PRIMARY KEY (room_id, seq)
);
CREATE UNIQUE INDEX events_by_id ON events (room_id, author, id) WHERE id IS NOT NULL;
CREATE INDEX events_by_word ON events USING gin (words);
CREATE TABLE states (                       -- messages that were changed, as they are now
    room_id bigint NOT NULL,
    seq bigint NOT NULL,
    version bigint NOT NULL,                -- seq of the last change
    body text NOT NULL,
    PRIMARY KEY (room_id, seq)
);
CREATE TABLE facts (                        -- what is true of a room beside its events
    room_id bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    value text NOT NULL,                    -- JSON
    PRIMARY KEY (room_id, name)
);
CREATE TABLE directs (                      -- rooms of two by who is in them
    who text COLLATE "C" NOT NULL,
    room_id bigint NOT NULL,
    PRIMARY KEY (who, room_id)
);
CREATE TABLE marks (                        -- how far users have read
    who text COLLATE "C" NOT NULL,
    room_id bigint NOT NULL,
    seq bigint NOT NULL,
    PRIMARY KEY (who, room_id)
) WITH (fillfactor = 70);
CREATE TABLE accounts (
    key text COLLATE "C" PRIMARY KEY,       -- what the name shares with all that look like it
    name text NOT NULL,
    password text,                          -- what argon2 made of it
    subject text COLLATE "C" UNIQUE,        -- issuer and sub of its tokens
    operator boolean NOT NULL,
    disabled boolean NOT NULL,
    created_at_ms bigint NOT NULL,
    seen_at_ms bigint NOT NULL,
    valid_from_ms bigint NOT NULL
);
CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms bigint NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    room text NOT NULL,
    target text NOT NULL,
    detail text NOT NULL                    -- JSON, or empty
);
CREATE TABLE writers (                      -- what was done last by each connection that writes
    id text PRIMARY KEY,
    number bigint NOT NULL,                 -- of its last commit
    result bigint[],                        -- what came of it
    used_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
"""

MIGRATIONS: Sequence[str] = (SCHEMA_1 + APPENDING_1 + WAITING_1 + NODES_1,)
"""Each takes the schema one version further; a database's version is how many it has had."""

LOCK = "hashtext('fastchat'), hashtext('migrations')"


def escape(text: str) -> str:
    """The text without zero characters: what is no other text's."""
    if "\\" not in text and "\0" not in text:
        return text
    return text.replace("\\", "\\\\").replace("\0", "\\0")


def unescape(text: str) -> str:
    """What ``escape`` was given."""
    if "\\" not in text:
        return text
    return "\\".join(part.replace("\\0", "\0") for part in text.split("\\\\"))


async def migrate(connection: Connection, url: str, *, copying: bool = False) -> str:
    """Brings the schema to this version, whole or not at all; returns the database's epoch.

    Several nodes may do so at once. Raises StoreError for another program's schema, for a newer one, and,
    unless it is for ``copying``, for one that has half a copy (see ``set_copy``).
    """
    if await connection.fetchval("SHOW server_encoding") != "UTF8":
        raise StoreError(f"the database {address(url)} is not in UTF-8; make it with: createdb -E UTF8")
    if await _version(connection, url) < len(MIGRATIONS):
        async with connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
            # Another node may have been quicker.
            await _step(connection, await _version(connection, url))
    copy = await read_copy(connection)
    if copy is not None and not copy["done"] and not copying:
        raise StoreError(
            f"the database {address(url)} has half a copy of a file; have the rest copied with: "
            "fastchat migrate-store"
        )
    epoch: str = await connection.fetchval("SELECT value FROM meta WHERE name = 'epoch'")
    return epoch


async def set_copy(connection: Connection, progress: Mapping[str, Any]) -> None:
    """Writes down how far a history has been copied into this database; ``done`` says that all of it has."""
    await connection.execute(
        "INSERT INTO meta VALUES ('copy', $1) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        orjson.dumps(progress).decode(),
    )


async def read_copy(connection: Connection) -> dict[str, Any] | None:
    """What was written down; None where nothing was ever copied."""
    found = await connection.fetchval("SELECT value FROM meta WHERE name = 'copy'")
    return None if found is None else orjson.loads(found)


async def _step(connection: Connection, version: int) -> None:
    if version == 0:
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        await connection.execute("CREATE TABLE meta (name text PRIMARY KEY, value text NOT NULL)")
        await connection.executemany(
            "INSERT INTO meta VALUES ($1, $2)", [("owner", OWNER), ("version", "0"), ("epoch", token_hex(6))]
        )
    for script in MIGRATIONS[version:]:
        await connection.execute(script)
    await connection.execute("UPDATE meta SET value = $1 WHERE name = 'version'", str(len(MIGRATIONS)))


async def _version(connection: Connection, url: str) -> int:
    """How many steps the schema has had; 0 where there is nothing yet."""
    tables = await connection.fetchval(
        "SELECT array_agg(relname::text) FROM pg_class WHERE relnamespace = to_regnamespace($1)", SCHEMA
    )
    if not tables:
        return 0
    found = {}
    if "meta" in tables:
        columns = await connection.fetch(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = 'meta'::regclass AND attnum > 0"
        )
        if [name for (name,) in columns] == ["name", "value"]:
            found = dict(await connection.fetch("SELECT name, value FROM meta"))
    if found.get("owner") != OWNER:
        raise StoreError(
            f"the schema {SCHEMA} in {address(url)} is another program's; choose another database"
        )
    version = int(found["version"])
    if version > len(MIGRATIONS):
        raise StoreError(
            f"the database {address(url)} is of version {version}, written by a newer fastchat; "
            f"this one knows {len(MIGRATIONS)}"
        )
    return version
