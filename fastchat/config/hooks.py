"""The settings of an operator's own functions. Pure."""

from typing import Literal

from pydantic import Field

from fastchat.config.section import Section
from fastchat.config.values import Modules


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
