"""Metrics of several workers as one text, and what one of them is told that answers for all."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fastchat import worker_metrics
from fastchat.worker_metrics import Place, WorkerMetrics, merge


def text_of(connections: int) -> bytes:
    return (
        "# HELP chat_connections Connections.\n# TYPE chat_connections gauge\n"
        f'chat_connections{{kind="line"}} {connections}.0\n'
        "# HELP chat_events_total Events.\n# TYPE chat_events_total counter\n"
        f"chat_events_total {connections}.0\n"
    ).encode()


def says(connections: int) -> Callable[[], Awaitable[bytes]]:
    async def own() -> bytes:
        return text_of(connections)

    return own


def connections_in(text: bytes) -> dict[str, float]:
    return {
        sample.labels["worker"]: sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == "chat_connections"
    }


def test_each_family_is_there_once_with_every_workers_values() -> None:
    merged = merge({"0": text_of(3), "1": text_of(5)}).decode()
    assert merged == (
        "# HELP chat_connections Connections.\n# TYPE chat_connections gauge\n"
        'chat_connections{kind="line",worker="0"} 3.0\nchat_connections{kind="line",worker="1"} 5.0\n'
        "# HELP chat_events_total Events.\n# TYPE chat_events_total counter\n"
        'chat_events_total{worker="0"} 3.0\nchat_events_total{worker="1"} 5.0\n'
    )


async def test_whoever_is_asked_answers_for_all(tmp_path: Path) -> None:
    folder = tmp_path / "workers"
    folder.mkdir()
    workers = [WorkerMetrics(says(number), Place(number, folder)) for number in range(3)]
    for worker in workers:
        await worker.start()
    for worker in workers:
        assert connections_in(await worker.encode()) == {"0": 0, "1": 1, "2": 2}
    await workers[1].close()
    assert connections_in(await workers[0].encode()) == {"0": 0, "2": 2}
    await workers[1].start()
    assert connections_in(await workers[2].encode()) == {"0": 0, "1": 1, "2": 2}
    for worker in workers:
        await worker.close()
    assert not folder.exists()


async def test_one_that_does_not_answer_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_metrics, "ANSWER_TIMEOUT_S", 0.01)
    hanging = asyncio.Event()

    async def never() -> bytes:
        await hanging.wait()
        return b""

    workers = [WorkerMetrics(says(0), Place(0, tmp_path)), WorkerMetrics(never, Place(1, tmp_path))]
    for worker in workers:
        await worker.start()
    assert connections_in(await workers[0].encode()) == {"0": 0}
    hanging.set()
    for worker in workers:
        await worker.close()
