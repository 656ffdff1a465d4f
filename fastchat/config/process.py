"""The settings of the process and of its log. Pure."""

from typing import Literal

from pydantic import Field

from fastchat.config.section import Section
from fastchat.config.values import SocketPath


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
