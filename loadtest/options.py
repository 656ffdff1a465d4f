"""What a run can be told, the same for `python -m loadtest` and for `locust -f loadtest/locustfile.py`."""

from __future__ import annotations

import argparse
from typing import Any

from .defaults import DEFAULTS

SHAPES = ("none", "ramp", "step", "spike")


def add_load_options(parser: Any) -> None:
    """Adds the options of the load itself."""
    group = parser.add_argument_group("fastchat load")
    group.add_argument(
        "--line", metavar="HOST:PORT", default="", help="the server's line port; --host is its HTTP port"
    )
    group.add_argument(
        "--line-share",
        type=float,
        metavar="SHARE",
        default=0.2,
        help="which part of the users speaks lines where both ports are given (0.2)",
    )
    group.add_argument("--rate", type=float, help="messages per second of all users together")
    group.add_argument("--rooms", type=int, help="how many rooms there are")
    group.add_argument("--text-bytes", type=int, metavar="N", default=64, help="length of a text (64)")
    group.add_argument(
        "--every",
        type=int,
        metavar="N",
        help="time each N-th delivery; as many as one process can bear where it is not said",
    )
    group.add_argument(
        "--zipf", type=float, metavar="S", default=1.0, help="how unevenly rooms are liked: 1/rank^S (1.0)"
    )
    group.add_argument("--shape", choices=SHAPES, default="none", help="how the number of users changes")
    group.add_argument(
        "--objectives", metavar="FILE", default="", help="TOML; exit code 1 where a figure falls short"
    )
    group.add_argument("--results", metavar="FILE", default="", help="write the figures as JSON")
    group.add_argument(
        "--restart-command", metavar="COMMAND", default="", help="restarts the server, for the scenario herd"
    )


def add_scenario_option(parser: Any) -> None:
    parser.add_argument(
        "--scenario", choices=tuple(DEFAULTS), default="steady", help="what the users do (steady)"
    )


def parse_address(text: str, default_port: int) -> tuple[str, int]:
    """HOST:PORT, also as an URL. Raises argparse.ArgumentTypeError."""
    address = text.partition("://")[2] or text
    host, colon, port = address.strip("/").rpartition(":")
    if not colon:
        host, port = address.strip("/"), str(default_port)
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)
