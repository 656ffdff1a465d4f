"""The HTTP application, called as ASGI: no socket, no server."""

import json
import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI

from fastchat.web.app import HealthReport, ReadinessReport, create_app, hash_elements

REPORT = HealthReport(version="1.2.3", connections=5, rooms=2, uptime_s=1.5)


@dataclass
class Exchange:
    """One request without a body, and its answer as far as it has come."""

    method: str
    path: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def scope(self) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [(b"host", b"chat.example")],
            "server": ("chat.example", 80),
            "client": ("192.0.2.1", 5000),
        }

    async def receive(self) -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message.get("body", b"")


async def request(
    method: str, path: str, report: HealthReport = REPORT, problem: str | None = None
) -> Exchange:
    exchange = Exchange(method, path)
    await app(lambda: report, problem)(exchange.scope, exchange.receive, exchange.send)
    return exchange


def app(health: Callable[[], HealthReport], problem: str | None = None) -> FastAPI:
    async def readiness() -> ReadinessReport:
        if problem is None:
            return ReadinessReport(status="ready", parts={"store": "ok"})
        return ReadinessReport(status="unavailable", reason=problem)

    async def metrics() -> bytes:
        return b"# EOF\n"

    return create_app(health, readiness, metrics)


async def test_page() -> None:
    answer = await request("GET", "/")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-cache"
    assert b"<title>fastchat</title>" in answer.body


async def test_page_is_small_and_stands_alone() -> None:
    page = (await request("GET", "/")).body.decode()
    assert len(page.splitlines()) < 350
    assert len(page.encode()) < 1 << 15
    assert not re.search(
        r"<link[^>]*href=\"(?!data:)|\bsrc=|@import|https?://(?!www\.w3\.org/2000/svg)", page
    )
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", page)


async def test_policy_allows_what_is_in_the_page_and_nothing_else() -> None:
    answer = await request("GET", "/")
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    page = answer.body.decode()
    assert policy == {
        "default-src": "'none'",
        "script-src": hash_elements(page, "script"),
        "style-src": hash_elements(page, "style"),
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert policy["script-src"].startswith("'sha256-")
    assert policy["style-src"].startswith("'sha256-")


def test_hash_elements_of_a_known_script() -> None:
    # The example of Content Security Policy Level 2, section 4.2.5 (hash usage for script elements).
    page = "<body><script>alert('Hello, world.');</script></body>"
    assert hash_elements(page, "script") == "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='"


async def test_health() -> None:
    answer = await request("GET", "/healthz")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert json.loads(answer.body) == {
        "status": "ok",
        "version": "1.2.3",
        "connections": 5,
        "rooms": 2,
        "uptime_s": 1.5,
        "store": "ok",
    }


async def test_health_turns_new_clients_away_while_draining() -> None:
    answer = await request("GET", "/healthz", REPORT.model_copy(update={"status": "draining"}))
    assert answer.status == 503
    assert json.loads(answer.body)["status"] == "draining"


async def test_websocket_path_without_upgrade() -> None:
    answer = await request("GET", "/ws")
    assert answer.status == 426
    assert answer.headers["upgrade"] == "websocket"
    assert answer.headers["connection"] == "Upgrade"
    assert json.loads(answer.body) == {
        "code": "upgrade_required",
        "message": "/ws speaks WebSocket: connect with subprotocol fastchat.v1",
    }


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_readiness(method: str) -> None:
    answer = await request(method, "/readyz")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.body == b'{"status":"ready","parts":{"store":"ok"}}'
    answer = await request(method, "/readyz", problem="database or disk is full")
    assert answer.status == 503
    assert json.loads(answer.body)["status"] == "unavailable"
    assert json.loads(answer.body)["reason"] == "database or disk is full"


async def test_metrics_are_text_for_prometheus() -> None:
    answer = await request("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert answer.body == b"# EOF\n"


@pytest.mark.parametrize("path", ["/nothing", "/docs", "/redoc", "/ws/", "/healthz/deeper", "//"])
async def test_unknown_path(path: str) -> None:
    answer = await request("GET", path)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body) == {
        "code": "not_found",
        "message": f"nothing at {path}: the page is at /, chat at /ws; /healthz, /readyz and /metrics tell of it",  # noqa: E501
    }


async def test_method_that_a_path_does_not_take() -> None:
    answer = await request("POST", "/healthz")
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"
    assert json.loads(answer.body) == {
        "code": "method_not_allowed",
        "message": "/healthz does not take POST; it takes GET, HEAD",
    }


async def test_failure_keeps_its_details_to_the_log() -> None:
    def health() -> HealthReport:
        raise ZeroDivisionError("a secret")

    exchange = Exchange("GET", "/healthz")
    with pytest.raises(ZeroDivisionError):
        await app(health)(exchange.scope, exchange.receive, exchange.send)
    assert exchange.status == 500
    assert json.loads(exchange.body) == {
        "code": "internal_error",
        "message": "the server failed to answer; its log says why",
    }


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/metrics", "/ws", "/openapi.json", "/nothing"])
async def test_head_answers_as_get(path: str) -> None:
    head, get = await request("HEAD", path), await request("GET", path)
    assert (head.status, head.headers) == (get.status, get.headers)


async def test_description() -> None:
    answer = await request("GET", "/openapi.json")
    description = json.loads(answer.body)
    assert description["info"] == {"title": "fastchat", "version": "1"}
    assert set(description["paths"]) == {"/healthz", "/readyz", "/metrics", "/ws"}
    assert set(description["paths"]["/healthz"]) == {"get"}
    assert set(description["paths"]["/healthz"]["get"]["responses"]) == {"200", "503"}
    assert set(description["paths"]["/ws"]["get"]["responses"]) == {"426"}
