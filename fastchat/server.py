"""The server: wiring, lifecycle, drain. Everything below gets what it needs from here."""

import asyncio
import contextlib
import functools
import socket
import time
import typing
from collections.abc import Callable, Collection, Iterable, Sequence

from fastapi import FastAPI

from fastchat import log
from fastchat.auth.building import build_passwords
from fastchat.broker.interface import BrokerError
from fastchat.building import (
    VERSION,
    RoomClasses,
    build_chat,
    build_cluster,
    build_hooks,
    build_inbox,
    build_sender,
    open_chat_store,
)
from fastchat.chat import Member
from fastchat.cluster.service import Cluster
from fastchat.config import Address, ConfigError, Settings, changes, is_live
from fastchat.control.socket import ControlSocket
from fastchat.errors import StartError
from fastchat.health import Health, Parts
from fastchat.hooks import Runner, collect, load_modules
from fastchat.listeners import build_http, build_lines, build_websockets
from fastchat.local import LocalRoom, LocalRooms
from fastchat.messages import Close
from fastchat.metrics import Metrics
from fastchat.outbox import Sender
from fastchat.people import LOCAL_USER
from fastchat.protocols.line import LineProtocol
from fastchat.session import check_content
from fastchat.sockets import BACKLOG, accepting_sockets, bound_address, limit_kernel_buffer, listen
from fastchat.web.app import create_app
from fastchat.worker_metrics import Place, WorkerMetrics

LISTENERS = ("http", "line", "control")
ENDED_PER_TURN = 200  # connections that are told good-bye between two turns of the loop

logger = log.get_logger(__name__)


class Server:
    """One fastchat server in one event loop.

    ``reload`` reads the settings again and raises ConfigError where they are wrong. ``hooks`` are modules or
    objects with functions that are named as in docs/hooks.md, asked after those of ``hooks.modules``. A
    ``worker`` is one of several processes that listen on the same ports.
    """

    def __init__(
        self,
        settings: Settings,
        reload: Callable[[], Settings] | None = None,
        *,
        hooks: Sequence[object] = (),
        worker: Place | None = None,
    ) -> None:
        self.settings = settings
        self.hooks: Runner | None = None
        self.cluster: Cluster | None = None
        self.sender: Sender | None = None
        self._hooks = collect([*load_modules(settings.hooks.modules), *hooks])
        self._classes = RoomClasses(settings.rooms.classes)
        self._rooms: LocalRooms | None = None
        self._reload = reload
        self._worker = worker
        self._worker_metrics: WorkerMetrics | None = None
        self._line_servers: list[asyncio.Server] = []
        self._control = ControlSocket()
        self._listeners: dict[str, socket.socket] = {}

    async def __aenter__(self) -> typing.Self:
        await self.start()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.stop()

    async def start(
        self,
        listeners: Collection[str] = LISTENERS,
        on_ready: Callable[[dict[str, str]], None] = lambda addresses: None,
    ) -> dict[str, str]:
        """Begins to listen; returns the addresses really bound by listener: "http" and "line".

        Of ``listeners`` those that the settings name; the operator's commands have a server of their own that
        listens to nobody else. ``on_ready`` is told the addresses, too. What it raises, any other error or a
        cancellation ends all that has begun. Raises StartError, when an address cannot be had, say.
        """
        try:
            async with contextlib.AsyncExitStack() as endings:
                await self._start(listeners, endings)
                on_ready(self.addresses)
                self._endings = endings.pop_all()
        except BrokerError as error:
            raise StartError(f"{error}; choose another with --broker URL") from None
        return self.addresses

    async def _start(self, listeners: Collection[str], endings: contextlib.AsyncExitStack) -> None:
        """Each part that has begun is in ``endings``, which end it after all that came later."""
        loop, settings = asyncio.get_running_loop(), self.settings
        endings.callback(self._close_listeners)
        self._listen(listeners)
        self._store = open_chat_store(settings, loop, self._classes)
        endings.push_async_callback(asyncio.to_thread, self._store.close)
        self._passwords = build_passwords(settings.auth, loop.call_soon_threadsafe)
        endings.callback(self._passwords.close)
        self.chat = build_chat(settings, loop, self._store, self._passwords, self._classes)
        endings.callback(self._store_people)
        await self._join_cluster(endings)
        if "http" in listeners:
            await self._start_sender(loop, endings)
        if self._hooks:
            self.hooks = build_hooks(settings, self.chat, self._hooks)
            endings.push_async_callback(self.hooks.close)
        application = self._build_application()
        endings.push_async_callback(self._health.prober.close)
        if self._worker_metrics is not None:
            endings.push_async_callback(self._worker_metrics.close)
            await self._worker_metrics.start()
        self._build_edges(application)
        endings.push_async_callback(self._end_edges)
        await self._start_edges(listeners)
        self._housekeeping = asyncio.create_task(self._keep_house())
        endings.callback(self._housekeeping.cancel)
        if self.hooks is not None:
            self.hooks.start(self)
        if "http" in listeners:
            await self._start_inbox(endings)

    async def _join_cluster(self, endings: contextlib.AsyncExitStack) -> None:
        self.cluster = build_cluster(self.settings, self.chat)
        if self.cluster is not None:
            endings.push_async_callback(self.cluster.close)
            await self.cluster.start()

    async def _start_sender(
        self, loop: asyncio.AbstractEventLoop, endings: contextlib.AsyncExitStack
    ) -> None:
        self.sender = build_sender(self.settings, self.chat, loop)
        if self.sender is not None:
            if self.cluster is not None:
                self.cluster.on_slots = self.sender.take_slots
            # Before the cluster's end: until then what waits is this node's to send.
            endings.push_async_callback(self.sender.close)
            await self.sender.start()

    async def _start_inbox(self, endings: contextlib.AsyncExitStack) -> None:
        inbox = self._health.parts.inbox = build_inbox(self.settings, self.chat)
        if inbox is not None:
            endings.push_async_callback(inbox.close)
            await inbox.start()

    def _build_application(self) -> FastAPI:
        self._health = Health(VERSION, Parts(self.chat, self._store, self.cluster, self.sender))
        metrics = Metrics(self._health).encode
        if self._worker is not None:
            self._worker_metrics = WorkerMetrics(metrics, self._worker)
            metrics = self._worker_metrics.encode
        return create_app(self._health.report, self._health.readiness, metrics)

    def _build_edges(self, application: FastAPI) -> None:
        self._rooms = LocalRooms(
            self.chat.hub,
            self.chat.profiles.line,
            self.chat.wall_ms,
            functools.partial(check_content, self.chat.limits),
        )
        self._websockets = build_websockets(self.settings, self.chat)
        self._lines = build_lines(self.settings, self.chat)
        self._http = build_http(self.settings, self._websockets, application)

    async def _start_edges(self, listeners: Collection[str]) -> None:
        if "http" in self._listeners:
            await self._http.start(self._listeners["http"])
        if "line" in self._listeners:
            loop, make_protocol = asyncio.get_running_loop(), functools.partial(LineProtocol, self._lines)
            for sock in accepting_sockets(self._listeners["line"]):
                server = await loop.create_server(make_protocol, sock=sock, backlog=BACKLOG)
                self._line_servers.append(server)
        if "control" in listeners:
            await self._control.start(self.settings, self.chat)
        self.addresses = {name: bound_address(listener) for name, listener in self._listeners.items()}

    def room(self, name: str, user: str = LOCAL_USER, after: int | None = None) -> LocalRoom:
        """A room, for a program that runs beside the server in its loop: see ``LocalRoom``.

        What it says is from ``user``. One of its own is a member of the room, and nobody else may be called
        so meanwhile; without one it is not seen there. ``after`` is a ``seq`` whose later events come first.
        MUST be called while the server runs. Raises ValueError where this is no room's name.
        """
        if self._rooms is None:
            raise RuntimeError("the server has not started; await server.start(), or use async with")
        return self._rooms.room(name, user, after)

    def _listen(self, listeners: Collection[str]) -> None:
        settings, send_buffer = self.settings, self.settings.fanout.send_buffer_bytes
        shared = self._worker is not None
        low = settings.fanout.watermarks("websocket")[1]
        if "http" in listeners:
            self._listeners["http"] = listen(
                settings.http.listen, "http.listen", "--http", low, send_buffer, shared=shared
            )
        if "line" in listeners and isinstance(settings.line.listen, Address):
            low = settings.fanout.watermarks("line")[1]
            self._listeners["line"] = listen(
                settings.line.listen, "line.listen", "--line", low, send_buffer, shared=shared
            )

    def _close_listeners(self) -> None:
        for listener in self._listeners.values():
            listener.close()

    def disconnects_slow_readers(self, rooms: Iterable[str]) -> bool:
        """Whether who is in these rooms and stays stuck has to go.

        If one of their classes says so; or if the setting does and none of their classes says otherwise.
        """
        return self._classes.slow_reader(rooms, self.settings.fanout.slow_reader) == "disconnect"

    async def _keep_house(self) -> None:
        """Once a second: sends away who stays stuck, who never says hello, and whose token has expired."""
        store_problem: str | None = None
        while True:
            await asyncio.sleep(1)
            if self._store.problem != store_problem:
                store_problem = self._store.problem
                if store_problem is not None:
                    logger.error("the store is unavailable", reason=store_problem)
                else:
                    logger.info("the store is available again")
            self.chat.hub.population.check_expiry(self.chat.wall_ms())
            self.chat.hub.store_seen(self.chat.wall_ms())
            fanout, limits = self.settings.fanout, self.settings.limits
            timeout_s = fanout.slow_reader_timeout_s
            reason = f"nothing could be sent for {timeout_s:g} s; come back and go on from the cursors"
            for writer in self.chat.hub.fanout.overdue(timeout_s):
                member: Member = writer.owner
                if self.disconnects_slow_readers(member.rooms):
                    member.end(Close.SLOW_READER, reason)
            silent = self.chat.census.silent(time.monotonic() - limits.hello_timeout_s)
            if limits.hello_timeout_s:
                reason = f"no hello within {limits.hello_timeout_s:g} s"
                for member in silent:
                    member.end(Close.HELLO_TIMEOUT, reason)

    # Reload

    async def reload(self) -> None:
        """Reads the settings again and applies [fanout]; settings that are wrong change nothing."""
        assert self._reload is not None
        try:
            settings = await asyncio.to_thread(self._reload)
        except ConfigError as error:
            for problem in error.problems:
                logger.error("settings not reloaded", problem=problem)
            return
        changed = changes(self.settings, settings)
        live = [name for name in changed if is_live(name)]
        self.settings = self.settings.model_copy(update={"fanout": settings.fanout})
        self._apply_fanout()
        logger.info("settings reloaded", changed=live, need_a_restart=[n for n in changed if n not in live])

    def _apply_fanout(self) -> None:
        fanout, hub = self.settings.fanout, self.chat.hub
        watermarks = {"http": fanout.watermarks("websocket"), "line": fanout.watermarks("line")}
        self.chat.profiles.set_watermarks(watermarks["http"], watermarks["line"])
        hub.fanout.slice_s = fanout.slice_ms / 1000
        hub.set_ring_bytes(fanout.ring_bytes)
        for name, listener in self._listeners.items():
            limit_kernel_buffer(listener, watermarks[name][1], fanout.send_buffer_bytes)
        hub.blocks.limit_bytes = fanout.replay_bytes
        for writer in [member.writer for member in self.chat.census.members if not member.writer.closed]:
            with contextlib.suppress(OSError):  # a connection that is being reset
                sock = writer.transport.get_extra_info("socket")
                limit_kernel_buffer(sock, writer.profile.low_water_bytes, fanout.send_buffer_bytes)

    # The end

    async def stop(self) -> None:
        """Ends in turn all that the start began: who is connected is told, and given ``drain_s``."""
        self._health.draining = True
        logger.info("draining", connections=len(self.chat.census.members))
        await self._endings.aclose()
        logger.info("stopped")

    async def _end_edges(self) -> None:
        """Stops accepting, says good-bye, waits at most ``drain_s`` for what is writable, and closes."""
        self._http.stop_accepting()
        self._control.stop_accepting()
        for line_server in self._line_servers:
            line_server.close()
        await self._drain()
        self._websockets.stop()
        await self._http.stop()
        self._lines.stop()
        self._control.stop()

    async def _drain(self) -> None:
        members = self.chat.census.members
        spread_ms = self.settings.server.reconnect_spread_ms
        for i, member in enumerate(everyone := [*members]):
            # Evenly spread, so that they don't all come back in the same moment.
            member.end(Close.RESTART, "the server restarts", spread_ms * i // len(everyone))
            if i % ENDED_PER_TURN == 0:
                await asyncio.sleep(0)
        if self._rooms is not None:
            self._rooms.close()
        if members:
            everyone_gone = asyncio.Event()
            self.chat.census.on_empty = everyone_gone.set
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(everyone_gone.wait(), self.settings.server.drain_s)
        for member in [*members]:
            member.abort()

    def _store_people(self) -> None:
        """Has everything stored that people were told; the store keeps it as it closes."""
        self.chat.hub.store_marks()
        self.chat.hub.store_seen(self.chat.wall_ms())
