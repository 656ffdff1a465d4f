"""What one client said and heard, one JSON object a line: all that the checker gets to know.

Compressed, because everyone hears the same: in some minutes that is a gigabyte. `zcat` shows it.
"""

import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypedDict

import orjson

FINAL_LOG = "final-log.jsonl.gz"
"""The history of the client that reads every room from its first event when all is over."""

CLIENTS = "client-*.jsonl.gz"

CHUNK_BYTES = 65536

Document = dict[str, Any]


class Entry(TypedDict):
    """One line. `connection` counts a client's connections from 1; what was said or heard has a document."""

    connection: int
    event: Literal["opened", "said", "heard", "closed", "finished"]
    document: Document


class History:
    """Writes one client's history: a command before it is sent, an answer after it has arrived."""

    def __init__(self, path: Path) -> None:
        # Single lines would keep the compressor busy with itself.
        self._file = io.BufferedWriter(gzip.GzipFile(path, "wb", compresslevel=1), CHUNK_BYTES)
        self.connection = 0

    def opened(self) -> None:
        """Another connection begins."""
        self.connection += 1
        self._write("opened", b"{}")

    def said(self, command: Document) -> None:
        self._write("said", orjson.dumps(command))

    def heard(self, raw: bytes) -> None:
        """Takes the document as it came, so that it is not encoded again."""
        self._write("heard", raw)

    def ended(self) -> None:
        """The connection is gone, whoever ended it."""
        self._write("closed", b"{}")

    def finished(self) -> None:
        """This client has had an answer to everything, and has heard each of its rooms to the end."""
        self._write("finished", b"{}")

    def close(self) -> None:
        self._file.close()

    def _write(self, event: str, document: bytes) -> None:
        self._file.write(
            b'{"connection":%d,"event":"%b","document":%b}\n' % (self.connection, event.encode(), document)
        )


def read(path: Path) -> Iterator[Entry]:
    """The entries of a history, from the first."""
    with gzip.open(path, "rb") as lines:
        for line in lines:
            yield orjson.loads(line)
