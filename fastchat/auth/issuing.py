"""Tokens for trying things out, made as an app's own login would. Pure: no sockets, clock or await."""

from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fastchat.auth.keys import KeyProblem, pem_key, secret_key, signing_key
from fastchat.auth.tokens import Key, Rules, read_header, verify


class Signer:
    """Signs with a secret, or with the private key of a PEM file. Raises KeyProblem."""

    def __init__(self, *, secret: str = "", pem: bytes = b"") -> None:
        self.key: Key
        self._material: Any
        if secret:
            self.key, self._material = secret_key(secret), secret
        else:
            self._material = signing_key(pem)
            public = self._material.public_key()
            self.key = pem_key(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        (self._algorithm,) = self.key.algorithms

    def sign(self, claims: Mapping[str, Any], rules: Rules, now_ms: int) -> str:
        """A token that a server with these rules and the key believes. Raises WireError where none would."""
        token = jwt.encode(dict(claims), self._material, self._algorithm)
        verify(token, read_header(token, rules), [self.key], rules, now_ms)
        return token


def claims_for(
    user: str, rooms: Mapping[str, str], lifetime_s: float, rules: Rules, now_ms: int
) -> dict[str, Any]:
    """What a token for ``user`` says; ``rooms`` grants by pattern, none means all."""
    now_s = now_ms // 1000
    claims: dict[str, Any] = {"sub": user, "name": user, "iat": now_s, "exp": now_s + round(lifetime_s)}
    if rules.issuer is not None:
        claims["iss"] = rules.issuer
    if rules.audience is not None:
        claims["aud"] = rules.audience
    if rooms:
        claims["rooms"] = dict(rooms)
    return claims


def find_signer(secret: str, pems: list[bytes]) -> Signer | None:
    """Who can sign for these settings: the secret, or the first key file with a private key."""
    if secret:
        return Signer(secret=secret)
    for pem in pems:
        try:
            return Signer(pem=pem)
        except KeyProblem:
            continue  # a public key verifies only
    return None
