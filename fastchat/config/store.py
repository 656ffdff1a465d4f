"""The settings of where rooms are kept. Pure."""

from typing import Literal

from pydantic import Field

from fastchat.config.section import DAY_S, Section
from fastchat.config.values import ADDRESS_WITH_PASSWORD, StoreUrl


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
