"""The compiled modules: whether they are there."""

import importlib.util

COMPILED = ("_checks", "_events", "_ring", "_handshake", "_hooks", "_fanout", "_websocket")
HOW_TO_COMPILE = "run 'pip install .' with a C compiler installed, or 'make build'"


def find_missing() -> str | None:
    """What is to be done about a compiled module that is missing; None where all are there."""
    for name in COMPILED:
        if importlib.util.find_spec(f"fastchat.{name}") is None:
            return f"the compiled module fastchat.{name} is missing; {HOW_TO_COMPILE}"
    return None
