"""One in ten reads slowly or not at all, in the same rooms as all others. The others must not notice."""

from __future__ import annotations

import random

import gevent

from ..chat import Chat
from ..connection import Connection
from ..defaults import DEFAULTS
from .base import Talker

ONE_IN = 10
_RECEIVE_BUFFER_BYTES = 4096
_SIP_BYTES = 2048
_SIP_S = 0.4


class SlowReaders(Talker):
    """Who reads slowly doesn't talk, and their deliveries are not timed; but what they get must be whole."""

    defaults = DEFAULTS["slow_readers"]

    def make_chat(self) -> Chat:
        chat = super().make_chat()
        if self.is_slow:
            chat.receive_buffer_bytes = _RECEIVE_BUFFER_BYTES
            chat.timed = False
        return chat

    @property
    def is_slow(self) -> bool:
        return self.number % ONE_IN == ONE_IN - 1

    def start(self) -> None:
        super().start()
        if self.is_slow:
            self.chat.pace = sip if self.number // ONE_IN % 2 else StopAndGo(self.plan.source)

    def act(self) -> None:
        if self.is_slow:
            gevent.sleep(3600.0)
        super().act()


def sip(connection: Connection) -> None:
    """Five kilobytes a second, for ever behind in a busy room."""
    connection.receive_bytes = _SIP_BYTES
    gevent.sleep(_SIP_S)


class StopAndGo:
    """Now and then reads nothing for a while, and then everything at once."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        self._reads = 0

    def __call__(self, connection: Connection) -> None:
        self._reads -= 1
        if self._reads <= 0:
            self._reads = self._source.randrange(20, 100)
            gevent.sleep(self._source.uniform(5.0, 15.0))
