"""Makes the authenticator that the settings ask for."""

import time
from collections.abc import Callable

from fastchat.auth.authentication import Authentication, Guests, Policy
from fastchat.auth.passwords import Cost, PasswordPool
from fastchat.config import Address, Settings, is_loopback
from fastchat.config.settings import Auth
from fastchat.store.interface import Directory


def build_passwords(auth: Auth, deliver: Callable[..., object]) -> PasswordPool:
    """The threads that hash; ``deliver(callback, *args)`` runs callbacks in the loop's thread."""
    return PasswordPool(
        deliver,
        threads=auth.password_threads,
        waiting_max=auth.password_queue,
        cost=Cost(auth.password_memory_bytes, auth.password_rounds),
    )


def build_authentication(
    settings: Settings, directory: Directory, passwords: PasswordPool, wall_ms: Callable[[], int]
) -> Authentication:
    """Who is let in by the settings."""
    return Authentication(directory, passwords, policy_of(settings), clock=time.monotonic, wall_ms=wall_ms)


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
    """Whether only this machine can connect."""
    listeners = (settings.http.listen, settings.line.listen)
    return all(is_loopback(each) for each in listeners if isinstance(each, Address))
