"""One connection's conversation: what each command does, and in which order. Pure: no I/O, clock or await.

A session is given commands, checks them and answers through its ``Peer``; what it does, it does in the hub.
It knows no dialect: the same session serves a browser, a program and a person with ``nc``.
"""

from fastchat.session.interface import Limits, State
from fastchat.session.posting import check_content
from fastchat.session.session import COMMAND_TABLE, Session
from fastchat.session.turns import UNSTORED_MAX

__all__ = ["COMMAND_TABLE", "UNSTORED_MAX", "Limits", "Session", "State", "check_content"]
