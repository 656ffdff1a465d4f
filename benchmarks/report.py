"""Puts the measured tables into the documents: `python -m benchmarks.report [--check]`.

Each command that measures saves its results as `benchmarks/results/NAME.json`, which holds,
beside the raw numbers, finished Markdown under ``tables``: `{"tables": {"peers-fan-out": "| … |"}}`.
What stands in a document between `<!-- table: peers-fan-out -->` and `<!-- end -->` is replaced by it, so
that no table is typed. Tables of docs/scaling.md are computed from what several of them have saved
(`benchmarks/scaling`).
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import sys
from typing import Any

from benchmarks.scaling.inputs import read_inputs
from benchmarks.scaling.tables import tabulate

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_section = re.compile(r"(<!-- table: (?P<name>[a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def save_results(name: str, results: dict[str, Any], tables: dict[str, str]) -> pathlib.Path:
    """Saves what a command has measured, and its tables as Markdown; returns the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {"tables": tables, **results}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_tables() -> dict[str, str]:
    """All tables that have been saved, and those that are computed from what was saved, by name."""
    tables: dict[str, str] = {}
    for path in sorted(RESULTS.glob("*.json")):
        tables |= json.loads(path.read_text(encoding="utf-8")).get("tables", {})
    return tables | tabulate(read_inputs(RESULTS))


def fill(text: str, tables: dict[str, str]) -> str:
    """The document with every section filled. Raises KeyError for a table that nobody has saved."""

    def replace(match: re.Match[str]) -> str:
        return f"{match[1]}{tables[match['name']].strip()}\n{match[3]}"

    return _section.sub(replace, text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit with 1 where a table is stale"
    )
    check = parser.parse_args().check
    tables, stale = read_tables(), []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        filled = fill(text, tables)
        if filled != text:
            stale.append(path.name)
            if not check:
                path.write_text(filled, encoding="utf-8")
    print(f"{'stale' if check else 'written'}: {', '.join(stale) or 'none'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
