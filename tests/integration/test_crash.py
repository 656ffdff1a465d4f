"""A server that is killed under load loses nothing. The long form of this is `make crash`."""

import asyncio
from pathlib import Path
from random import SystemRandom

import pytest

from tests.crash import checker, driver

KILLS = 6
LONGEST_LIFE_S = 0.6


@pytest.mark.timeout(180)
async def test_a_server_killed_again_and_again_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    seed = SystemRandom().randrange(1 << 32)
    outcome = await driver.run(tmp_path, KILLS, seed, LONGEST_LIFE_S)
    verdict = await asyncio.to_thread(checker.check, tmp_path)
    assert verdict.faults == [], f"seed {seed}: {checker.report(verdict)}"
    assert outcome.tracebacks == []
    assert outcome.database == ""
    assert outcome.kills == KILLS
    # Whoever came to nothing would find no fault either.
    assert verdict.counts["clients"] == verdict.counts["clients to the end"] > 15
    assert verdict.counts["acknowledgements"] > 100
    assert verdict.counts["events seen"] > 1000
