"""What all servers that tests start have in common: a free port, a folder, a life that a test may break."""

import fcntl
import importlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.02

# Below those that the kernel gives to outgoing connections: none takes a port while its server is down.
PORTS = range(20_000, 32_000)

# It runs as nobody's child: whoever starts a shared one need not be there longest, and no test is blamed.
DETACHED = ("setsid", "--fork", "sh", "-c", 'echo $$ >"$0"; exec "$@"')


class Service:
    """A server with a data folder. Its methods block; each returns when what it says is done."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"fastchat-{type(self).__name__.lower()}-"))
        self.port = free_port()
        self.pid: int | None = None
        """Of its first process while it runs."""

    # What each kind says of itself

    @property
    def url(self) -> str:
        """Where clients connect to."""
        raise NotImplementedError

    def command(self) -> Sequence[str]:
        """What runs it in the foreground."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """What its environment has beside this process's."""
        return {}

    def answers(self) -> bool:
        """Whether clients may come: its port takes connections, unless a kind knows better."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    # Its life

    def start(self) -> None:
        """Returns when it answers."""
        self.pid = self.launch(self.command(), self.environment())
        pid = self.pid
        try:
            wait_until(lambda: self.answers() or not is_running(pid), START_TIMEOUT_S)
            assert self.answers(), f"{type(self).__name__} does not answer:\n{self.log()}"
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ends it in its own way. May be called again."""
        if self.pid is not None:
            self.resume()
            self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it by SIGKILL, every process of it."""
        if self.pid is not None:
            self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Starts it again on the same port and data, after `stop` or `kill` or now."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stops it as it stands: connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def close(self) -> None:
        """Ends it and takes its folder away. May be called again."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """What it has said so far."""
        path = self.folder / "output"
        return path.read_text(errors="replace") if path.exists() else ""

    # What another process has to know to go on with it

    def state(self) -> dict[str, Any]:
        return {"folder": str(self.folder), "port": self.port, "pid": self.pid}

    @classmethod
    def found(cls, state: Mapping[str, Any]) -> Self:
        """The one that another process has started, from its `state`."""
        service = cls.__new__(cls)
        service.folder, service.port, service.pid = Path(state["folder"]), state["port"], state["pid"]
        return service

    # How

    def launch(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Runs the command detached, with its output in the log; returns its process id."""
        pid_file = self.folder / f"pid-of-{Path(command[0]).name}"
        pid_file.unlink(missing_ok=True)
        with (self.folder / "output").open("ab") as output:
            subprocess.run(
                [*DETACHED, str(pid_file), *command],
                check=True, cwd=self.folder, env=os.environ | dict(environment),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        assert wait_until(lambda: pid_file.exists() and pid_file.read_text()[-1:] == "\n", START_TIMEOUT_S)
        return int(pid_file.read_text())

    def _signal(self, number: signal.Signals) -> list[int]:
        assert self.pid is not None, f"{type(self).__name__} does not run"
        return send(self.pid, number)

    def _end(self, number: signal.Signals) -> None:
        assert self.pid is not None
        if number is signal.SIGKILL:
            processes = self._signal(number)
        else:
            processes = [self.pid, *descendants(self.pid)]
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
        if not wait_until(lambda: not any(map(is_running, processes)), STOP_TIMEOUT_S):
            raise AssertionError(f"{type(self).__name__} does not end:\n{self.log()}")
        self.pid = None


S = TypeVar("S", bound=Service)


@contextmanager
def running(service: S) -> Iterator[S]:
    """Runs it for one test, which may break it."""
    try:
        service.start()
        yield service
    finally:
        service.close()


def free_port() -> int:
    """A port at 127.0.0.1 that nobody has, and that nobody gets by chance."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def wait_until(done: Callable[[], bool], timeout_s: float) -> bool:
    """Returns whether it is done, as soon as it is."""
    until = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)
    return True


def send(pid: int, number: signal.Signals) -> list[int]:
    """Signals a process and its descendants; returns whom."""
    # Those of a process that has ended cannot be found any more.
    processes = [pid, *descendants(pid)]
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)
    return processes


def descendants(pid: int) -> list[int]:
    """Children of any thread of it, and theirs."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found


def is_running(pid: int) -> bool:
    """Whether it is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Shared(Generic[S]):
    """The one server of its kind in a test run, whichever of its processes needs it first.

    The process that began the run, and has started the others, ends it: see `close_all`.
    """

    def __init__(self, kind: type[S]) -> None:
        self._kind = kind
        self._server: S | None = None

    def server(self) -> S:
        """Starts it where it does not run yet. It is for tests that leave it as it is."""
        if self._server is None:
            folder = run_folder()
            with locked(folder / f"{self._kind.__name__}.lock"):
                # Its name says what it is: the process that ends it may have imported nothing of it.
                state = folder / f"{self._kind.__module__}:{self._kind.__name__}.json"
                if state.exists():
                    self._server = self._kind.found(json.loads(state.read_text()))
                else:
                    self._server = self._kind()
                    guard()
                    try:
                        self._server.start()
                    except BaseException:
                        self._server.close()
                        self._server = None
                        raise
                    state.write_text(json.dumps(self._server.state()))
        return self._server


RUN = "TESTS_OF_FASTCHAT_SERVICES"


def begin_run() -> None:
    """For the first process of a test run, before it starts others; further calls have no effect."""
    if RUN not in os.environ:
        os.environ[RUN] = f"{os.getpid()}:{tempfile.mkdtemp(prefix='fastchat-services-')}"


def run_folder() -> Path:
    begin_run()
    return Path(os.environ[RUN].partition(":")[2])


def close_all() -> None:
    """Ends what this run has shared. Of its processes the first one does it, when the others are gone."""
    owner, _, folder = os.environ.get(RUN, "").partition(":")
    if owner != str(os.getpid()):
        return
    close_folder(Path(folder))
    del os.environ[RUN]


# For a run whose first process is killed: nobody would end what it has shared.
GUARD = """
while kill -0 "$1" 2>/dev/null; do sleep 1; done
[ ! -d "$2" ] || exec "$3" -m tests.services.service "$2"
"""


def guard() -> None:
    """Has what this run shares ended soon after its first process, however that ends."""
    owner, _, folder = os.environ[RUN].partition(":")
    subprocess.run(
        ["setsid", "--fork", "sh", "-c", GUARD, "guard", owner, folder, sys.executable],
        check=True, cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def close_folder(folder: Path) -> None:
    """Ends what a run has shared whose folder this is."""
    for state in folder.glob("*.json"):
        module, _, name = state.stem.partition(":")
        kind: type[Service] = getattr(importlib.import_module(module), name)
        kind.found(json.loads(state.read_text())).close()
    shutil.rmtree(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


if __name__ == "__main__":
    close_folder(Path(sys.argv[1]))
