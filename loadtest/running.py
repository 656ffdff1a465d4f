"""One scenario from the start of its server to its plots. Locust runs in a process of its own."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from .defaults import DEFAULTS
from .objectives import Unusable, read_objectives
from .saving import save_outcome
from .server import DidNotStart, OwnServer
from .soaking import SHORTEST_JUDGED_S, Sampler, describe_memory, fit_memory

FOLDER = pathlib.Path(__file__).resolve().parent
SAMPLE_INTERVAL_S = 5.0


def run_scenario(options: argparse.Namespace, scenario: str, *, users_part: float = 1.0) -> int:
    """Runs it and returns its exit code: 0, 1 where an objective is not met, 2 where it could not be run."""
    users = options.users or max(1, round(DEFAULTS[scenario].users * users_part))
    time_s = options.time or DEFAULTS[scenario].time_s
    results = pathlib.Path(options.results or pathlib.Path(options.output, f"{scenario}.json"))
    results.unlink(missing_ok=True)
    try:
        read_objectives(pathlib.Path(options.objectives), scenario)  # before anything is started
    except Unusable as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 2
    try:
        with contextlib.ExitStack() as stack:
            server = None
            if not options.host and not options.line:
                settings = (*DEFAULTS[scenario].settings, *options.set)
                log = pathlib.Path(options.output, f"{scenario}-server.log")
                server = stack.enter_context(OwnServer(settings, store=options.store, log=log))
            sampler = stack.enter_context(_sample(options, scenario, server)) if scenario == "soak" else None
            command = [*make_command(options, scenario, users, time_s, server), "--results", str(results)]
            code = _run_locust(command, server, options.restart_signal)
        if server is not None and "Traceback" in server.log:
            print(f"\nThe server's log has a traceback: {log}")
            code = code or 1
    except DidNotStart as error:
        print(f"loadtest: the server did not start:\n{error}", file=sys.stderr)
        return 2
    if not results.exists():
        return code or 2
    outcome = json.loads(results.read_text(encoding="utf-8"))
    if sampler is not None:
        code = max(code, _judge_memory(sampler, outcome))
        results.write_text(json.dumps(outcome, indent=1) + "\n", encoding="utf-8")
    if options.save:
        save_outcome(scenario, outcome, sampler.samples if sampler is not None else [])
    return code


def make_command(
    options: argparse.Namespace, scenario: str, users: int, time_s: float, server: OwnServer | None
) -> list[str]:
    """Locust's command line."""
    host, line = (server.http, server.line) if server else (options.host, options.line)
    start_s = options.start or min(DEFAULTS[scenario].start_s, time_s / 3)
    command = [sys.executable, "-m", "locust", "-f", str(FOLDER / "locustfile.py"), "--headless"]
    command += ["--scenario", scenario, "--users", str(users), "--spawn-rate", f"{users / start_s:.3f}"]
    command += ["--run-time", f"{max(1, round(time_s))}s", "--objectives", options.objectives]
    if host:
        command += ["--host", host if "://" in host else f"http://{host}"]
    if line:
        command += ["--line", line, "--line-share", str(options.line_share)]
    for name in ("rate", "rooms", "every", "text_bytes", "zipf", "shape"):
        if getattr(options, name) is not None:
            command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    if options.processes > 1:
        command += ["--processes", str(options.processes)]
    if options.html:
        command += ["--html", options.html]
    if not options.verbose:
        command += ["--only-summary", "--loglevel", "WARNING"]
        # With it Locust prints no statistics at the end, which would say the same as ours, and less.
        command += ["--json-file", str(pathlib.Path(options.output, f"{scenario}-locust"))]
    if scenario == "herd":
        restart = options.restart_command or f"kill -USR1 {os.getpid()}"
        command += ["--restart-command", restart]
    return command


def _run_locust(command: list[str], server: OwnServer | None, restart_signal: str) -> int:
    number = signal.Signals[f"SIG{restart_signal.upper()}"]

    def restart(*_: Any) -> None:
        assert server is not None
        server.restart(number)

    if server is not None:
        signal.signal(signal.SIGUSR1, restart)
    print(f"$ {shlex.join(command)}", flush=True)
    process = subprocess.Popen(command, cwd=FOLDER.parent, stdin=subprocess.DEVNULL)
    # Whoever is told to stop still says what was measured until then.
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        return process.wait()
    except KeyboardInterrupt:
        return process.wait()  # it has got the same signal
    except DidNotStart:
        process.terminate()
        process.wait()
        raise


@contextlib.contextmanager
def _sample(options: argparse.Namespace, scenario: str, server: OwnServer | None) -> Iterator[Sampler | None]:
    pid = options.sample_pid
    if server is None and pid is None:
        print("loadtest: no memory is watched; name the server's process with --sample-pid", file=sys.stderr)
        yield None
        return
    store = server.store_path if server is not None else None
    path = pathlib.Path(options.output, f"{scenario}.csv")
    print(f"The server's memory is written to {path} every {SAMPLE_INTERVAL_S:.0f} s.", flush=True)
    with Sampler(
        lambda: server.pid if server is not None else pid, store, path, SAMPLE_INTERVAL_S
    ) as sampler:
        yield sampler


def _judge_memory(sampler: Sampler, outcome: dict[str, Any]) -> int:
    try:
        trend = fit_memory(sampler.samples)
    except ValueError as error:
        print(f"\nThe server's memory: {error}.")
        return 0
    text = describe_memory(trend)
    judged = sampler.samples[-1].at_s >= SHORTEST_JUDGED_S
    if not judged:
        text += f" All of it is warm-up: nothing is judged before {SHORTEST_JUDGED_S / 60:.0f} minutes."
    print(f"\n{text}")
    outcome["memory"] = {**vars(trend), "verdict": text}
    return 1 if trend.grows and judged else 0
