"""`python -m loadtest` against a real server: figures, exit codes, and a herd that loses nothing.

Locust runs in processes of its own: it patches the standard library where it is imported.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.server_process import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
UNLIMITED = ("limits.messages_per_s=0", "limits.connections_per_address=0")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loadtest", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def read_lines(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    document = json.loads(path.read_text())
    return {(line["edge"], line["name"]): line for line in document["lines"]}


def test_steady_against_a_server_that_runs(tmp_path: Path) -> None:
    objectives = tmp_path / "objectives.toml"
    objectives.write_text("[steady.failures]\nall = 0\n[steady.delivery]\nmin_count = 1\np99_ms = 60000\n")
    with ServerProcess(*UNLIMITED) as server:
        arguments = ["steady", "--host", server.http, "--line", server.line, "--users", "20", "--time", "6"]
        arguments += ["--line-share", "0.5", "--rooms", "2", "--rate", "100", "--start", "1", "--every", "1"]
        arguments += ["--output", str(tmp_path), "--html", str(tmp_path / "report.html")]
        result = run(*arguments, "--objectives", str(objectives))
        assert result.returncode == 0, result.stdout + result.stderr
        lines = read_lines(tmp_path / "steady.json")
        for edge in ("ws", "line"):
            assert lines[edge, "connect"]["count"] == 10
            for name in ("join", "sent", "delivery"):
                assert lines[edge, name]["percentiles_ms"]["p50"] > 0, name
        assert lines["load", "hub lag"]["count"] > 0
        # Everyone is in both rooms: what is said is delivered to 19 others.
        said = lines["ws", "sent"]["count"] + lines["line", "sent"]["count"]
        assert lines["ws", "delivery"]["count"] + lines["line", "delivery"]["count"] > 5 * said
        assert "delivery" in (tmp_path / "report.html").read_text()

        objectives.write_text("[all.delivery]\np50_ms = 0.0001\n")
        result = run(*arguments, "--objectives", str(objectives))
        assert result.returncode == 1, result.stdout + result.stderr
        rows = [row.split() for row in result.stdout.splitlines() if row.endswith("NOT MET")]
        assert len(rows) == 2
        assert all(float(measured) > 0.0001 for _, _, _, _, measured, *_ in rows)


def test_a_herd_comes_back_and_misses_nothing(tmp_path: Path) -> None:
    """The server is killed while all are talking, over two processes of Locust."""
    result = run(
        *("herd", "--users", "30", "--time", "10", "--start", "1", "--rooms", "3", "--rate", "60"),
        *("--processes", "2", "--output", str(tmp_path)),
    )
    lines = read_lines(tmp_path / "herd.json")
    assert sum(line["failures"] for line in lines.values()) == 0, result.stdout
    assert lines["ws", "return"]["count"] + lines["line", "return"]["count"] == 30
    # Who comes back at once may meet the process that is just ending, and loses that connection, too.
    assert json.loads((tmp_path / "herd.json").read_text())["counts"]["connections lost"] >= 30


@pytest.mark.parametrize("text", ["[all.snet]\np99_ms = 1\n", "nonsense"])
def test_objectives_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    objectives = tmp_path / "objectives.toml"
    objectives.write_text(text)
    result = run(
        "steady", "--host", "127.0.0.1:9", "--objectives", str(objectives), "--output", str(tmp_path)
    )
    assert result.returncode == 2
    assert str(objectives) in result.stderr
    assert "Traceback" not in result.stderr
