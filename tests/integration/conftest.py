"""Fixtures: a running server, and clients that are closed before it stops."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from tests.clients import JsonLinesClient, TextClient, WebSocketClient
from tests.server_process import ServerProcess


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers: `start_server("limits.burst=2", arguments=("--config", path))`; any number of them.

    Their user's data folder is the test's own: `store.url=sqlite:` is a new file, and the next server's, too.
    """
    with ExitStack() as running:

        def start(*settings: str, arguments: tuple[str, ...] = ()) -> ServerProcess:
            environment = {"XDG_DATA_HOME": str(tmp_path)}
            return running.enter_context(
                ServerProcess(*settings, arguments=arguments, environment=environment)
            )

        yield start


@pytest.fixture
def server(request: pytest.FixtureRequest, start_server: Callable[..., ServerProcess]) -> ServerProcess:
    """A running server. `@pytest.mark.settings("limits.burst=2")` on the test or module adds settings."""
    marked = [setting for marker in request.node.iter_markers("settings") for setting in marker.args]
    return start_server(*marked)


@pytest.fixture
async def clients(server: ServerProcess) -> AsyncIterator[AsyncExitStack]:
    """Where clients are entered that end with the test, before the server does."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def json_client(server: ServerProcess, clients: AsyncExitStack) -> Callable[..., Awaitable[JsonLinesClient]]:
    """`await json_client()`: a program on the line port; with a name, it has joined the lobby."""

    async def open_client(user: str | None = None, room: str = "lobby") -> JsonLinesClient:
        client = await clients.enter_async_context(await JsonLinesClient.open(server.line))
        if user is not None:
            await client.hello(user)
            await client.join(room)
        return client

    return open_client


@pytest.fixture
def websocket_client(
    server: ServerProcess, clients: AsyncExitStack
) -> Callable[..., Awaitable[WebSocketClient]]:
    """`await websocket_client()`: like `json_client`, over WebSocket."""

    async def open_client(user: str | None = None, room: str = "lobby") -> WebSocketClient:
        client = await clients.enter_async_context(await WebSocketClient.open(server.http))
        if user is not None:
            await client.hello(user)
            await client.join(room)
        return client

    return open_client


@pytest.fixture
def text_client(server: ServerProcess, clients: AsyncExitStack) -> Callable[[], Awaitable[TextClient]]:
    """`await text_client()`: a person with `nc` who has typed nothing yet."""

    async def open_client() -> TextClient:
        return await clients.enter_async_context(await TextClient.open(server.line))

    return open_client
