"""A PostgreSQL server of a test's own: Debian's programs, a free port, a data folder that goes with it."""

import fcntl
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

USER = "fastchat"
PASSWORD = "of-the-tests"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.02

# What is forgotten with the machine's power may be forgotten with a test's, too.
FAST = ("-c", "fsync=off", "-c", "full_page_writes=off")
SMALL = ("-c", "shared_buffers=32MB", "-c", "max_connections=200", "-c", "unix_socket_directories=")


def programs() -> Path:
    """The folder of the newest PostgreSQL that is installed."""
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    folders = [path.parent for path in sorted(debian, key=lambda path: float(path.parts[-3]))]
    if not folders and (found := shutil.which("initdb")) is not None:
        folders = [Path(found).resolve().parent]
    assert folders, "PostgreSQL is not installed; `make test` does it, as does: apt-get install postgresql"
    return folders[-1]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def unprivileged() -> tuple[Sequence[str], int | None]:
    """What goes before a command that PostgreSQL refuses to root; and the user who runs it then."""
    if os.getuid() != 0:
        return (), None
    for name in "postgres", "nobody":
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            own = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
            return ("setpriv", *own), user.pw_uid
    raise AssertionError("PostgreSQL does not run as root, and there is neither user postgres nor nobody")


class Postgres:
    """One server. ``fast``: it need not outlive a power cut, which no test makes."""

    def __init__(self, *, fast: bool = True, settings: Sequence[str] = ()) -> None:
        """``settings`` as on the command line of ``postgres``: ``-c``, ``name=value`` …"""
        self.programs = programs()
        self._as_user, uid = unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="fastchat-postgres-"))
        if uid is not None:
            os.chown(self.folder, uid, -1)
        self.data = self.folder / "data"
        self.port = free_port()
        self.pid: int | None = None
        """Of the server's first process while it runs."""
        self._settings = (*SMALL, *(FAST if fast else ()), *settings)
        self._initialize()

    def _initialize(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run(
            "initdb", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256",
            f"--username={USER}", f"--pwfile={password}", f"--pgdata={self.data}",
        )  # fmt: skip

    def _run(self, program: str, *args: str) -> str:
        done = subprocess.run(
            [*self._as_user, str(self.programs / program), *args],
            capture_output=True, text=True, cwd="/", env=os.environ | {"PGPASSWORD": PASSWORD},
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stderr}\n{self.log()}"
        return done.stdout

    @property
    def url(self) -> str:
        """Of the database that is there from the start."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def log(self) -> str:
        """What the server has said so far."""
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    # Its life

    def start(self) -> None:
        """Returns when it answers."""
        settings = " ".join((*self._settings, "-c", "listen_addresses=127.0.0.1", "-p", str(self.port)))
        # It runs in the background, as nobody's child: whoever starts a shared one need not be there longest.
        self._run(
            "pg_ctl", "start", "--wait", f"--timeout={START_TIMEOUT_S:.0f}", f"--pgdata={self.data}",
            f"--log={self.folder / 'log'}", f"--options={settings}",
        )  # fmt: skip
        self.pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])

    def stop(self) -> None:
        """Ends it and whatever is under way in it. May be called again."""
        if self.pid is None:
            return
        self.resume()
        self._run(
            "pg_ctl", "stop", "--wait", "--mode=fast", f"--timeout={STOP_TIMEOUT_S:.0f}",
            f"--pgdata={self.data}",
        )  # fmt: skip
        self.pid = None

    def kill(self) -> None:
        """Ends it by SIGKILL, every process of it, and waits until they are gone."""
        processes = self._signal(signal.SIGKILL)
        until = time.monotonic() + STOP_TIMEOUT_S
        while any(is_running(pid) for pid in processes):
            assert time.monotonic() < until, f"still there: {processes}"
            time.sleep(POLL_S)
        # Where nobody waits for it, a dead process keeps its id: the next server would take it for alive.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self.pid = None

    def restart(self) -> None:
        """Starts it again on the same port, after `stop` or `kill` or now."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stops it as it stands: connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> list[int]:
        assert self.pid is not None, "it does not run"
        done: list[int] = []
        # The first process first: then there are no new ones.
        for pid in self.pid, *descendants(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
                done.append(pid)
        return done

    def close(self) -> None:
        """Stops it and takes its folder away."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Databases

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Runs SQL as the server's owner; returns rows as text, fields with ``|`` between them."""
        return self._run(
            "psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1",
            f"--command={sql}", self.url_of(database),
        )  # fmt: skip

    def create_database(self, template: str = "template0") -> str:
        """A new database, the template's copy; returns its URL."""
        name = f"test_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        """Takes it away from whoever uses it."""
        name = url.rpartition("/")[2]
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


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


@contextmanager
def running(*, fast: bool = True, settings: Sequence[str] = ()) -> Iterator[Postgres]:
    """A server for one test, which may break it."""
    server = Postgres(fast=fast, settings=settings)
    try:
        server.start()
        yield server
    finally:
        server.close()


class Shared:
    """The one server of a test run, whichever of its processes needs it first; the last one stops it."""

    def __init__(self) -> None:
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"of-{os.getpid()}"
        self._folder = Path(tempfile.gettempdir(), f"fastchat-services-{os.getuid()}-{run}")
        self._users: int | None = None
        self._server: Postgres | None = None

    def server(self) -> Postgres:
        """Starts it where it does not run yet. It is for tests that leave it as it is."""
        if self._server is None:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with self._locked():
                self._users = os.open(self._folder / "postgres.users", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._users, fcntl.LOCK_SH)
                self._server = self._found() or self._started()
        return self._server

    def close(self) -> None:
        """Stops it, unless another process uses it."""
        if self._server is None or self._users is None:
            return
        with self._locked():
            try:
                fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                last = False
            else:
                last = True
                self._server.close()
                (self._folder / "postgres.json").unlink()
            os.close(self._users)
        if last:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._server = self._users = None

    def _found(self) -> Postgres | None:
        try:
            state = json.loads((self._folder / "postgres.json").read_text())
        except FileNotFoundError:
            return None
        server = Postgres.__new__(Postgres)
        server.programs, (server._as_user, _) = programs(), unprivileged()
        server.folder, server.port, server.pid = Path(state["folder"]), state["port"], state["pid"]
        server.data = server.folder / "data"
        server._settings = (*SMALL, *FAST)
        return server

    def _started(self) -> Postgres:
        server = Postgres()
        try:
            server.start()
        except BaseException:
            server.close()
            raise
        state = {"folder": str(server.folder), "port": server.port, "pid": server.pid}
        (self._folder / "postgres.json").write_text(json.dumps(state))
        return server

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self._folder / "postgres.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


SHARED = Shared()
"""Of this process. tests/conftest.py closes it when the run is over."""
