"""The server: wiring, lifecycle, drain. Everything below gets what it needs from here."""

import asyncio
import contextlib
import functools
import gc
import importlib.metadata
import json
import os
import signal
import socket
import time
import typing
from collections.abc import Callable, Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import uvicorn
import uvloop

from fastchat import log
from fastchat._fanout import Fanout
from fastchat.auth.authentication import Authentication
from fastchat.auth.building import build_authentication, build_keyring, build_passwords
from fastchat.chat import Census, Chat, Member, Profiles
from fastchat.config import Address, ConfigError, Settings, changes, is_live
from fastchat.config.service_url import masked
from fastchat.config.settings import RoomClass
from fastchat.connection import LineConnection, WebSocketConnection
from fastchat.control.socket import ControlSocket
from fastchat.errors import StartError, cannot_write
from fastchat.hooks import Kind, Rules, Runner, collect, load_modules
from fastchat.local import LOCAL_USER, LocalRoom, LocalRooms
from fastchat.messages import Close, Code, WireError, dumps, encode_lagged, error_reply
from fastchat.population import Population
from fastchat.protocols.http import HttpProtocol
from fastchat.protocols.line import LineListener, LineProtocol
from fastchat.protocols.websocket import WebSocketListener, WebSocketProtocol
from fastchat.rooms import Hub, RoomSettings
from fastchat.session import Limits, check_content
from fastchat.sockets import BACKLOG, accepting_sockets, bound_address, limit_kernel_buffer, listen
from fastchat.store import Retention, Store, StoreError, open_store, sqlite_path
from fastchat.web.app import HealthReport, create_app

VERSION = importlib.metadata.version("fastchat-server")
LISTENERS = ("http", "line", "control")
ENDED_PER_TURN = 200  # connections that are told good-bye between two turns of the loop
# A message is a dozen objects without a cycle: at Python's 700 the collector would look all the time.
GC_THRESHOLDS = (50_000, 20, 20)
KEEP_ALIVE_S = 5  # how long an HTTP connection may wait for its next request

logger = log.get_logger(__name__)


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class HttpServer(uvicorn.Server):
    """uvicorn's server under our own lifecycle: signals are the whole process's business, not its."""

    async def start(self, listener: socket.socket) -> None:
        """Begins to accept."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets=accepting_sockets(listener))
        self._ticking = asyncio.create_task(self.main_loop())

    def stop_accepting(self) -> None:
        """Closes the listening socket; connections live on."""
        for server in self.servers:
            server.close()

    async def stop(self) -> None:
        """Ends what is still open."""
        self.should_exit = True
        await self._ticking
        await self.shutdown()


class Server:
    """One fastchat server in one event loop.

    ``reload`` reads the settings again and raises ConfigError where they are wrong. ``hooks`` are modules or
    objects with functions that are named as in docs/hooks.md, asked after those of ``hooks.modules``.
    """

    def __init__(
        self,
        settings: Settings,
        reload: Callable[[], Settings] | None = None,
        *,
        hooks: Sequence[object] = (),
    ) -> None:
        self.settings = settings
        self.hooks: Runner | None = None
        self._hooks = collect([*load_modules(settings.hooks.modules), *hooks])
        self._rooms: LocalRooms | None = None
        self._reload = reload
        self._started_at = time.monotonic()
        self._draining = False
        self._line_servers: list[asyncio.Server] = []
        self._control = ControlSocket()
        self._listeners: dict[str, socket.socket] = {}

    async def __aenter__(self) -> typing.Self:
        await self.start()
        return self

    async def __aexit__(self, *failure: object) -> None:
        await self.stop()

    async def start(self, listeners: Collection[str] = LISTENERS) -> dict[str, str]:
        """Begins to listen; returns the addresses really bound by listener: "http" and "line".

        Of ``listeners`` those that the settings name; the operator's commands have a server of their own that
        listens to nobody else. Raises StartError when an address cannot be had.
        """
        self._listen(listeners)
        try:
            return await self._start(listeners)
        except BaseException:
            for listener in self._listeners.values():
                listener.close()
            raise

    async def _start(self, listeners: Collection[str]) -> dict[str, str]:
        loop = asyncio.get_running_loop()
        self.chat = self._build_chat(loop)
        self._build_hooks()
        self._rooms = LocalRooms(
            self.chat.hub,
            self.chat.profiles.line,
            self.chat.wall_ms,
            functools.partial(check_content, self.chat.limits),
        )
        self._websockets = self._build_websockets()
        self._lines = self._build_lines()
        self._http = self._build_http()
        if "http" in self._listeners:
            await self._http.start(self._listeners["http"])
        if "line" in self._listeners:
            make_protocol = functools.partial(LineProtocol, self._lines)
            self._line_servers = [
                await loop.create_server(make_protocol, sock=sock, backlog=BACKLOG)
                for sock in accepting_sockets(self._listeners["line"])
            ]
        if "control" in listeners:
            await self._control.start(self.settings, self.chat)
        self._housekeeping = asyncio.create_task(self._keep_house())
        self.addresses = {name: bound_address(listener) for name, listener in self._listeners.items()}
        if self.hooks is not None:
            self.hooks.start(self)
        return self.addresses

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
        try:
            low = settings.fanout.watermarks("websocket")[1]
            if "http" in listeners:
                self._listeners["http"] = listen(
                    settings.http.listen, "http.listen", "--http", low, send_buffer
                )
            if "line" in listeners and isinstance(settings.line.listen, Address):
                low = settings.fanout.watermarks("line")[1]
                self._listeners["line"] = listen(
                    settings.line.listen, "line.listen", "--line", low, send_buffer
                )
        except BaseException:
            for listener in self._listeners.values():
                listener.close()
            raise

    def _build_chat(self, loop: asyncio.AbstractEventLoop) -> Chat:
        settings = self.settings
        fanout = Fanout(loop.call_soon, time.monotonic, encode_lagged, settings.fanout.slice_ms / 1000)
        rooms = RoomSettings(
            ring_bytes=settings.fanout.ring_bytes,
            ring_bytes_of=self._ring_bytes,
            messages_per_s=settings.rooms.messages_per_s,
            messages_per_s_of=self._messages_per_s,
            guest_rooms=settings.limits.rooms_per_connection,
            replay_bytes=settings.fanout.replay_bytes,
            empty_kept=settings.rooms.empty_kept,
            presence_interval_s=settings.rooms.presence_interval_ms / 1000,
            presence_names=settings.rooms.presence_names,
            presence_per_s=settings.rooms.presence_per_s,
            lobby=settings.rooms.lobby,
            create=settings.rooms.create,
            rules_max=settings.rooms.rules_max,
        )
        limits = Limits(
            messages_per_s=settings.limits.messages_per_s,
            burst=settings.limits.burst,
            rooms_per_connection=settings.limits.rooms_per_connection,
            messages_per_s_per_user=settings.limits.messages_per_s_per_user,
            rooms_per_user=settings.limits.rooms_per_user,
            text_bytes=settings.limits.text_bytes,
            command_bytes=settings.limits.command_bytes,
            history_page=settings.rooms.history_page,
        )
        keyring = build_keyring(settings.auth, loop.call_soon_threadsafe, loop.call_later)
        self._store = self._open_store(loop)
        self._passwords = build_passwords(settings.auth, loop.call_soon_threadsafe)
        authentication = build_authentication(settings, self._store, self._passwords, keyring, wall_ms)
        return Chat(
            hub=Hub(
                fanout,
                self._store,
                rooms,
                clock=time.monotonic,
                call_later=loop.call_later,
                population=Population(settings.limits.connections_per_user),
            ),
            authenticator=authentication,
            accounts=authentication,
            profiles=Profiles(settings.fanout.watermarks("websocket"), settings.fanout.watermarks("line")),
            limits=limits,
            census=Census(settings.limits.connections, settings.limits.connections_per_address),
            lobby=settings.rooms.lobby,
            server=f"fastchat/{VERSION}",
            banner_after_s=settings.line.banner_after_ms / 1000,
            clock=time.monotonic,
            wall_ms=wall_ms,
            call_later=loop.call_later,
        )

    def _build_hooks(self) -> None:
        if not self._hooks:
            return
        settings = self.settings.hooks
        told = Rules(settings.event_timeout_ms / 1000, refuses=False)
        rules = dict.fromkeys(Kind, told) | {
            Kind.AUTHENTICATE: Rules(
                settings.authenticate_timeout_ms / 1000, settings.authenticate_failure == "refuse"
            ),
            Kind.AUTHORIZE: Rules(
                settings.authorize_timeout_ms / 1000, settings.authorize_failure == "refuse"
            ),
            Kind.ON_MESSAGE: Rules(
                settings.on_message_timeout_ms / 1000, settings.on_message_failure == "refuse"
            ),
        }
        check = functools.partial(check_content, self.chat.limits)
        self.hooks = self.chat.hub.hooks = Runner(self._hooks, rules, settings.threads, check)
        if self.hooks.credentials:
            authenticator = self.chat.authenticator
            assert isinstance(authenticator, Authentication)
            authenticator.hook = self.hooks.authenticate

    def _open_store(self, loop: asyncio.AbstractEventLoop) -> Store:
        def retention(room: str) -> Retention:
            kind = self.room_class(room)
            return Retention(kind.keep_events, kind.keep_age_s, kind.keep_bytes) if kind else Retention()

        def in_memory(room: str) -> bool:
            kind = self.room_class(room)
            return kind is not None and kind.store == "memory"

        store = self.settings.store
        try:
            return open_store(
                store.url,
                deliver=loop.call_soon_threadsafe,
                durability=store.durability,
                retention=retention,
                in_memory=in_memory,
                audit=Retention(store.audit_keep_entries, store.audit_keep_age_s),
            )
        except StoreError as error:
            raise StartError(f"{error}; choose another with --store URL") from None

    def room_class(self, room: str) -> RoomClass | None:
        """The first class whose pattern matches the room's name."""
        for kind in self.settings.rooms.classes:
            if fnmatchcase(room, kind.pattern):
                return kind
        return None

    def disconnects_slow_readers(self, rooms: Iterable[str]) -> bool:
        """Whether who is in these rooms and stays stuck has to go.

        If one of their classes says so; or if the setting does and none of their classes says otherwise.
        """
        own = {kind.slow_reader for room in rooms if (kind := self.room_class(room)) and kind.slow_reader}
        return "disconnect" in (own or {self.settings.fanout.slow_reader})

    def _messages_per_s(self, room: str) -> float | None:
        kind = self.room_class(room)
        return kind.messages_per_s if kind else None

    def _ring_bytes(self, room: str) -> int | None:
        kind = self.room_class(room)
        return kind.ring_bytes if kind else None

    def _build_websockets(self) -> WebSocketListener:
        settings = self.settings
        return WebSocketListener(
            functools.partial(WebSocketConnection, self.chat),
            max_message_bytes=settings.limits.command_bytes,
            allowed_origins=settings.http.allowed_origins,
            trusted_proxies=settings.http.trusted_proxies,
            admit=self.chat.census.refusal,
            ping_interval_s=settings.websocket.ping_interval_s,
            ping_timeout_s=settings.websocket.ping_timeout_s,
            close_timeout_s=settings.websocket.close_timeout_s,
            handshake_timeout_s=settings.limits.handshake_timeout_s,
        )

    def _build_lines(self) -> LineListener:
        def admit(address: str) -> str | None:
            reason = self.chat.census.refusal(address)
            if reason is None:
                return None
            return dumps(error_reply(WireError(Code.TOO_MANY_CONNECTIONS, reason), None)).decode()

        return LineListener(
            functools.partial(LineConnection, self.chat),
            max_line_bytes=self.settings.limits.command_bytes,
            admit=admit,
            close_timeout_s=self.settings.websocket.close_timeout_s,
        )

    def _build_http(self) -> HttpServer:
        make_websocket = functools.partial(WebSocketProtocol, self._websockets)

        def make_protocol(**_: object) -> WebSocketProtocol:
            return make_websocket()

        config = uvicorn.Config(
            create_app(self.health, self.problem),
            http=typing.cast("type[asyncio.Protocol]", make_protocol),
            ws=typing.cast("type[asyncio.Protocol]", make_websocket),
            lifespan="off",
            log_config=None,
            server_header=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
        )
        server = HttpServer(config)
        self._websockets.otherwise = functools.partial(
            HttpProtocol,
            config,
            server.server_state,
            {},
            handshake_timeout_s=self.settings.limits.handshake_timeout_s,
        )
        return server

    # Health

    def problem(self) -> str | None:
        """Why this server should get no clients now; None when all is well."""
        if self._draining:
            return "the server is draining"
        return self._store.problem

    def health(self) -> HealthReport:
        """The server's own account of itself."""
        return HealthReport(
            status="draining" if self._draining else "ok",
            version=VERSION,
            connections=len(self.chat.census.members),
            rooms=len(self.chat.hub.rooms),
            uptime_s=round(time.monotonic() - self._started_at, 3),
        )

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

    async def close_store(self) -> None:
        """Has everything stored that was answered, and lets go of the file."""
        self.chat.hub.store_marks()
        self.chat.hub.store_seen(self.chat.wall_ms())
        await asyncio.to_thread(self._store.close)

    async def stop(self) -> None:
        """Stops accepting, says good-bye, waits at most ``drain_s`` for what is writable, and closes."""
        self._draining = True
        self._housekeeping.cancel()
        if "http" in self._listeners:
            self._http.stop_accepting()
        self._control.stop_accepting()
        for line_server in self._line_servers:
            line_server.close()
        members = self.chat.census.members
        logger.info("draining", connections=len(members))
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
        self._websockets.stop()
        if "http" in self._listeners:
            await self._http.stop()
        self._lines.stop()
        self._control.stop()
        if self.hooks is not None:
            await self.hooks.close()
        self._passwords.close()
        await self.close_store()
        logger.info("stopped")


def run(
    settings: Settings,
    reload: Callable[[], Settings] | None = None,
    ready_fd: int | None = None,
    ready_file: Path | None = None,
) -> int:
    """Serves until SIGTERM or SIGINT; returns the exit code. Raises StartError."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(Server(settings, reload), ready_fd, ready_file))


async def _serve(server: Server, ready_fd: int | None, ready_file: Path | None) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    reloads: set[asyncio.Task[None]] = set()  # the loop alone would not keep them alive

    def reload() -> None:
        task = asyncio.create_task(server.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    addresses = await server.start()
    # What lives now lives until the end: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        _announce(addresses, _places(server.settings), ready_fd, ready_file)
    except StartError:
        await server.close_store()
        raise
    await stopping.wait()
    await server.stop()
    return 0


def _places(settings: Settings) -> dict[str, object]:
    """Where the server keeps what it has, and whom it tells, without passwords."""
    url = settings.store.url
    places: dict[str, object] = {
        "store": "memory" if url == "memory:" else sqlite_path(url) or masked(url),
    }
    if settings.broker.url:
        places["broker"] = masked(settings.broker.url)
    return places


def _announce(
    addresses: dict[str, str], places: dict[str, object], ready_fd: int | None, ready_file: Path | None
) -> None:
    """Prints the addresses, and writes them as JSON where a script waits for them."""
    print(f"fastchat {VERSION} is ready")
    print(f"  page       http://{addresses['http']}/")
    print(f"  WebSocket  ws://{addresses['http']}/ws")
    if "line" in addresses:
        print(f"  lines      {addresses['line']}   (nc {addresses['line'].replace(':', ' ')})")
    for name, place in places.items():
        print(f"  {name:<9}  {place}", flush=True)
    ready = json.dumps({**addresses, "pid": os.getpid()}) + "\n"
    if ready_fd is not None:
        try:
            os.write(ready_fd, ready.encode())
        except OSError as error:
            raise cannot_write(ready_fd, "--ready-fd", error) from None
        os.close(ready_fd)
    if ready_file is not None:
        # In one step, so that nobody who waits for the file reads half of it.
        partial = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
        try:
            partial.write_text(ready)
            partial.replace(ready_file)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise cannot_write(ready_file, "--ready-file", error) from None
