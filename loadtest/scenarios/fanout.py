"""One big room: everything that anyone says goes to everyone."""

from __future__ import annotations

from ..defaults import DEFAULTS
from .base import Talker


class Fanout(Talker):
    defaults = DEFAULTS["fanout"]

    def choose_rooms(self) -> list[str]:
        return [self.plan.name_room(0)]
