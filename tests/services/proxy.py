"""A TCP proxy between a client and its server, which cuts, holds and slows the way between them."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

T = TypeVar("T")

CHUNK_BYTES = 64 * 1024
CHUNKS = 256
ANSWER_TIMEOUT_S = 10.0


class Proxy:
    """Listens on a port of its own for as long as its block lasts, in a thread of its own."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        """``port`` and ``host`` are the server's, which need not run yet."""
        self._target = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._links: set[_Link] = set()
        self._is_cut = False
        self._passes = asyncio.Event()
        self._delay_s = 0.0
        self.port = 0

    def url(self, url: str) -> str:
        """The same address, by way of the proxy."""
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(
            parts._replace(netloc=f"{user}@127.0.0.1:{self.port}" if user else f"127.0.0.1:{self.port}")
        )

    # What a test does to the way

    def cut(self) -> None:
        """Resets all connections, and every new one, until `restore`."""
        self._do(self._cut())

    def hold(self) -> None:
        """Lets nothing pass in either direction until `restore`; connections stay, new ones too."""
        self._do(self._hold())

    def delay(self, milliseconds: float) -> None:
        """Has everything that comes from now on arrive so much later, in each direction."""
        self._do(self._delay(milliseconds / 1000))

    def restore(self) -> None:
        """Lets everything pass again, as quickly as it comes."""
        self._do(self._restore())

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._links)

    # How

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Awaitable[T]) -> T:
        async def run() -> T:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(ANSWER_TIMEOUT_S)

    async def _open(self) -> None:
        self._passes.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        await self._cut()
        own = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not own]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted lets go of its socket within a turn

    async def _cut(self) -> None:
        self._is_cut = True
        for link in list(self._links):
            link.abort()

    async def _hold(self) -> None:
        self._passes.clear()

    async def _delay(self, delay_s: float) -> None:
        self._delay_s = delay_s

    async def _restore(self) -> None:
        self._is_cut, self._delay_s = False, 0.0
        self._passes.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # asyncio would report a cancelled one as an error.
        with contextlib.suppress(asyncio.CancelledError):
            await self._serve_one(reader, writer)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        await self._passes.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, far_writer)
        self._links.add(link)
        try:
            if not self._is_cut:
                await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        finally:
            self._links.discard(link)
            link.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Brings one direction's bytes over until it ends; then says so to the other side."""
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS)
        taking = asyncio.create_task(self._take(reader, chunks))
        try:
            while True:
                due_s, chunk = await chunks.get()
                await asyncio.sleep(max(0.0, due_s - self._loop.time()))
                await self._passes.wait()
                if not chunk:
                    break
                writer.write(chunk)
                await writer.drain()
            with contextlib.suppress(OSError):
                writer.write_eof()
        except OSError:
            writer.transport.abort()
        finally:
            taking.cancel()

    async def _take(self, reader: asyncio.StreamReader, chunks: "asyncio.Queue[tuple[float, bytes]]") -> None:
        chunk = b"?"
        while chunk:
            try:
                chunk = await reader.read(CHUNK_BYTES)
            except OSError:
                chunk = b""
            await chunks.put((self._loop.time() + self._delay_s, chunk))


class _Link:
    """Both ends of one connection."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self._ends = (near, far)

    def abort(self) -> None:
        for end in self._ends:
            end.transport.abort()
