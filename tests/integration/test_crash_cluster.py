"""Nodes, broker and database that are broken under load lose nothing. In long: `make crash-cluster`."""

import asyncio
from pathlib import Path
from random import SystemRandom

import pytest

from tests.crash import checker, cluster

FAULTS = 5


@pytest.mark.timeout(240)
async def test_a_chat_of_several_nodes_that_is_broken_again_and_again_loses_nothing(tmp_path: Path) -> None:
    seed = SystemRandom().randrange(1 << 32)
    outcome = await cluster.run(tmp_path, FAULTS, seed, "nats")
    verdict = await asyncio.to_thread(checker.check, tmp_path, of_nodes=True)
    assert verdict.faults == [], f"seed {seed}: {checker.report(verdict)}"
    assert outcome.untold == [], f"seed {seed}"
    assert outcome.tracebacks == []
    assert outcome.faults.total() == FAULTS
    # Whoever came to nothing would find no fault either.
    assert verdict.counts["clients"] == verdict.counts["clients to the end"] > 15
    assert verdict.counts["acknowledgements"] > 100
    assert verdict.counts["events seen"] > 1000
    assert outcome.told >= verdict.counts["log events"]
