"""JSON Web Tokens: what they say, and whether it may be believed. Pure: no sockets, clock or await.

A token's header is read before anything is known of it, so it decides nothing but which keys are tried. Each
key has its own algorithms (``Key.algorithms``); one that the key is not made for is never computed with it,
so a public key is no HMAC secret. ``none`` is no key's algorithm.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from fastchat.messages import Code, WireError
from fastchat.people import Grant, Role

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
SUBJECT_LENGTH_MAX = 256
GRANTS_MAX = 100
KEYS_TRIED_MAX = 10  # where a token does not name its key
TIME_MAX_S = 253_402_300_799  # the year 9999

ROLES: Mapping[str, Role] = {"r": Role.READER, "rw": Role.MEMBER, "rwm": Role.MODERATOR}
"""What may be granted for a room."""

_PATTERN = re.compile(r"[a-z0-9._*?@,-]{1,64}")
_COMPACT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Key:
    """What signatures are verified with, and by which algorithms; ``id`` is its ``kid``."""

    material: Any
    algorithms: frozenset[str]
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token has to be; None for an issuer or audience asks for none."""

    algorithms: frozenset[str] = frozenset(ALGORITHMS)
    issuer: str | None = None
    audience: str | None = None
    leeway_s: float = 30.0
    token_bytes: int = 8192
    expiry_required: bool = True


@dataclass(frozen=True, slots=True)
class Header:
    """What a token says of its signature."""

    algorithm: str
    key_id: str | None


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says that is believed. Times in milliseconds since 1970; the leeway is in them."""

    subject: str
    """Issuer and ``sub``: the same for nobody else."""
    name: str
    """What the issuer calls the user; ``sub`` where it does not. Need not be a name here."""
    grants: Sequence[Grant] | None = None
    issued_at_ms: int | None = None
    expires_at_ms: int | None = None


def read_header(token: str, rules: Rules) -> Header:
    """Which keys to try. Raises WireError (``unauthorized``)."""
    if len(token) > rules.token_bytes:
        raise refusal(f"is longer than {rules.token_bytes} bytes")
    if not _COMPACT.fullmatch(token):
        raise refusal("is not a JSON Web Token")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
        raise refusal("is not a JSON Web Token") from None
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in rules.algorithms:
        raise refusal(f"must be signed by {' or '.join(sorted(rules.algorithms))}")
    return Header(algorithm, key_id if isinstance(key_id, str) else None)


def fitting(keys: Sequence[Key], header: Header) -> list[Key]:
    """The keys that may have signed it."""
    return [
        key
        for key in keys
        if header.algorithm in key.algorithms and (header.key_id is None or key.id in (None, header.key_id))
    ]


def verify(token: str, header: Header, keys: Sequence[Key], rules: Rules, now_ms: int) -> Claims:
    """What the token says, if one of the keys has signed it and it holds now. Raises WireError."""
    for key in fitting(keys, header)[:KEYS_TRIED_MAX]:
        try:
            return _claims(_decode(token, header, key, rules), rules, now_ms)
        except jwt.InvalidSignatureError:
            continue
        except jwt.InvalidAudienceError:
            raise refusal("is for another audience") from None
        except jwt.InvalidIssuerError:
            raise refusal("is from another issuer") from None
        except jwt.MissingRequiredClaimError as error:
            raise refusal(f"has no {error.claim}") from None
        except (jwt.InvalidTokenError, jwt.InvalidKeyError, ValueError, TypeError, RecursionError):
            raise refusal("cannot be read") from None
    raise refusal("is not signed by a key that is known here")


def _decode(token: str, header: Header, key: Key, rules: Rules) -> dict[str, Any]:
    # Times are compared below, with the clock that was given.
    return jwt.decode(
        token,
        key.material,
        algorithms=[header.algorithm],
        audience=rules.audience,
        issuer=rules.issuer,
        options={
            "verify_exp": False,
            "verify_nbf": False,
            "verify_iat": False,
            "require": ["sub", *(["exp"] if rules.expiry_required else [])],
        },
    )


def _claims(payload: Mapping[str, Any], rules: Rules, now_ms: int) -> Claims:
    leeway_ms = rules.leeway_s * 1000
    expires_ms, not_before_ms, issued_ms = (_time_ms(payload, name) for name in ("exp", "nbf", "iat"))
    if expires_ms is not None and now_ms >= expires_ms + leeway_ms:
        raise refusal("has expired; get another one")
    if not_before_ms is not None and now_ms < not_before_ms - leeway_ms:
        raise refusal("is not valid yet")
    if issued_ms is not None and now_ms < issued_ms - leeway_ms:
        raise refusal("was issued in the future; the clocks differ")
    sub, issuer = _text(payload, "sub"), _text(payload, "iss") if "iss" in payload else ""
    return Claims(
        # Neither has a line break.
        f"{issuer}\n{sub}",
        _text(payload, "name") if "name" in payload else sub,
        _grants(payload["rooms"]) if "rooms" in payload else None,
        None if issued_ms is None else int(issued_ms),
        None if expires_ms is None else int(expires_ms + leeway_ms),
    )


def _time_ms(payload: Mapping[str, Any], name: str) -> float | None:
    value = payload.get(name)
    if value is None:
        return None
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value <= TIME_MAX_S:
        raise refusal(f"has no time as {name}")
    return float(value) * 1000


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = payload[name]
    if not isinstance(value, str) or not 0 < len(value) <= SUBJECT_LENGTH_MAX or _UNPRINTABLE.search(value):
        raise refusal(f"must have 1 to {SUBJECT_LENGTH_MAX} printable characters as {name}")
    return value


def _grants(rooms: object) -> tuple[Grant, ...]:
    if not isinstance(rooms, dict) or len(rooms) > GRANTS_MAX:
        raise refusal(f"must have an object of at most {GRANTS_MAX} patterns as rooms")
    if not all(
        _PATTERN.fullmatch(pattern) and isinstance(right, str) and right in ROLES
        for pattern, right in rooms.items()
    ):
        raise refusal(f"must have patterns and {', '.join(ROLES)} in rooms")
    return tuple(Grant(pattern, ROLES[right]) for pattern, right in sorted(rooms.items()))


def refusal(problem: str) -> WireError:
    """What is wrong with a token, without a word of what it has."""
    return WireError(Code.UNAUTHORIZED, f"the token {problem}", field="token")
