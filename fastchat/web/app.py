"""The HTTP application: page, health and errors. Edge: no state; what it reports, it asks for."""

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib import resources
from typing import Literal

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST as METRICS_TYPE
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Route


class ClusterReport(BaseModel):
    """This server among others."""

    node: str = Field(description="names this process among the nodes, until it ends")
    nodes: int = Field(ge=1, description="nodes that are alive, this one included")
    bus: str = Field(description="`ok`, or why there is no way to the others; chat goes on by the store")


class OutboxReport(BaseModel):
    """What other services have not been told yet, counted every few seconds."""

    broker: str = Field(description="`ok`, or why nothing can be sent")
    events: int = Field(ge=0, description="events of rooms that wait, of all nodes")
    notices: int = Field(ge=0, description="sessions, receipts and presence that wait, of all nodes")
    oldest_s: float = Field(ge=0, description="for how long the oldest of them has been waiting")
    dropped: int = Field(ge=0, description="notices that were too many to wait, since the store was made")
    sent: int = Field(ge=0, description="what the broker has confirmed, since the start")


class InboxReport(BaseModel):
    """Commands of other services, since the start."""

    broker: str = Field(description="`ok`, or why none come")
    accepted: int = Field(ge=0)
    rejected: int = Field(ge=0, description="those that went to the dead letters")
    retried: int = Field(ge=0, description="those that were given back, and come again")


class HealthReport(BaseModel):
    """The server's own account of itself. `draining` means: send no new clients here."""

    status: Literal["ok", "draining"] = "ok"
    version: str
    connections: int = Field(ge=0, description="open chat connections, of every protocol")
    rooms: int = Field(ge=0, description="rooms in memory, empty ones included")
    uptime_s: float = Field(ge=0)
    store: str = Field(default="ok", description="`ok`, or why nothing can be stored")
    cluster: ClusterReport | None = None
    outbox: OutboxReport | None = None
    inbox: InboxReport | None = None


class ReadinessReport(BaseModel):
    """Whether clients should be sent here now, and why not."""

    status: Literal["ready", "unavailable"]
    reason: str | None = Field(default=None, description="what is wrong, where something is")
    parts: dict[str, str] = Field(
        default={},
        description="`ok`, or what is wrong with it: `store`, `bus`, and `broker`, which may be away",
    )


class ErrorReport(BaseModel):
    """What every answer that is not a success carries: `code` is for programs, `message` for people."""

    code: str
    message: str


def create_app(
    health: Callable[[], HealthReport],
    readiness: Callable[[], Awaitable[ReadinessReport]],
    metrics: Callable[[], Awaitable[bytes]],
) -> FastAPI:
    """Build the application.

    In the loop `health` is called for each `/healthz`, `readiness` for each `/readyz` and `metrics` for each
    `/metrics`. None of them may block.
    """
    # FastAPI's documentation pages load scripts from elsewhere; the description stays at /openapi.json.
    app = FastAPI(title="fastchat", version="1", docs_url=None, redoc_url=None, redirect_slashes=False)

    # FastAPI, unlike Starlette, does not answer HEAD where it answers GET; and one route for both methods
    # would give two operations the same id in /openapi.json.
    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def get_page() -> HTMLResponse:
        return HTMLResponse(PAGE, headers=PAGE_HEADERS)

    @app.head("/healthz", include_in_schema=False, response_model_exclude_none=True)
    @app.get(
        "/healthz",
        responses={503: {"model": HealthReport, "description": "Draining"}},
        response_model_exclude_none=True,
    )
    async def get_health(response: Response) -> HealthReport:
        """Say how the server is: 200 while it takes clients, 503 once it is draining."""
        report = health()
        response.status_code = 200 if report.status == "ok" else 503
        response.headers["Cache-Control"] = "no-store"
        return report

    @app.head("/readyz", include_in_schema=False, response_model_exclude_none=True)
    @app.get(
        "/readyz",
        responses={503: {"model": ReadinessReport, "description": "Unavailable"}},
        response_model_exclude_none=True,
    )
    async def get_readiness(response: Response) -> ReadinessReport:
        """Say whether to send clients here: 503 while it drains, and while store or bus cannot be used."""
        report = await readiness()
        response.status_code = 200 if report.status == "ready" else 503
        response.headers["Cache-Control"] = "no-store"
        return report

    @app.head("/metrics", include_in_schema=False)
    @app.get("/metrics", response_class=PlainTextResponse)
    async def get_metrics() -> Response:
        """Say what the server counts, for Prometheus."""
        return Response(await metrics(), headers={"Content-Type": METRICS_TYPE, "Cache-Control": "no-store"})

    @app.head("/ws", include_in_schema=False)
    @app.get("/ws", status_code=426, response_model=ErrorReport)
    async def get_websocket() -> Response:
        """Refuse what is no upgrade. Chat never gets here: its protocol takes the socket over before."""
        # RFC 9110, 15.5.22 and 7.8: the answer names the protocol in Upgrade, and Connection names Upgrade.
        return build_error(
            426,
            "upgrade_required",
            "/ws speaks WebSocket: connect with subprotocol fastchat.v1",
            {"Upgrade": "websocket", "Connection": "Upgrade"},
        )

    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(Exception, on_failure)
    return app


def build_page_headers(page: str) -> dict[str, str]:
    """Headers that let the page run its own script and style, talk to its own server, and do nothing else."""
    policy = (
        "default-src 'none'",
        f"script-src {hash_elements(page, 'script')}",
        f"style-src {hash_elements(page, 'style')}",
        "img-src data:",  # the icon
        "connect-src 'self'",  # CSP 3, 6.7.2.8: covers ws: and wss: of the same host and port
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",  # a new server may speak differently: never run an old page against it
    }


def hash_elements(page: str, tag: str) -> str:
    """CSP sources that allow exactly the inline `<tag>` elements of `page`: what is injected stays dead."""
    contents = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = (hashlib.sha256(content.encode()).digest() for content in contents)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def build_error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error answer in the one shape that they all have."""
    return JSONResponse(ErrorReport(code=code, message=message).model_dump(), status, headers)


async def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """Answer what the router refuses: unknown paths, wrong methods."""
    assert isinstance(error, HTTPException)
    path, message, headers = request.scope["path"], error.detail, dict(error.headers or {})
    if error.status_code == HTTPStatus.NOT_FOUND:
        message = (
            f"nothing at {path}: the page is at /, chat at /ws; /healthz, /readyz and /metrics tell of it"
        )
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # The error knows the methods of one route only; RFC 9110, 10.2.1 wants all that the path takes.
        routes = (route for route in request.app.routes if isinstance(route, Route))
        methods = {name for route in routes if route.path_regex.match(path) for name in route.methods or ()}
        headers["Allow"] = ", ".join(sorted(methods))
        message = f"{path} does not take {request.method}; it takes {headers['Allow']}"
    code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return build_error(error.status_code, code, message, headers)


async def on_failure(request: Request, error: Exception) -> JSONResponse:
    """Answer a bug of ours without its details; Starlette raises it again afterwards, for the log."""
    return build_error(500, "internal_error", "the server failed to answer; its log says why")


# Read at import, not in the loop.
PAGE = resources.files(__name__.rpartition(".")[0]).joinpath("page.html").read_text(encoding="utf-8")
PAGE_HEADERS = build_page_headers(PAGE)
