"""The log: one renderer for all, and nothing in it that a client could use against a terminal."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from fastchat import log

UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """The process's logging is shared with every other test."""
    loggers = [logging.getLogger(name) for name in (None, *UVICORN)]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers[:], logger.level, logger.propagate = handlers, level, propagate
        logger.setLevel(level)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def parsed(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_text() -> None:
    stream = io.StringIO()
    log.configure("info", "text", stream)
    log.get_logger("fastchat.server").info("listening", address="[::1]:8080")
    (line,) = stream.getvalue().splitlines()
    assert "info" in line
    assert "listening" in line
    assert "[fastchat.server] address=[::1]:8080" in line


def test_json() -> None:
    stream = io.StringIO()
    log.configure("info", "json", stream)
    log.get_logger("fastchat.server").warning("full", connections=5)
    (event,) = parsed(stream)
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "full", "level": "warning", "logger": "fastchat.server", "connections": 5}


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    log.get_logger("x").info("hello")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert '"hello"' in captured.err


def test_the_libraries_logging_goes_the_same_way() -> None:
    stream = io.StringIO()
    log.configure("info", "json", stream)
    logging.getLogger("asyncio").error("lost %s", "it")
    logging.getLogger("uvicorn.error").warning("a bad request")
    assert [(event["logger"], event["level"], event["event"]) for event in parsed(stream)] == [
        ("asyncio", "error", "lost it"),
        ("uvicorn.error", "warning", "a bad request"),
    ]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_levels(level: log.Level) -> None:
    levels = ["debug", "info", "warning", "error"]
    stream = io.StringIO()
    log.configure(level, "json", stream)
    logger = log.get_logger("x")
    for name in levels:
        getattr(logger, name)(name)
        getattr(logging.getLogger("y"), name)(name)
    expected = [name for name in levels[levels.index(level) :] for _ in range(2)]
    assert [event["event"] for event in parsed(stream)] == expected


@pytest.mark.parametrize(("level", "count"), [("info", 0), ("debug", 1)])
@pytest.mark.parametrize(("logger", "event"), [("access", "GET /healthz"), ("error", "Shutting down")])
def test_what_uvicorn_does_all_the_time_is_logged_for_debugging_only(
    logger: str, event: str, level: log.Level, count: int
) -> None:
    stream = io.StringIO()
    log.configure(level, "json", stream)
    logging.getLogger(f"uvicorn.{logger}").info(event)
    assert len(parsed(stream)) == count


def test_uvicorns_own_handlers_are_replaced() -> None:
    theirs = io.StringIO()
    logging.getLogger("uvicorn").addHandler(logging.StreamHandler(theirs))
    logging.getLogger("uvicorn").propagate = False
    stream = io.StringIO()
    log.configure("info", "json", stream)
    logging.getLogger("uvicorn.error").warning("a bad request")
    assert len(parsed(stream)) == 1
    assert theirs.getvalue() == ""


def test_configured_again_the_later_counts() -> None:
    first, second = io.StringIO(), io.StringIO()
    log.configure("info", "json", first)
    logger = log.get_logger("x")
    logger.info("one")
    log.configure("debug", "json", second)
    logger.debug("two")
    assert [event["event"] for event in parsed(first)] == ["one"]
    assert [event["event"] for event in parsed(second)] == ["two"]


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    outputs = []
    for stream in (Terminal(), io.StringIO()):
        log.configure("info", "text", stream)
        log.get_logger("x").info("hello")
        outputs.append("\x1b[" in stream.getvalue())
    assert outputs == [True, False]


def test_no_colours_where_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    log.configure("info", "text", stream)
    log.get_logger("x").info("hello")
    assert "\x1b" not in stream.getvalue()


@pytest.mark.parametrize("style", ["text", "json"])
def test_what_clients_send_stays_on_its_line_and_off_the_terminal(style: log.Style) -> None:
    stream = io.StringIO()
    log.configure("info", style, stream)
    evil = "x\x1b[2J\x9b2J\r\n2026-01-01 [info] forged\x07"
    log.get_logger("x").info(evil, name=evil, more=[evil], raw=evil.encode())
    logging.getLogger("uvicorn.error").warning("bad request %s", evil)
    text = stream.getvalue()
    assert text.count("\n") == 2
    assert not any(
        ord(character) < 32 or 0x7F <= ord(character) < 0xA0 for character in text.replace("\n", "")
    )


@pytest.mark.parametrize("style", ["text", "json"])
def test_tracebacks_are_plain(style: log.Style) -> None:
    stream = io.StringIO()
    log.configure("info", style, stream)
    try:
        raise ValueError("what\x1b[2J")
    except ValueError:
        log.get_logger("x").exception("failed")
        logging.getLogger("y").exception("failed")
    text = stream.getvalue()
    assert text.count("Traceback (most recent call last)") == 2
    assert text.count("ValueError: what") == 2
    assert "\x1b" not in text
