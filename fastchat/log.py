"""The log on standard error: one renderer for our own events and for the libraries' logging."""

import io
import logging
import os
import sys
import traceback
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, FilteringBoundLogger, Processor, WrappedLogger

Level = Literal["debug", "info", "warning", "error"]
Style = Literal["text", "json"]

# What clients choose ends up in values: no escape sequence may reach the operator's terminal,
# and no line break may forge a line of the log.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_CONTROLS |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
_CONTROLS_BUT_BREAKS = {code: text for code, text in _CONTROLS.items() if chr(code) not in "\n\t"}


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger for events with values: `get_logger(__name__).info("listening", address="[::1]:8080")`."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


def configure(
    level: Level,
    style: Style,
    stream: TextIO | None = None,
    worker: int | None = None,
) -> None:
    """Sends everything that is logged at `level` or above to `stream`, standard error where None.

    Each event carries `worker`, the number of one of several processes, where there are several.

    May be called again: the later call replaces the earlier. Pass `log_config=None` to uvicorn,
    or it puts its own handlers back.
    """
    stream = sys.stderr if stream is None else stream
    shared: list[Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if worker is not None:
        shared.append(_say_worker(worker))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        # Loggers made at import time follow a later configuration, and tests can capture them.
        cache_logger_on_first_use=False,
    )
    rendering = _json() if style == "json" else _text(stream)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    # A line for each request belongs to looking for a fault; health checks alone would fill the log.
    # Of its start and stop we tell ourselves.
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).setLevel("INFO" if level == "debug" else "WARNING")


def _say_worker(worker: int) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("worker", worker)
        return event

    return add


def _json() -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=True),
    ]


def _text(stream: TextIO) -> list[Processor]:
    colours = stream.isatty() and not os.environ.get("NO_COLOR")
    return [
        _escape_controls,
        structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=_write_traceback),
    ]


def _escape_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = value.translate(_CONTROLS)
    return event


def _write_traceback(out: TextIO, exc_info: ExcInfo) -> None:
    text = io.StringIO()
    traceback.print_exception(*exc_info, file=text)
    out.write("\n" + text.getvalue().rstrip("\n").translate(_CONTROLS_BUT_BREAKS))
