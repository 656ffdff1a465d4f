"""The settings of rooms, and of classes of rooms. Pure."""

from typing import Annotated, Literal

from pydantic import Field

from fastchat.config.section import DAY_S, GIB, Inheriting, Section
from fastchat.config.values import Allowed, RoomName, RoomPattern, Tables


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
