"""The server is restarted, and everyone comes back with what they have seen.

Who had said something and got no answer says it again with the same id. Nothing may be missing or twice.
The restart itself is the run's business (`--restart-command`); here a lost connection is only no surprise.
"""

from __future__ import annotations

from ..defaults import DEFAULTS
from .base import Talker


class Herd(Talker):
    defaults = DEFAULTS["herd"]
    expects_loss = True
