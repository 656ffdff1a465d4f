"""What the sections of the settings have in common. Pure.

A description says why one would change the setting; a name ends in its unit.
"""

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic_core import PydanticCustomError

DAY_S = 86400
GIB = 1 << 30


def conflict(setting: str, relation: str, other: str) -> PydanticCustomError:
    """Two settings that exclude each other, the one to change first; `load` words the message."""
    return PydanticCustomError(
        "conflict", "conflict", {"setting": setting, "relation": relation, "other": other}
    )


def refusal(problem: str) -> PydanticCustomError:
    """Settings that don't go together, for reasons that take a sentence of their own."""
    return PydanticCustomError("refusal", "refusal", {"problem": problem})


class Section(BaseModel):
    """What every section has in common: it can't be changed, knows its keys and checks its defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_booleans(cls, value: object) -> object:
        # pydantic reads true as 1, and no setting is a boolean.
        if isinstance(value, bool):
            raise PydanticCustomError("boolean", "boolean")
        return value


class Inheriting(Section):
    """A section in which None means that the value is another setting's."""

    @field_validator("*", mode="before")
    @classmethod
    def _inherit(cls, value: object) -> object:
        # TOML and flags have no other word for None.
        return None if value == "inherit" else value
