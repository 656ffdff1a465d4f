"""The code in docs/hooks.md runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastchat.hooks import collect

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "hooks.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_every_block_is_looked_at() -> None:
    assert len(BLOCKS) == PAGE.count("```python") == 3


@pytest.mark.parametrize("block", [block for block in BLOCKS if "asyncio.Runner" not in block])
def test_modules_on_the_page_are_hooks(block: str) -> None:
    class Module:
        """Stands for the module."""

    module: dict[str, object] = {}
    exec(block, module)
    for name in ("on_message", "on_start"):
        if name in module:
            setattr(Module, name, staticmethod(module[name]))  # type: ignore[arg-type]
    assert len(collect([Module])) == 1


@pytest.mark.parametrize("block", [block for block in BLOCKS if "asyncio.Runner" in block])
def test_programs_on_the_page_run(block: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"127\.0\.0\.1:\d+", done.stdout)
