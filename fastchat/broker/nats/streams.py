"""JetStream's streams: made where they are missing, and used as they are where they fit."""

from nats.errors import NoRespondersError
from nats.js import JetStreamContext
from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError, ServiceUnavailableError

from fastchat.broker.nats.client import Client

API_TIMEOUT_S = 3.0

_NAME_IN_USE = 10058
_SUBJECTS_OVERLAP = 10065


def jetstream(client: Client) -> JetStreamContext:
    return client.jetstream(timeout=API_TIMEOUT_S)


async def ensure_stream(
    context: JetStreamContext,
    name: str,
    subject: str,
    *,
    retention: RetentionPolicy = RetentionPolicy.LIMITS,
    keep_entries: int = 0,
) -> str:
    """Has a stream keep ``subject``; returns its name, which is another one where somebody has made it.

    ``keep_entries`` is of a stream that is made here: the newest ones, 0 for all. Raises ConnectionError,
    with what to do, where the server has no JetStream, or a stream that does not fit.
    """
    config = StreamConfig(
        name=name,
        subjects=[subject],
        retention=retention,
        storage=StorageType.FILE,
        max_msgs=keep_entries or -1,
    )
    try:
        await context.add_stream(config)
    except (NoRespondersError, ServiceUnavailableError) as error:
        raise ConnectionError(
            "JetStream does not answer; start the NATS server with --jetstream, or set jetstream there"
        ) from error
    except APIError as error:
        if error.err_code == _SUBJECTS_OVERLAP:
            name = await context.find_stream_name_by_subject(subject)
        elif error.err_code != _NAME_IN_USE:
            raise
    else:
        return name
    await _check(context, name, subject, retention)
    return name


async def _check(context: JetStreamContext, name: str, subject: str, retention: RetentionPolicy) -> None:
    """Raises ConnectionError where the stream, made by somebody else, does not do what is needed."""
    try:
        config = (await context.stream_info(name)).config
    except NotFoundError as error:
        raise ConnectionError(f"stream {name} has just been removed") from error
    kept = config.subjects or []
    if not any(covers(pattern, subject) for pattern in kept):
        raise ConnectionError(
            f"stream {name} keeps {', '.join(kept)} and not {subject}: add that to its subjects, "
            "or give broker.name another value"
        )
    if config.no_ack:
        raise ConnectionError(f"stream {name} confirms nothing: set no_ack to false there")
    if retention == RetentionPolicy.WORK_QUEUE and config.retention != retention:
        raise ConnectionError(
            f"stream {name} is no work queue: remove it, so that it is made anew, or make it with "
            "retention workqueue"
        )


def covers(pattern: str, subject: str) -> bool:
    """Whether a stream of ``pattern`` has everything of ``subject``, which may have wildcards too."""
    mine, theirs = pattern.split("."), subject.split(".")
    for place, word in enumerate(mine):
        if word == ">":
            return len(theirs) > place
        if place >= len(theirs) or theirs[place] == ">" or word not in ("*", theirs[place]):
            return False
    return len(mine) == len(theirs)
