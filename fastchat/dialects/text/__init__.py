"""Plain text, for a person with ``nc`` or telnet. Pure: no sockets, clock or await.

A line is a message to the current room, or a command that begins with ``/``. Others' messages arrive as
``[lobby] alice: hi``, everything else that the server says begins with ``*``.
"""

from fastchat.dialects.text.commands import COMMANDS
from fastchat.dialects.text.dialect import TextDialect
from fastchat.dialects.text.events import encode_event
from fastchat.dialects.text.lines import clean

__all__ = ["COMMANDS", "TextDialect", "clean", "encode_event"]
