"""A `send` on its way in: parsing and checking it, and all the way into a memory room."""

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastchat.messages import check_command, parse_object
from tests.parties import Party

SEND = b'{"type":"send","room":"lobby","text":"%s"}'


@pytest.mark.parametrize("text", [b"x" * 64, b"http://x " * 7], ids=["plain", "with-colons"])
@pytest.mark.benchmark(group="ingest: one command")
def test_parse_and_check(benchmark: BenchmarkFixture, text: bytes) -> None:
    line = SEND % text

    def parse() -> None:
        check_command(parse_object(line))

    benchmark(parse)


@pytest.mark.benchmark(group="ingest: one command")
def test_into_a_memory_room(benchmark: BenchmarkFixture) -> None:
    party = Party()
    client = party.json_lines()
    client.say("hello")
    client.say("join", room="lobby")
    client.heard()
    line = SEND % (b"x" * 64)

    def send() -> None:
        client.send_raw(line)
        client.heard("sent")

    benchmark(send)
