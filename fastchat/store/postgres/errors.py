"""What goes wrong with a PostgreSQL server, in words, and what that means for what was asked."""

import ssl
from urllib.parse import urlsplit

import asyncpg

from fastchat.store.errors import StoreError


def address(url: str) -> str:
    """Host, port and database, without who asks and how that is proved."""
    parts = urlsplit(url)
    return f"{parts.netloc.rpartition('@')[2] or 'the local socket'}{parts.path}"


def explain(error: BaseException, url: str) -> StoreError:
    """Why a connection could not be made, and what to do about it."""
    where = f"cannot use PostgreSQL at {address(url)}"
    if isinstance(error, StoreError):
        return error
    if isinstance(error, asyncpg.InvalidPasswordError | asyncpg.InvalidAuthorizationSpecificationError):
        return StoreError(f"{where}: {error}; check the user and the password in the store's URL")
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return StoreError(f"{where}: {error}; make it with: createdb {urlsplit(url).path.lstrip('/')}")
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return StoreError(f"{where}: {error}; GRANT CREATE ON DATABASE lets it have a schema of its own")
    if isinstance(error, TimeoutError):
        return StoreError(f"{where}: no answer; check its address and whether it runs")
    if isinstance(error, ssl.SSLError):
        return StoreError(f"{where}: {error}; check sslmode and the certificates in the store's URL")
    if isinstance(error, OSError):
        return StoreError(f"{where}: {error.strerror or error}; check its address and whether it runs")
    return StoreError(f"{where}: {describe(error)}")


def describe(error: BaseException) -> str:
    """What is wrong, in one line; errors that nobody expects say what they are."""
    if isinstance(error, TimeoutError):
        return "PostgreSQL does not answer"
    if isinstance(error, OSError):
        return f"PostgreSQL cannot be reached: {error.strerror or error}"
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError | StoreError):
        return str(error).partition("\n")[0]
    return repr(error)


def is_of_connection(error: BaseException) -> bool:
    """Whether it says nothing of what was asked, whose outcome nobody knows then, only of the connection."""
    if isinstance(error, asyncpg.DataError):
        return False
    # Class 57 has a server that shuts down or has crashed, and a statement that took too long.
    return isinstance(
        error,
        OSError  # TimeoutError is one
        | asyncpg.PostgresConnectionError
        | asyncpg.OperatorInterventionError
        | asyncpg.InterfaceError
        | asyncpg.InternalClientError,
    )


def is_of_others(error: BaseException) -> bool:
    """Whether the same may succeed when it is tried again at once: others were in its way."""
    return isinstance(error, asyncpg.SerializationError | asyncpg.DeadlockDetectedError)


def is_of_data(error: BaseException) -> bool:
    """Whether what was to be stored is to blame."""
    return isinstance(
        error,
        asyncpg.DataError
        | asyncpg.IntegrityConstraintViolationError
        | asyncpg.ProgramLimitExceededError
        | ValueError
        | TypeError,
    )
