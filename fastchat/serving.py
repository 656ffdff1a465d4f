"""A process that serves until it is told to end: its loop, signals, and the collector."""

import asyncio
import gc
import signal
from collections.abc import Callable, Collection
from pathlib import Path

import uvloop

from fastchat import log
from fastchat.building import VERSION
from fastchat.config import Settings
from fastchat.ready import announce
from fastchat.server import LISTENERS, Server
from fastchat.worker_metrics import Place

# A message is a dozen objects without a cycle: at Python's 700 the collector would look all the time.
GC_THRESHOLDS = (50_000, 20, 20)

logger = log.get_logger(__name__)


def run(
    settings: Settings,
    reload: Callable[[], Settings] | None = None,
    ready_fd: int | None = None,
    ready_file: Path | None = None,
) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code. Raises StartError."""

    def on_ready(addresses: dict[str, str]) -> None:
        announce(VERSION, settings, addresses, ready_fd, ready_file)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(Server(settings, reload), LISTENERS, on_ready, None))


def run_worker(
    settings: Settings,
    reload: Callable[[], Settings] | None,
    place: Place,
    on_ready: Callable[[dict[str, str]], None],
    lifeline_fd: int,
) -> int:
    """As ``run``, of one of several processes on the same ports; only the first is the operator's to ask.

    Ends also when the other end of ``lifeline_fd``, a pipe, is closed.
    """
    server = Server(settings, reload, worker=place)
    listeners = LISTENERS if place.number == 0 else ("http", "line")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(server, listeners, on_ready, lifeline_fd))


async def _serve(
    server: Server,
    listeners: Collection[str],
    on_ready: Callable[[dict[str, str]], None],
    lifeline_fd: int | None,
) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    starting = asyncio.create_task(server.start(listeners, on_ready))

    def stop() -> None:
        stopping.set()
        starting.cancel()  # a start may have to wait for other services, for as long as it takes

    if lifeline_fd is not None:

        def on_parent_end() -> None:
            logger.error("the parent of this worker has ended, and so does the worker")
            loop.remove_reader(lifeline_fd)
            stop()

        loop.add_reader(lifeline_fd, on_parent_end)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    reloads: set[asyncio.Task[None]] = set()  # the loop alone would not keep them alive

    async def reload_when_started() -> None:
        await asyncio.wait([starting])
        await server.reload()

    def reload() -> None:
        task = asyncio.create_task(reload_when_started())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        await starting
    except asyncio.CancelledError:
        logger.info("stopped before all was started")
        return 0
    # What lives now lives until the end: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    await stopping.wait()
    await server.stop()
    return 0
