"""Who has to go when nothing can be sent any more: the room classes' word counts before the setting's."""

from typing import Literal

import pytest

from fastchat.config import Settings
from fastchat.config.fanout import Fanout
from fastchat.config.rooms import RoomClass, Rooms
from fastchat.server import Server

Policy = Literal["lag", "disconnect"]

CLASSES = (
    RoomClass(pattern="live-*", slow_reader="disconnect"),
    RoomClass(pattern="slow-*", slow_reader="lag"),
    RoomClass(pattern="plain-*", keep_events=10),
    RoomClass(pattern="*-live", slow_reader="disconnect"),
)


@pytest.mark.parametrize(
    ("rooms", "lag", "disconnect"),
    [
        # rooms, and what is to be with slow_reader = "lag" and with "disconnect"
        ([], False, True),
        (["lobby"], False, True),
        (["plain-1"], False, True),
        (["slow-1"], False, False),
        (["slow-1", "lobby"], False, False),
        (["live-1"], True, True),
        (["live-1", "lobby"], True, True),
        (["lobby", "slow-1", "live-1"], True, True),
        (["a-live"], True, True),
        (["slow-live"], False, False),  # the first class that matches counts
    ],
)
def test_who_stays_stuck_has_to_go(rooms: list[str], lag: bool, disconnect: bool) -> None:
    policies: list[tuple[Policy, bool]] = [("lag", lag), ("disconnect", disconnect)]
    for policy, expected in policies:
        settings = Settings(fanout=Fanout(slow_reader=policy), rooms=Rooms(classes=CLASSES))
        assert Server(settings).disconnects_slow_readers(rooms) is expected
