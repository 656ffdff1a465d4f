"""Makes the authenticator that the settings ask for."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from fastchat import log
from fastchat.auth.authentication import Authentication, Guests, Policy
from fastchat.auth.issuing import Signer, claims_for, find_signer
from fastchat.auth.keyring import Issuer, Keyring
from fastchat.auth.keys import KeyProblem, pem_key, secret_key
from fastchat.auth.names import normalize_name
from fastchat.auth.passwords import Cost, PasswordPool
from fastchat.auth.tokens import Key, Rules
from fastchat.config import Address, Settings, is_loopback
from fastchat.config.auth import Auth
from fastchat.errors import StartError
from fastchat.store.interface import Directory

logger = log.get_logger(__name__)


def build_passwords(auth: Auth, deliver: Callable[..., object]) -> PasswordPool:
    """The threads that hash; ``deliver(callback, *args)`` runs callbacks in the loop's thread."""
    return PasswordPool(
        deliver,
        threads=auth.password_threads,
        waiting_max=auth.password_queue,
        cost=Cost(auth.password_memory_bytes, auth.password_rounds),
    )


def build_keyring(
    auth: Auth,
    deliver: Callable[..., object],
    call_later: Callable[[float, Callable[[], None]], object],
) -> Keyring:
    """The keys that tokens are verified with. Asks the issuer at once. Raises StartError."""

    def report(problem: str) -> None:
        logger.warning("keys for tokens could not be fetched", url=auth.jwks_url, problem=problem)

    issuer = Issuer(auth.jwks_url, auth.jwks_timeout_s, auth.jwks_refresh_s, auth.jwks_retry_s)
    keyring = Keyring(
        read_keys(auth),
        issuer if auth.jwks_url else None,
        deliver=deliver,
        call_later=call_later,
        clock=time.monotonic,
        report=report,
    )
    keyring.refresh()
    return keyring


def read_keys(auth: Auth) -> list[Key]:
    """The keys that the settings name. Raises StartError."""
    keys = []
    if secret := read_secret(auth):
        try:
            keys.append(secret_key(secret))
        except KeyProblem as error:
            name = "auth.secret_file" if auth.secret_file else "auth.secret"
            raise StartError(f"cannot use {name}: {error}") from None
    for path in auth.key_files:
        try:
            keys.append(pem_key(read_file("auth.key_files", path)))
        except KeyProblem as error:
            raise StartError(f"cannot use {path} (auth.key_files): {error}") from None
    return keys


def read_secret(auth: Auth) -> str:
    """The secret, from where the settings have it; empty where there is none. Raises StartError."""
    if not auth.secret_file:
        return auth.secret
    try:
        # Editors end files with a line break.
        return read_file("auth.secret_file", auth.secret_file).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise StartError(f"cannot use {auth.secret_file} (auth.secret_file): it is not UTF-8") from None


def read_file(setting: str, path: str) -> bytes:
    """What is in a file that a setting names. Raises StartError."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise StartError(f"cannot read {path} ({setting}): {reason[:1].lower()}{reason[1:]}") from None


def build_authentication(
    settings: Settings,
    directory: Directory,
    passwords: PasswordPool,
    keyring: Keyring,
    wall_ms: Callable[[], int],
) -> Authentication:
    """Who is let in by the settings."""
    return Authentication(
        directory,
        passwords,
        policy_of(settings),
        keyring,
        rules_of(settings.auth),
        clock=time.monotonic,
        wall_ms=wall_ms,
    )


def rules_of(auth: Auth) -> Rules:
    """What tokens have to be."""
    return Rules(
        algorithms=frozenset(auth.algorithms),
        issuer=auth.issuer or None,
        audience=auth.audience or None,
        leeway_s=auth.leeway_s,
        token_bytes=auth.token_bytes,
        expiry_required=auth.token_expiry == "required",
    )


def policy_of(settings: Settings) -> Policy:
    """What the settings allow; ``auto`` is as open as the listeners are closed."""
    auth, alone = settings.auth, listens_alone(settings)
    guests = ("on" if alone else "off") if auth.guests == "auto" else auth.guests
    return Policy(
        guests=Guests(guests),
        registration=alone if auth.registration == "auto" else auth.registration == "on",
        password_length_min=auth.password_length_min,
        attempts=auth.attempts,
        attempts_per_address=auth.attempts_per_address,
        wait_max_s=auth.attempts_wait_max_s,
        registrations_per_address=auth.registrations_per_address,
    )


def listens_alone(settings: Settings) -> bool:
    """Whether only this machine can connect, as far as the settings tell: a proxy brings others in."""
    listeners = (settings.http.listen, settings.line.listen)
    return not settings.http.trusted_proxies and all(
        is_loopback(each) for each in listeners if isinstance(each, Address)
    )


def sign_token(auth: Auth, user: str, rooms: Mapping[str, str], lifetime_s: float, key: Path | None) -> str:
    """A token for development. Raises StartError where there is no key for it, WireError where it is none."""
    signer = _signer(auth, key)
    if signer is None:
        raise StartError(
            "there is nothing to sign with: set auth.secret, or name a private key with --key FILE"
        )
    rules, now_ms = rules_of(auth), time.time_ns() // 1_000_000
    normalize_name(user)
    return signer.sign(claims_for(user, rooms, lifetime_s, rules, now_ms), rules, now_ms)


def _signer(auth: Auth, key: Path | None) -> Signer | None:
    try:
        if key is not None:
            return Signer(pem=read_file("--key", str(key)))
        return find_signer(read_secret(auth), [read_file("auth.key_files", path) for path in auth.key_files])
    except KeyProblem as error:
        raise StartError(f"cannot sign with {key or 'auth.secret'}: {error}") from None
