"""The settings of what one client may use. Pure."""

from typing import Self

from pydantic import Field, model_validator

from fastchat.config.section import DAY_S, GIB, Section, conflict


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
