"""Fixtures: a running server, and people who look at its page."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.visitors import Visitors
from tests.server_process import ServerProcess

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# A busy machine may be slow; nothing waits this long unless it fails.
expect.set_options(timeout=15_000)


# Not for the session: Playwright's loop runs as long as it does, and asynchronous tests want their own.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # Without windows and their own pages it takes a third of the time.
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    assert path is not None, "the tests of the page need Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A running server. `@pytest.mark.settings("limits.burst=2")` on the test adds settings."""
    marked = [setting for marker in request.node.iter_markers("settings") for setting in marker.args]
    with ServerProcess(*marked) as process:
        yield process


@pytest.fixture
def visitors(chromium: Browser) -> Iterator[Visitors]:
    """Opens pages. Fails the test when one of them reports an error to its console."""
    visitors = Visitors(chromium)
    yield visitors
    visitors.leave()
    assert visitors.problems == []
