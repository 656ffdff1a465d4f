"""A PostgreSQL server of a test's own, run by another user where the tests are root's."""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from tests.services import service
from tests.services.service import Service, Shared, free_port

__all__ = ["PASSWORD", "SHARED", "Postgres", "free_port", "programs", "running"]

USER = "fastchat"
PASSWORD = "of-the-tests"

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


class Postgres(Service):
    """One server. ``fast``: it need not outlive a power cut, which no test makes."""

    settings: Sequence[str] = (*SMALL, *FAST)

    def __init__(self, *, fast: bool = True, settings: Sequence[str] = ()) -> None:
        """``settings`` as on the command line of ``postgres``: ``-c``, ``name=value`` …"""
        super().__init__()
        self.settings = (*SMALL, *(FAST if fast else ()), *settings)
        if (uid := unprivileged()[1]) is not None:
            os.chown(self.folder, uid, -1)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run(
            "initdb", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256",
            f"--username={USER}", f"--pwfile={password}", f"--pgdata={self.data}",
        )  # fmt: skip

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        """Of the database that is there from the start."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def command(self) -> Sequence[str]:
        own = ("-D", str(self.data), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1")
        return [*unprivileged()[0], str(programs() / "postgres"), *own, *self.settings]

    def answers(self) -> bool:
        """It takes connections before it has read its log."""
        ask = [str(programs() / "pg_isready"), "--host=127.0.0.1", f"--port={self.port}", "--timeout=1"]
        return subprocess.run(ask, stdout=subprocess.DEVNULL).returncode == 0

    def stop(self) -> None:
        """Ends it and whatever is under way in it. May be called again."""
        if self.pid is not None:
            self.resume()
            self._end(signal.SIGINT)  # to SIGTERM it waits for its clients to go

    def kill(self) -> None:
        """Ends it by SIGKILL, every process of it."""
        super().kill()
        # Where nobody waits for it, a dead process keeps its id: the next server would take it for alive.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _run(self, program: str, *args: str) -> str:
        done = subprocess.run(
            [*unprivileged()[0], str(programs() / program), *args],
            capture_output=True, text=True, cwd="/", env=os.environ | {"PGPASSWORD": PASSWORD},
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stderr}\n{self.log()}"
        return done.stdout

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


@contextmanager
def running(*, fast: bool = True, settings: Sequence[str] = ()) -> Iterator[Postgres]:
    """A server for one test, which may break it."""
    with service.running(Postgres(fast=fast, settings=settings)) as server:
        yield server


SHARED = Shared(Postgres)
"""Of the test run; tests have databases of their own."""
