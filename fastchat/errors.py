"""Errors that end a command with clear lines instead of a traceback."""

import errno
import os
import socket


class ConfigError(Exception):
    """Settings that cannot be used. `problems` has one line for each, without the program's name."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StartError(Exception):
    """The server cannot start. Its text is one line that says what to do."""


def cannot_listen(address: object, setting: str, flag: str, error: OSError) -> StartError:
    """Explains why the address of a setting (`http.listen`) could not be bound, and which flag changes it."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        reason = error.strerror or str(error)
    else:
        # asyncio's own text repeats the address as a Python tuple.
        reason = os.strerror(error.errno)
    reason = reason[:1].lower() + reason[1:]
    hint = f"choose another with {flag} HOST:PORT"
    if error.errno == errno.EACCES:
        hint += " (ports below 1024 are privileged)"
    return StartError(f"cannot listen on {address} ({setting}): {reason}; {hint}")


def cannot_write(path: object, flag: str, error: OSError) -> StartError:
    """Explains why the file that a flag names could not be written."""
    reason = error.strerror or str(error)
    return StartError(f"cannot write {path} ({flag}): {reason[:1].lower()}{reason[1:]}")
