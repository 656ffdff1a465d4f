"""The metrics of all workers, whichever of them is asked: each tells the others its own on a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

ANSWER_TIMEOUT_S = 2.0
"""A worker that is too busy to answer is left out, rather than all of them."""

BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's among the others: its number, and the folder where they find each other."""

    number: int
    folder: Path


class WorkerMetrics:
    """One worker's part. ``own`` gives its metrics in the text format."""

    def __init__(self, own: Callable[[], Awaitable[bytes]], place: Place) -> None:
        self._own = own
        self._folder = place.folder
        self._path = place.folder / str(place.number)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Begins to tell the others."""
        listener = await asyncio.to_thread(self._listen)
        self._server = await asyncio.start_unix_server(self._tell, sock=listener)

    def _listen(self) -> socket.socket:
        self._path.unlink(missing_ok=True)  # of the one that had this number before
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._path))
        return listener

    async def close(self) -> None:
        """Tells nobody any more."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        await asyncio.to_thread(self._clean_up)

    def _clean_up(self) -> None:
        self._path.unlink(missing_ok=True)
        # The parent does it, unless it was killed.
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(await self._own())
            writer.close()
            await writer.wait_closed()

    async def encode(self) -> bytes:
        """Of all workers, each value with the number of its ``worker``."""
        paths = await asyncio.to_thread(self._paths)
        told = await asyncio.gather(*map(self._ask, paths))
        by_worker = {path.name: text for path, text in zip(paths, told, strict=True) if text}
        return await asyncio.to_thread(merge, by_worker)

    def _paths(self) -> list[Path]:
        return sorted(self._folder.iterdir(), key=lambda path: int(path.name))

    async def _ask(self, path: Path) -> bytes:
        if path == self._path:
            return await self._own()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                reader, writer = await asyncio.open_unix_connection(path, limit=BYTES_MAX)
                try:
                    return await reader.read(-1)
                finally:
                    writer.close()
                    await writer.wait_closed()
        except (OSError, TimeoutError):
            return b""  # it has ended, or is about to be started again


def merge(by_worker: Mapping[str, bytes]) -> bytes:
    """One text of several, in which each value has the label ``worker``."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(by_worker))
    return generate_latest(registry)


class _Merged(Collector):
    def __init__(self, by_worker: Mapping[str, bytes]) -> None:
        self._by_worker = by_worker

    def collect(self) -> Iterable[Metric]:
        merged: dict[str, Metric] = {}
        for worker, text in self._by_worker.items():
            for family in text_string_to_metric_families(text.decode()):
                one = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    one.add_sample(sample.name, {**sample.labels, "worker": worker}, sample.value)
        return merged.values()
