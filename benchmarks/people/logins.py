"""What those who are served notice of those who log in: the delay of deliveries, with logins and without.

A room of 1,000 gets messages at a fixed rate. In every other phase a few clients do nothing but log in with
their passwords, one time after the other, so that the server's password threads are never idle. Server,
threads included, has one core; whoever reads and logs in has the other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import socket
import statistics
import threading
from collections.abc import Iterator

from benchmarks.brokers import data_folder
from benchmarks.generator import Generator, Load, generator
from benchmarks.people.measure import Measured
from benchmarks.servers import Server, fastchat
from benchmarks.tuning.clients import encode, read_until
from fastchat.auth.names import name_key
from fastchat.auth.passwords import PasswordPool
from fastchat.messages import WireError
from fastchat.store import open_store
from fastchat.store.interface import Account

RATIO_MAX = 1.5
SUBSCRIBERS = 1_000
RATE = 20.0
CLIENTS = 4
_SECONDS = 4.0
_PASSWORD = "correct horse battery"
_SETTINGS = ('rooms.classes=[{"pattern": "mem-*", "store": "memory"}]', "limits.connections_per_user=0")


@dataclasses.dataclass(frozen=True)
class Phase:
    """Deliveries in one phase, and how many logged in beside them."""

    p50_ms: float
    p99_ms: float
    logins: int
    faults: str


def add_accounts(file: pathlib.Path) -> None:
    """Writes the accounts into a new store, before a server has it."""
    errors: list[object] = []
    store = open_store(f"sqlite://{file}", deliver=lambda callback, *args: callback(*args))
    pool = PasswordPool(lambda callback, *args: callback(*args))
    done = threading.Event()

    def on_added(error: WireError | None) -> None:
        errors.append(error)
        if len(errors) == CLIENTS:
            done.set()

    def on_hash(stored: str | WireError) -> None:
        assert isinstance(stored, str)
        for number in range(CLIENTS):
            store.add_account(Account(_name(number), name_key(_name(number)), stored), on_added)

    pool.hash(_PASSWORD, on_hash)
    if not done.wait(60) or any(errors):
        raise RuntimeError(f"no accounts: {errors}")
    pool.close()
    store.close()


def _name(number: int) -> str:
    return f"login-{number}"


class Logins:
    """Clients that log in, one time after the other, until it is over."""

    def __init__(self, server: Server) -> None:
        self.counts = [0] * CLIENTS
        self._port = server.line_port
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def _run(self, number: int) -> None:
        hello = encode(type="hello", user=_name(number), password=_PASSWORD)
        while not self._over.is_set():
            with socket.create_connection(("127.0.0.1", self._port), 30) as connection:
                connection.sendall(hello)
                read_until(connection, b'"type":"welcome"')
                self.counts[number] += 1

    def __enter__(self) -> Logins:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


@contextlib.contextmanager
def _room(server: Server) -> Iterator[Generator]:
    options: dict[str, int | float | str] = {
        "senders": 1,
        "subscribers": SUBSCRIBERS,
        "text_bytes": 64,
        "rate": RATE,
        "seconds": _SECONDS,
        "room": "mem-logins",
        "prefix": "l",
    }
    with generator(server, "line", "paced", **options) as load:
        load.prefer()
        load.run(20)
        yield load


def measure(quick: bool) -> Measured:
    """Alternates between phases with logins and without."""
    pairs: list[tuple[Phase, Phase]] = []
    with data_folder() as folder:
        file = folder / "fastchat.db"
        add_accounts(file)
        with fastchat(*_SETTINGS, store=f"sqlite://{file}") as server, _room(server) as load:
            for _ in range(2 if quick else 7):
                alone = _phase(load.run(), 0)
                with Logins(server) as logins:
                    result = load.run()
                beside = _phase(result, sum(logins.counts))
                pairs.append((alone, beside))
                print(
                    f"    p99 {alone.p99_ms:6.2f} ms, beside {beside.logins / _SECONDS:.1f} logins/s"
                    f" {beside.p99_ms:6.2f} ms  {alone.faults}{beside.faults}",
                    flush=True,
                )
    return summarize(pairs)


def _phase(load: Load, logins: int) -> Phase:
    return Phase(load.p50_ms, load.p99_ms, logins, load.faults)


def summarize(pairs: list[tuple[Phase, Phase]]) -> Measured:
    """The table, and whether the median of the ratios is what was wanted."""
    ratios = [beside.p99_ms / alone.p99_ms for alone, beside in pairs]
    ratio = statistics.median(ratios)
    rows = ["| | p50, ms | p99, ms | logins/s |", "|---|--:|--:|--:|"]
    for name, phases in (
        ("nobody logs in", [alone for alone, _ in pairs]),
        (f"{CLIENTS} clients do nothing else", [beside for _, beside in pairs]),
    ):
        p50, p99, logins = (
            statistics.median(values)
            for values in zip(*((one.p50_ms, one.p99_ms, one.logins) for one in phases), strict=True)
        )
        rows.append(f"| {name} | {p50:.2f} | {p99:.2f} | {logins / _SECONDS:.1f} |")
    rows.append("")
    rows.append(f"p99 with logins is {ratio:.2f} times that without (at most {RATIO_MAX}).")
    faults = [one.faults for pair in pairs for one in pair if one.faults]
    met = ratio <= RATIO_MAX and not faults and all(beside.logins for _, beside in pairs)
    values = {"pairs": [[dataclasses.asdict(one) for one in pair] for pair in pairs], "ratios": ratios}
    return Measured({"logins": "\n".join(rows)}, values, met, faults, lambda: None)
