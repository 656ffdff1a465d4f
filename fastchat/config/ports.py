"""The settings of the ports that clients connect to. Pure."""

from pydantic import Field

from fastchat.config.address import Address
from fastchat.config.section import DAY_S, Section
from fastchat.config.values import ListenAddress, Networks, OptionalListenAddress, Origins


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
