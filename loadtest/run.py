"""A run's wiring into Locust: options, the plan, counts of several processes, the verdict at the end."""

from __future__ import annotations

import argparse
import json
import logging
import pathlib
import resource
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import gevent
from gevent.pool import Group
from locust import events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from .chat import Edge
from .connection import connect_line, connect_websocket
from .figures import HUB_LAG_WARNING_MS, Figures, install_rounding
from .objectives import Unusable, format_verdicts, judge, read_objectives
from .options import add_load_options, add_scenario_option, parse_address
from .outcome import Line, format_lines, take_lines
from .plan import make_plan
from .scenarios import SCENARIOS
from .shapes import make_shape
from .timeline import Timeline
from .users import ChatUser, LineUser, WebSocketUser

logger = logging.getLogger("loadtest")
RESTART_AT = 0.3
"""When the scenario herd restarts the server, as a part of the run's time."""


class Run:
    """One Locust process: the master or the only one, which also judges, or a worker."""

    def __init__(self) -> None:
        self.environment: Environment
        self.figures: Figures | None = None
        self.timeline: Timeline | None = None
        self.watchers = Group()
        self.workers_count: Counter[str] = Counter()

    @property
    def options(self) -> Any:
        return self.environment.parsed_options

    @property
    def is_worker(self) -> bool:
        return isinstance(self.environment.runner, WorkerRunner)

    # Locust's events, in the order in which they come.

    def on_init(self, environment: Environment, **_: Any) -> None:
        self.environment = environment
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        install_rounding()
        options = self.options
        options.all_users = options.num_users or 1
        if self.is_worker:
            return
        if isinstance(environment.runner, MasterRunner):
            stop_before_quit(environment.runner)
        share = options.line_share if environment.host else 1.0
        if not options.line:
            share = 0.0
        WebSocketUser.weight, LineUser.weight = 1.0 - share, share
        environment.user_classes[:] = [kind for kind in environment.user_classes if kind.weight > 0]
        if not environment.host and not options.line and options.headless:
            sys.exit("loadtest: say where the server is, with --host or --line")
        try:
            self._read_objectives()
        except Unusable as error:
            sys.exit(f"loadtest: {error}")
        time_s = options.run_time or 60
        environment.shape_class = make_shape(options.shape, options.all_users, time_s)
        if environment.shape_class is not None:
            environment.shape_class.runner = environment.runner

    def on_test_start(self, environment: Environment, **_: Any) -> None:
        """In every process, before the first user; a worker has the master's options by now."""
        options, runner = self.options, environment.runner
        assert runner is not None
        if not self.is_worker:
            options.all_users = max(options.num_users or 1, runner.target_user_count)
        scenario = SCENARIOS[options.scenario]
        self.figures = Figures(environment)
        ChatUser.started = 0
        ChatUser.scenario = scenario
        ChatUser.plan = make_plan(options, scenario.defaults, self.figures)
        ChatUser.edges = {}
        if environment.host:
            address = parse_address(environment.host, 80)
            ChatUser.edges["ws"] = Edge("ws", connect_websocket, address)
        if options.line:
            ChatUser.edges["line"] = Edge("line", connect_line, parse_address(options.line, 8081))
        self.watchers.kill()
        if not isinstance(runner, MasterRunner):
            self.watchers.spawn(self.figures.watch_hub)
        if not self.is_worker:
            # Workers report every three seconds; in between a master would see nothing.
            least_s = 3.0 if isinstance(runner, MasterRunner) else 1.0
            self.timeline = Timeline(environment.stats, options.run_time or 60, least_s=least_s)
            self.watchers.spawn(self.timeline.watch, lambda: runner.user_count)

    def on_spawning_complete(self, **_: Any) -> None:
        plan = ChatUser.plan
        if self.options.restart_command and not self.is_worker and not plan.all_started.is_set():
            self.watchers.spawn(self._restart)
        plan.all_started.set()

    def on_report_to_master(self, data: dict[str, Any], **_: Any) -> None:
        if self.figures is not None:
            data["counts"] = dict(self.figures.count)
            self.figures.count.clear()

    def on_worker_report(self, data: dict[str, Any], **_: Any) -> None:
        self.workers_count.update(data.get("counts", {}))

    def on_quitting(self, environment: Environment, **_: Any) -> None:
        if self.is_worker or self.figures is None or environment.stats.num_requests == 0:
            return
        lines = take_lines(environment.stats)
        counts = self.figures.count + self.workers_count
        print(f"\n{self.options.scenario}: {self.options.all_users} users\n\n{format_lines(lines)}\n")
        print(", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())))
        for error in environment.stats.errors.values():
            print(f"failed {error.occurrences} times: {error.method} {error.name}: {error.error}")
        warn_of_lag(lines)
        verdicts = judge(self._read_objectives(), lines)
        if verdicts:
            print(f"\n{format_verdicts(verdicts)}")
            environment.process_exit_code = 0 if all(verdict.met for verdict in verdicts) else 1
        if self.options.results:
            self._write_results(lines, counts)
        sys.stdout.flush()

    # The master's part.

    def _read_objectives(self) -> dict[str, dict[str, float]]:
        if not self.options.objectives:
            return {}
        return read_objectives(pathlib.Path(self.options.objectives), self.options.scenario)

    def _restart(self) -> None:
        gevent.sleep(RESTART_AT * (self.options.run_time or 60))
        logger.info("Restarting the server: %s", self.options.restart_command)
        # gevent has patched it: only this greenlet waits.
        code = subprocess.run(self.options.restart_command, shell=True, check=False).returncode
        if code and self.figures is not None:
            self.figures.fail("load", "refused", f"the restart command ended with {code}")

    def _write_results(self, lines: list[Line], counts: Counter[str]) -> None:
        document = {
            "scenario": self.options.scenario,
            "users": self.options.all_users,
            "time_s": self.options.run_time,
            "rate": ChatUser.plan.rate,
            "rooms": ChatUser.plan.room_count,
            "at": int(time.time()),
            "lines": [{**vars(line), "percentiles_ms": dict(line.percentiles_ms)} for line in lines],
            "counts": dict(counts),
            "timeline": self.timeline.points if self.timeline else [],
        }
        path = pathlib.Path(self.options.results)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def warn_of_lag(lines: list[Line]) -> None:
    for line in lines:
        lag_ms = line.percentiles_ms.get("p95", 0.0)
        if line.name == "hub lag" and lag_ms > HUB_LAG_WARNING_MS:
            print(
                f"warning: the load generator was {lag_ms:.0f} ms late at p95: its delays are in here. "
                "Use more --processes, or fewer users."
            )


def stop_before_quit(master: Any) -> None:
    """Has a master that quits stop its workers first, and wait for that.

    `quit` alone waits half a second for the last reports of workers. To close thousands of connections takes
    longer, and only then it shows whether messages were lost.
    """
    quit_at_once = master.quit

    def stop_and_quit() -> None:
        master.stop()
        quit_at_once()

    master.quit = stop_and_quit


def add_options(parser: argparse.ArgumentParser) -> None:
    add_scenario_option(parser)
    add_load_options(parser)


def install() -> list[type[ChatUser]]:
    """Adds all of it to Locust, and returns its user classes."""
    run = Run()
    hooks: Any = events
    hooks.init_command_line_parser.add_listener(add_options)
    hooks.init.add_listener(run.on_init)
    hooks.test_start.add_listener(run.on_test_start)
    hooks.spawning_complete.add_listener(run.on_spawning_complete)
    hooks.report_to_master.add_listener(run.on_report_to_master)
    hooks.worker_report.add_listener(run.on_worker_report)
    hooks.quitting.add_listener(run.on_quitting)
    return [WebSocketUser, LineUser]
