"""What a measurement of this package gives back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass
class Measured:
    """Tables as Markdown by name, the values they come from, and whether what was wanted was reached."""

    tables: dict[str, str]
    values: dict[str, Any]
    met: bool
    faults: list[str]
    draw: Callable[[], object]
    """Draws the plots into ``docs/plots``."""
