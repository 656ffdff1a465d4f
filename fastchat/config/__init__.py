"""Settings: one model per section, units in names, every default explained.

Sources, strongest first: flags and `--set section.key=value`, the environment (`FASTCHAT_SECTION__KEY`),
a TOML file, the defaults. `Settings()` is the defaults alone; `load` reads the sources.
"""

from fastchat.config.address import Address, is_loopback, parse_address
from fastchat.config.load import Loaded, changes, is_live, load, read
from fastchat.config.settings import Settings
from fastchat.errors import ConfigError

__all__ = [
    "Address",
    "ConfigError",
    "Loaded",
    "Settings",
    "changes",
    "is_live",
    "is_loopback",
    "load",
    "parse_address",
    "read",
]
