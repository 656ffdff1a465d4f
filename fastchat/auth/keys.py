"""Keys from where they are written: secrets, PEM, JWK sets. Pure: no sockets, clock or await.

A key that cannot be used is an error where the operator named it, and is left out where an issuer publishes
it beside others.
"""

import json
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from fastchat.auth.tokens import Key

SECRET_BYTES_MIN = 32  # RFC 7518, section 3.2: as many as the hash has
RSA_BITS_MIN = 2048  # and section 3.3
KEYS_MAX = 100


class KeyProblem(ValueError):
    """Why something is no key, in words that do not repeat it."""


def secret_key(secret: str) -> Key:
    """A secret that both sides have. Raises KeyProblem."""
    material = secret.encode()
    if len(material) < SECRET_BYTES_MIN:
        raise KeyProblem(f"a secret has {SECRET_BYTES_MIN} bytes at least")
    return Key(material, frozenset({"HS256"}))


def pem_key(pem: bytes) -> Key:
    """The public key in a PEM file, or of the private key in it. Raises KeyProblem."""
    try:
        public: Any = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        public = signing_key(pem).public_key()
    return _public_key(public)


def signing_key(pem: bytes) -> Any:
    """The private key in a PEM file, to sign tokens with. Raises KeyProblem."""
    try:
        return load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyProblem("it is no PEM file with a public key, or a private one without a password") from None


def jwk_keys(document: bytes) -> list[Key]:
    """The keys of a JWK set that can be used here. Raises KeyProblem where there are none."""
    try:
        parsed = json.loads(document)
    except (ValueError, RecursionError):
        raise KeyProblem("it is not JSON") from None
    entries = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(entries, list):
        raise KeyProblem('it has no list "keys"')
    if len(entries) > KEYS_MAX:
        raise KeyProblem(f"it has more than {KEYS_MAX} keys")
    keys = [key for entry in entries if isinstance(entry, dict) and (key := _jwk_key(entry)) is not None]
    if not keys:
        raise KeyProblem("it has no RSA, P-256 or Ed25519 key")
    return keys


def _jwk_key(entry: dict[str, Any]) -> Key | None:
    # A secret that is published is none.
    if entry.get("kty") not in ("RSA", "EC", "OKP") or entry.get("use", "sig") != "sig":
        return None
    operations, key_id = entry.get("key_ops", ["verify"]), entry.get("kid")
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        key = _public_key(jwt.PyJWK(entry).key)
    except (KeyProblem, jwt.PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    if entry.get("alg", next(iter(key.algorithms))) not in key.algorithms:
        return None
    return Key(key.material, key.algorithms, key_id if isinstance(key_id, str) else None)


def _public_key(public: Any) -> Key:
    if isinstance(public, RSAPublicKey):
        if public.key_size < RSA_BITS_MIN:
            raise KeyProblem(f"an RSA key has {RSA_BITS_MIN} bits at least")
        return Key(public, frozenset({"RS256"}))
    if isinstance(public, EllipticCurvePublicKey) and isinstance(public.curve, SECP256R1):
        return Key(public, frozenset({"ES256"}))
    if isinstance(public, Ed25519PublicKey):
        return Key(public, frozenset({"EdDSA"}))
    raise KeyProblem("it is no RSA, P-256 or Ed25519 key")
