"""Many rooms, a few of them popular (Zipf), and everybody talks now and then: an ordinary day."""

from __future__ import annotations

from ..defaults import DEFAULTS
from .base import Talker


class Steady(Talker):
    defaults = DEFAULTS["steady"]
