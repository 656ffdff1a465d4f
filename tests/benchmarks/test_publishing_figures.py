"""The figures of events to RabbitMQ: how they are put together out of what was measured."""

from benchmarks.publishing.__main__ import summarize
from benchmarks.publishing.ways import Run


def runs(library_s: float, sink_s: float, sender_s: float) -> dict[str, Run]:
    return {
        "library": Run(1000, library_s, 0.1),
        "sink": Run(1000, sink_s, 0.01),
        "sender": Run(1000, sender_s, 0.02),
    }


def test_each_round_is_compared_with_itself() -> None:
    table, ratios = summarize([runs(1.0, 0.5, 2.0), runs(2.0, 4.0, 2.0), runs(1.0, 0.25, 1.0)])
    assert ratios == {"library": 1.0, "sink": 2.0, "sender": 1.0}
    assert "| aio-pika alone | 1,000 | 1.00 | 100 |" in table
    assert "| fastchat's connection to RabbitMQ | 2,000 | 2.00 | 10 |" in table
