"""The sections and their settings. Pure: `Settings()` is the defaults and reads nothing.

A description says why one would change the setting; a name ends in its unit.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from fastchat.config.address import Address
from fastchat.config.auth import Auth
from fastchat.config.broker import Broker
from fastchat.config.cluster import Cluster, problem_of_nodes
from fastchat.config.section import DAY_S, GIB, Inheriting, Section, conflict
from fastchat.config.values import (
    ADDRESS_WITH_PASSWORD,
    Allowed,
    ListenAddress,
    Modules,
    Networks,
    OptionalListenAddress,
    Origins,
    RoomName,
    RoomPattern,
    SocketPath,
    StoreUrl,
    Tables,
)


class Http(Section):
    """The port for browsers: page, API, /healthz and WebSocket at /ws."""

    listen: ListenAddress = Field(
        default=Address("127.0.0.1", 8080),
        description="Use 0.0.0.0:8080 to serve other machines too; port 0 takes any free port.",
    )
    allowed_origins: Origins = Field(
        default=(),
        description="List your sites so that other sites' pages can't use your chat; empty allows all.",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="List your reverse proxies, whose X-Forwarded-For then counts as the client's address.",
    )


class Line(Section):
    """The TCP port for programs (JSON lines) and people (`nc`)."""

    listen: OptionalListenAddress = Field(
        default=Address("127.0.0.1", 8081),
        description="Turn it off where only browsers connect; port 0 takes any free port.",
    )
    banner_after_ms: int = Field(
        default=1000,
        ge=0,
        le=60_000,
        description="Lower it to greet silent people sooner; 0 never greets, so programs see only replies.",
    )


class WebSocket(Section):
    """Keep-alive of WebSocket connections."""

    ping_interval_s: float = Field(
        default=20,
        gt=0,
        le=DAY_S,
        description="Lower it where proxies or phones' networks cut idle connections sooner.",
    )
    ping_timeout_s: float = Field(
        default=20,
        gt=0,
        le=DAY_S,
        description="Raise it for clients whose networks stall; lower it to notice vanished ones sooner.",
    )
    close_timeout_s: float = Field(
        default=5,
        gt=0,
        le=3600,
        description="Raise it where distant clients need longer to answer a close frame.",
    )


class Watermarks(Inheriting):
    """Watermarks of one listener where they differ from [fanout]."""

    high_water_bytes: int | None = Field(
        default=None,
        ge=1024,
        le=GIB,
        description="Set it where this listener's clients need another bound than fanout.high_water_bytes.",
    )
    low_water_bytes: int | None = Field(
        default=None,
        ge=0,
        le=GIB,
        description="Set it where this listener's clients need another bound than fanout.low_water_bytes.",
    )


class Fanout(Section):
    """How messages reach subscribers. SIGHUP re-reads this section."""

    high_water_bytes: int = Field(
        default=65536,
        ge=1024,
        le=GIB,
        description="Memory one slow client may hold; lower it for many clients, raise it for distant ones.",
    )
    low_water_bytes: int = Field(
        default=32768,
        ge=0,
        le=GIB,
        description="A slow client is served again below this; near high_water_bytes is smoother, busier.",
    )
    ring_bytes: int = Field(
        default=1_048_576,
        ge=1024,
        le=GIB,
        description="Each room's newest part in memory, all of a memory room; raise it for slow readers.",
    )
    slice_ms: float = Field(
        default=5,
        ge=0.1,
        le=1000,
        description="Longest turn of a sweep; lower it for quicker replies while huge rooms are busy.",
    )
    replay_bytes: int = Field(
        default=16_777_216,
        ge=65536,
        le=GIB,
        description="Memory for older events from the store; raise it where many clients catch up at once.",
    )
    slow_reader: Literal["lag", "disconnect"] = Field(
        default="lag",
        description="lag lets stuck readers stay, however far behind; disconnect makes them come back.",
    )
    slow_reader_timeout_s: float = Field(
        default=30,
        gt=0,
        le=DAY_S,
        description="How long a reader may stay stuck before disconnect applies; raise it for phones.",
    )
    send_buffer_bytes: int = Field(
        default=0,
        ge=0,
        le=GIB,
        description="Bounds the kernel's memory per connection (SO_SNDBUF); 0 leaves it to the kernel.",
    )
    websocket: Watermarks = Field(default=Watermarks(), description="Watermarks of WebSocket connections.")
    line: Watermarks = Field(default=Watermarks(), description="Watermarks of the line port's connections.")

    def watermarks(self, listener: Literal["websocket", "line"]) -> tuple[int, int]:
        """The listener's (high, low) in bytes, its own or inherited."""
        return self._inherited(self.websocket if listener == "websocket" else self.line)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        _check_watermarks("fanout", "fanout", self.high_water_bytes, self.low_water_bytes, self.ring_bytes)
        for listener, own in (("fanout.websocket", self.websocket), ("fanout.line", self.line)):
            high_in = "fanout" if own.high_water_bytes is None else listener
            low_in = "fanout" if own.low_water_bytes is None else listener
            high, low = self._inherited(own)
            _check_watermarks(high_in, low_in, high, low, self.ring_bytes)
        return self

    def _inherited(self, own: Watermarks) -> tuple[int, int]:
        high = self.high_water_bytes if own.high_water_bytes is None else own.high_water_bytes
        low = self.low_water_bytes if own.low_water_bytes is None else own.low_water_bytes
        return high, low


def _check_watermarks(high_in: str, low_in: str, high: int, low: int, ring: int) -> None:
    """Compares a pair and the ring; the pair's values stand in the sections `high_in` and `low_in`."""
    if low >= high:
        raise conflict(f"{low_in}.low_water_bytes", "less than", f"{high_in}.high_water_bytes")
    if ring < high:
        raise conflict("fanout.ring_bytes", "at least", f"{high_in}.high_water_bytes")


class Limits(Section):
    """What one client may use. The defaults suit people, not load tests."""

    messages_per_s: float = Field(
        default=10,
        ge=0,
        le=1_000_000,
        description="Raise it for bots and load tests; over it a client gets rate_limited. 0 is no limit.",
    )
    burst: int = Field(
        default=100,
        ge=3,  # a newcomer's first line is a hello, a join and a message
        le=1_000_000,
        description="Messages sent at once before messages_per_s counts; raise it for people who paste.",
    )
    connections_per_address: int = Field(
        default=100,
        ge=0,
        le=1_000_000,
        description="Raise it where many users share one address, such as an office. 0 is no limit.",
    )
    connections_per_user: int = Field(
        default=20,
        ge=0,
        le=1_000_000,
        description="Connections of one account: people's devices and pages, bots' workers. 0 is no limit.",
    )
    messages_per_s_per_user: float = Field(
        default=20,
        ge=0,
        le=1_000_000,
        description="As messages_per_s, of all connections of one account together. 0 is no limit.",
    )
    rooms_per_user: int = Field(
        default=200,
        ge=0,
        le=1_000_000,
        description="Rooms that one account is in, on all connections together. 0 is no limit.",
    )
    connections: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="Set it so that memory or open files never run out; more are turned away. 0 is no limit.",
    )
    text_bytes: int = Field(
        default=4096,
        ge=0,
        le=GIB,
        description="Raise it for long messages, in UTF-8 bytes. 0 is no limit but command_bytes.",
    )
    command_bytes: int = Field(
        default=65536,
        ge=256,
        le=GIB,
        description="Raise it with text_bytes or for large data fields; a client's input may take this much.",
    )
    rooms_per_connection: int = Field(
        default=100,
        ge=0,
        le=1_000_000,
        description="Raise it for bots that watch many rooms. 0 is no limit.",
    )
    handshake_timeout_s: float = Field(
        default=10,
        gt=0,
        le=3600,
        description="Lower it under attack by clients that send their request slowly.",
    )
    hello_timeout_s: float = Field(
        default=60,
        ge=0,
        le=DAY_S,
        description="Lower it to be rid of connections that never say who they are. 0 is no limit.",
    )

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.command_bytes <= self.text_bytes:
            raise conflict("limits.command_bytes", "more than", "limits.text_bytes")
        return self


class RoomClass(Inheriting):
    """Rooms whose names match a pattern, and what is different about them."""

    pattern: RoomPattern = Field(description="The names; * stands for any characters, ? for one.")
    store: Literal["default", "memory"] = Field(
        default="default", description="memory keeps these rooms in memory only; default is store.url."
    )
    ring_bytes: int | None = Field(
        default=None,
        ge=1024,
        le=GIB,
        description="Each room's newest part in memory; inherit takes fanout.ring_bytes.",
    )
    keep_events: int = Field(
        default=0,
        ge=0,
        le=10**12,
        description="The newest events that are kept of each room; 0 is all.",
    )
    keep_age_s: float = Field(
        default=0, ge=0, le=100 * 365 * DAY_S, description="How long events are kept; 0 is for ever."
    )
    keep_bytes: int = Field(
        default=0, ge=0, le=1 << 50, description="The most bytes of events kept of each room; 0 is no limit."
    )
    slow_reader: Literal["lag", "disconnect"] | None = Field(
        default=None, description="What becomes of stuck readers; inherit takes fanout.slow_reader."
    )
    messages_per_s: float | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="What each room takes from all together; inherit takes rooms.messages_per_s.",
    )


class Rooms(Section):
    """Rooms, their presence and their history."""

    lobby: RoomName = Field(
        default="lobby", description="The room where people start; name it after your place."
    )
    empty_kept: int = Field(
        default=1000,
        ge=0,
        le=10_000_000,
        description="Empty rooms that stay in memory, up to ring_bytes for each; lower it to save memory.",
    )
    messages_per_s: float = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="What each room takes from all together; set it where crowds write. 0 is no limit.",
    )
    presence_interval_ms: int = Field(
        default=1000,
        ge=0,
        le=600_000,
        description="Joins and leaves are told at most this often; raise it for rooms with many of them.",
    )
    presence_names: int = Field(
        default=100,
        ge=0,
        le=100_000,
        description="Most names in a presence event; rooms with more members get counts, and no receipts.",
    )
    presence_per_s: int = Field(
        default=1000,
        ge=0,
        le=1_000_000,
        description="Most counts a second that a larger room sends, over all its members; 0 is no limit.",
    )
    create: Literal["anyone", "accounts", "operators"] = Field(
        default="anyone",
        description="Who opens rooms that are not there, by create or join; the lobby is always there.",
    )
    rules_max: int = Field(
        default=1000,
        ge=0,
        le=1_000_000,
        description="Most roles, invitations, bans and mutes of one room; 0 is no limit.",
    )
    classes: Annotated[
        tuple[RoomClass, ...],
        Tables,
        Allowed(f"tables of {', '.join(RoomClass.model_fields)}"),
    ] = Field(
        default=(),
        description="Rooms kept in another way; the first table whose pattern matches the name counts.",
    )
    history_page: int = Field(
        default=100,
        ge=1,
        le=10_000,
        description="Most messages in one history or found; raise it for clients that show long pages.",
    )


class Store(Section):
    """Where rooms are kept."""

    url: StoreUrl = Field(
        default="sqlite:",
        description="sqlite: is a file in your data folder; memory: keeps nothing; postgresql:// for nodes.",
        json_schema_extra=ADDRESS_WITH_PASSWORD,
        repr=False,
    )
    durability: Literal["full", "normal"] = Field(
        default="full",
        description="full survives a power cut; normal is quicker and survives the end of the process only.",
    )
    audit_keep_age_s: float = Field(
        default=365 * DAY_S,
        ge=0,
        le=100 * 365 * DAY_S,
        description="How long the log of acts of moderators and operators goes back; 0 is for ever.",
    )
    audit_keep_entries: int = Field(
        default=100_000,
        ge=0,
        le=10**9,
        description="The newest entries of that log that are kept, some 300 bytes each; 0 is all.",
    )


class Hooks(Section):
    """Your own Python: asked before something is done, or told of it afterwards."""

    modules: Modules = Field(
        default=(),
        description="Your modules with hooks, imported from where the server starts; asked in this order.",
    )
    threads: int = Field(
        default=8,
        ge=1,
        le=1000,
        description="Most threads of a hook that is no async def; when all hang it fails at once.",
    )
    authenticate_timeout_ms: int = Field(
        default=5000,
        ge=1,
        le=600_000,
        description="Raise it where your login is slow; a client waits this long at most for its welcome.",
    )
    authorize_timeout_ms: int = Field(
        default=1000,
        ge=1,
        le=600_000,
        description="Raise it where authorize has to ask elsewhere; the command waits meanwhile.",
    )
    on_message_timeout_ms: int = Field(
        default=1000,
        ge=1,
        le=600_000,
        description="Raise it for slow classifiers; only the sender whose message it is has to wait.",
    )
    event_timeout_ms: int = Field(
        default=10_000,
        ge=1,
        le=600_000,
        description="Time for on_join, on_leave, on_connect and on_disconnect, which nobody waits for.",
    )
    authenticate_failure: Literal["refuse", "pass"] = Field(
        default="refuse", description="pass goes on without it when it fails or hangs."
    )
    authorize_failure: Literal["refuse", "pass"] = Field(
        default="refuse", description="pass allows what it could not say anything about."
    )
    on_message_failure: Literal["refuse", "pass"] = Field(
        default="refuse", description="pass lets messages through that it could not look at."
    )


class Server(Section):
    """The process."""

    control: SocketPath = Field(
        default="auto",
        description="Where the operator's commands find the server; auto is beside the store or your data.",
    )
    workers: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Processes on the same ports, one for each core; needs PostgreSQL and a broker.",
    )
    drain_s: float = Field(
        default=5,
        ge=0,
        le=3600,
        description="Time for clients to take the rest at a stop; keep it below your supervisor's kill time.",
    )
    reconnect_spread_ms: int = Field(
        default=5000,
        ge=0,
        le=3_600_000,
        description="At a stop clients are told to come back spread over this; raise it for many clients.",
    )


class Log(Section):
    """The log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="debug adds every HTTP request; warning is silent while all is well."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="json for programs that collect logs."
    )


class Settings(BaseSettings):
    """All sections. Built by `load`; `Settings()` is the defaults."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="FASTCHAT_",
        env_nested_delimiter="__",
        # Text stays text until the setting's own validator reads it, wherever it came from.
        enable_decoding=False,
    )

    http: Http = Http()
    line: Line = Line()
    websocket: WebSocket = WebSocket()
    fanout: Fanout = Fanout()
    limits: Limits = Limits()
    rooms: Rooms = Rooms()
    store: Store = Store()
    broker: Broker = Broker()
    cluster: Cluster = Cluster()
    auth: Auth = Auth()

    hooks: Hooks = Hooks()
    server: Server = Server()
    log: Log = Log()

    @model_validator(mode="after")
    def _check_nodes(self) -> Self:
        in_memory = [kind.pattern for kind in self.rooms.classes if kind.store == "memory"]
        problem = problem_of_nodes(self.store.url, self.broker.url, self.server.workers, in_memory)
        if problem is not None:
            raise problem
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *others: PydanticBaseSettingsSource,
        **more: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but what is given: `load` reads the sources, so that each value's origin is known."""
        return (init_settings,)
