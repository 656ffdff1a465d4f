"""An app's own login for tests: it signs tokens and publishes its keys, as badly as a test wants."""

import json
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def jwk_of(private: Ed25519PrivateKey, key_id: str) -> dict[str, Any]:
    """The public half as an issuer publishes it."""
    published: dict[str, Any] = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(private.public_key()))
    return {**published, "kid": key_id, "use": "sig", "alg": "EdDSA"}


class Issuer:
    """Publishes at ``url``; what it answers next is ``status``, ``body`` and ``behaviour``."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b""
        self.headers: Mapping[str, str] = {}
        self.behaviour = "answer"
        self.asked = 0
        self._over = threading.Event()
        self.rotate("first")
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                with suppress(ConnectionError):
                    issuer._answer(self)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False  # closing waits for them
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def rotate(self, key_id: str, *old: str) -> None:
        """Signs with a new key from now on, and publishes no other."""
        self._private = Ed25519PrivateKey.generate()
        self._key_id = key_id
        self.body = json.dumps({"keys": [jwk_of(self._private, key_id)]}).encode()

    def token(self, **claims: Any) -> str:
        """A token of user 42, alice, for an hour."""
        said = {"sub": "42", "name": "alice", "exp": int(time.time()) + 3600, **claims}
        return jwt.encode(said, self._private, "EdDSA", headers={"kid": self._key_id})

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        if self.behaviour == "hang":
            self._over.wait(30)
            return
        request.send_response(self.status)
        for name, value in self.headers.items():
            request.send_header(name, value)
        request.end_headers()
        if self.behaviour == "drip":
            while not self._over.wait(0.01):
                request.wfile.write(b" ")
            return
        if self.behaviour == "flood":
            while not self._over.is_set():
                request.wfile.write(b" " * 65536)
            return
        request.wfile.write(self.body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
