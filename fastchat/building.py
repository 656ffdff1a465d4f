"""A server's chat, store and hooks, as its settings say."""

import asyncio
import functools
import importlib.metadata
import time
import typing
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from secrets import token_hex

from fastchat._fanout import Fanout
from fastchat.auth.authentication import Authentication
from fastchat.auth.building import build_authentication, build_keyring
from fastchat.auth.passwords import PasswordPool
from fastchat.broker.opening import open_bus, open_events, open_inbox
from fastchat.chat import Census, Chat, Profiles
from fastchat.cloudevents import EventEncoder, NoticeEncoder
from fastchat.cluster.people import NodePeople
from fastchat.cluster.service import Cluster
from fastchat.config import Settings
from fastchat.config.cluster import is_cluster
from fastchat.config.rooms import RoomClass
from fastchat.errors import StartError
from fastchat.hooks import Kind, Rules, Runner
from fastchat.hooks.loading import Installed
from fastchat.inbox import Authors, Executor, Receiver
from fastchat.messages import encode_lagged
from fastchat.notices import Notices
from fastchat.outbox import Sender
from fastchat.population import Population
from fastchat.room import RoomSettings
from fastchat.rooms import Hub
from fastchat.session import Limits, check_content
from fastchat.store import Retention, Store, StoreError, open_store
from fastchat.store.interface import SharedStore
from fastchat.store.sending import SendingStore

VERSION = importlib.metadata.version("fastchat-server")


def wall_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


class RoomClasses:
    """What the operator has said of rooms by the pattern of their names; the first that matches counts."""

    def __init__(self, classes: Sequence[RoomClass]) -> None:
        self._classes = classes

    def of(self, room: str) -> RoomClass | None:
        """The room's class, if it has one."""
        for kind in self._classes:
            if fnmatchcase(room, kind.pattern):
                return kind
        return None

    def messages_per_s(self, room: str) -> float | None:
        """How many messages the room takes, where it has a rate of its own."""
        kind = self.of(room)
        return kind.messages_per_s if kind else None

    def ring_bytes(self, room: str) -> int | None:
        """How large the room's ring is, where it has a limit of its own."""
        kind = self.of(room)
        return kind.ring_bytes if kind else None

    def retention(self, room: str) -> Retention:
        """How much of the room is kept."""
        kind = self.of(room)
        return Retention(kind.keep_events, kind.keep_age_s, kind.keep_bytes) if kind else Retention()

    def in_memory(self, room: str) -> bool:
        """Whether the room is kept nowhere else."""
        kind = self.of(room)
        return kind is not None and kind.store == "memory"

    def slow_reader(self, rooms: Iterable[str], otherwise: str) -> str:
        """What is done with who is stuck in these rooms: ``disconnect`` if one of their classes says so."""
        own: set[str] = {kind.slow_reader for room in rooms if (kind := self.of(room)) and kind.slow_reader}
        return "disconnect" if "disconnect" in (own or {otherwise}) else "lag"


def open_chat_store(settings: Settings, loop: asyncio.AbstractEventLoop, classes: RoomClasses) -> Store:
    """Opens the store that the settings name. Raises StartError."""
    store = settings.store
    among_nodes = is_cluster(store.url, settings.broker.url)
    try:
        return open_store(
            store.url,
            deliver=loop.call_soon_threadsafe,
            durability=store.durability,
            retention=classes.retention,
            in_memory=classes.in_memory,
            audit=Retention(store.audit_keep_entries, store.audit_keep_age_s),
            lease_s=settings.cluster.node_timeout_s if among_nodes else None,
        )
    except StoreError as error:
        raise StartError(f"{error}; choose another with --store URL") from None


def build_chat(
    settings: Settings,
    loop: asyncio.AbstractEventLoop,
    store: Store,
    passwords: PasswordPool,
    classes: RoomClasses,
) -> Chat:
    """What all connections share."""
    keyring = build_keyring(settings.auth, loop.call_soon_threadsafe, loop.call_later)
    authentication = build_authentication(settings, store, passwords, keyring, wall_ms)
    hub = Hub(
        Fanout(loop.call_soon, time.monotonic, encode_lagged, settings.fanout.slice_ms / 1000),
        store,
        _room_settings(settings, classes),
        clock=time.monotonic,
        call_later=loop.call_later,
        population=Population(settings.limits.connections_per_user),
    )
    return Chat(
        hub=hub,
        authenticator=authentication,
        accounts=authentication,
        profiles=Profiles(settings.fanout.watermarks("websocket"), settings.fanout.watermarks("line")),
        limits=_limits(settings),
        census=Census(settings.limits.connections, settings.limits.connections_per_address),
        lobby=settings.rooms.lobby,
        server=f"fastchat/{VERSION}",
        banner_after_s=settings.line.banner_after_ms / 1000,
        clock=time.monotonic,
        wall_ms=wall_ms,
        call_later=loop.call_later,
    )


def _room_settings(settings: Settings, classes: RoomClasses) -> RoomSettings:
    return RoomSettings(
        ring_bytes=settings.fanout.ring_bytes,
        ring_bytes_of=classes.ring_bytes,
        messages_per_s=settings.rooms.messages_per_s,
        messages_per_s_of=classes.messages_per_s,
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


def _limits(settings: Settings) -> Limits:
    return Limits(
        messages_per_s=settings.limits.messages_per_s,
        burst=settings.limits.burst,
        rooms_per_connection=settings.limits.rooms_per_connection,
        messages_per_s_per_user=settings.limits.messages_per_s_per_user,
        rooms_per_user=settings.limits.rooms_per_user,
        text_bytes=settings.limits.text_bytes,
        command_bytes=settings.limits.command_bytes,
        history_page=settings.rooms.history_page,
    )


def build_sender(settings: Settings, chat: Chat, loop: asyncio.AbstractEventLoop) -> Sender | None:
    """Tells other services what happens; None where there is no broker. Raises BrokerError."""
    broker, name = settings.broker, settings.cluster.name
    if not broker.url or not broker.events:
        return None
    outbox = typing.cast("SendingStore", chat.hub.store)
    encoder = EventEncoder(name, broker.events, directs=broker.directs == "on")
    notices = Notices(
        NoticeEncoder(name, token_hex(8), chat.wall_ms), encoder.wants, outbox.notify, loop.call_later
    )
    sink = open_events(broker.url, broker.name, queue=broker.queue, keep_entries=broker.keep_entries)
    chat.hub.notices = notices
    # Among nodes each gets its slots from the store; until then others have them.
    slots = () if is_cluster(settings.store.url, broker.url) else None
    return Sender(outbox, sink, encoder, slots=slots, flush=notices.flush)


def build_hooks(settings: Settings, chat: Chat, functions: Sequence[Installed]) -> Runner:
    """Has the chat ask an operator's own functions."""
    hooks = settings.hooks
    told = Rules(hooks.event_timeout_ms / 1000, refuses=False)
    rules = dict.fromkeys(Kind, told) | {
        Kind.AUTHENTICATE: Rules(
            hooks.authenticate_timeout_ms / 1000, hooks.authenticate_failure == "refuse"
        ),
        Kind.AUTHORIZE: Rules(hooks.authorize_timeout_ms / 1000, hooks.authorize_failure == "refuse"),
        Kind.ON_MESSAGE: Rules(hooks.on_message_timeout_ms / 1000, hooks.on_message_failure == "refuse"),
    }
    runner = Runner(functions, rules, hooks.threads, functools.partial(check_content, chat.limits))
    chat.hub.hooks = runner
    if runner.credentials:
        assert isinstance(chat.authenticator, Authentication)
        chat.authenticator.hook = runner.authenticate
    return runner


def build_inbox(settings: Settings, chat: Chat) -> Receiver | None:
    """Takes commands of other services; None where the settings want none. Raises BrokerError."""
    broker = settings.broker
    if broker.inbox == "off":
        return None
    executor = Executor(chat.hub, chat.profiles.line, chat.limits, Authors(chat.hub), chat.wall_ms)
    return Receiver(open_inbox(broker.url, broker.name), executor)


def build_cluster(settings: Settings, chat: Chat) -> Cluster | None:
    """This server as one node among others; None where it is the only one."""
    if not is_cluster(settings.store.url, settings.broker.url):
        return None
    hub = chat.hub
    store = typing.cast("SharedStore", hub.store)
    cluster = Cluster(
        store,
        open_bus(settings.broker.url, settings.broker.name),
        hub.population,
        name=settings.cluster.name,
        node_timeout_s=settings.cluster.node_timeout_s,
        compare_interval_s=settings.cluster.compare_interval_s,
        clock=time.monotonic,
    )
    cluster.people = NodePeople(hub, cluster, store.forget)
    hub.names = cluster.names
    hub.openings = cluster.openings
    return cluster
