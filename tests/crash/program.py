"""What the programs that break a chat again and again have in common: their command line, loop and folder."""

import argparse
import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import SystemRandom
from typing import Any, TypeVar

import uvloop

Outcome = TypeVar("Outcome")


def conduct(
    parser: argparse.ArgumentParser,
    breaks: str,
    run: Callable[[Path, argparse.Namespace], Coroutine[Any, Any, Outcome]],
    report: Callable[[Path, Outcome], bool],
) -> int:
    """Runs it as the command line says; returns the exit code.

    ``parser`` has an argument, called ``breaks``, that says how often something is to be broken. All
    histories are in the folder that ``run`` is given; ``report`` prints what came of it, and returns whether
    all is well.
    """
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1 << 32))
    parser.add_argument("--keep", action="store_true", help="keep the histories where all is well, too")
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="fastchat-crash-"))
    how_often = getattr(options, breaks)
    print(f"{how_often} {breaks}, seed {options.seed}, histories in {directory}", flush=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(run(directory, options))
    if not report(directory, outcome):
        return 1
    if not options.keep:
        shutil.rmtree(directory)
    return 0
