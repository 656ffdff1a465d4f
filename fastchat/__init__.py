"""fastchat: a chat server. A room is a log, a subscriber is a cursor."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastchat.config import Settings
    from fastchat.hooks import Message, Refuse
    from fastchat.local import Lagged
    from fastchat.messages import WireError
    from fastchat.people import User
    from fastchat.server import Server

__all__ = ["Lagged", "Message", "Refuse", "Server", "Settings", "User", "WireError"]

_WHERE = {
    "Lagged": "fastchat.local",
    "Message": "fastchat.hooks",
    "Refuse": "fastchat.hooks",
    "Server": "fastchat.server",
    "Settings": "fastchat.config",
    "User": "fastchat.people",
    "WireError": "fastchat.messages",
}


def __getattr__(name: str) -> Any:
    """Imports what a program asks for when it does: the command alone needs next to nothing of it."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)
