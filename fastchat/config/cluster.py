"""The settings of several nodes that are one chat, and which others these need. Pure."""

from pydantic import Field
from pydantic_core import PydanticCustomError

from fastchat.config.section import Section, refusal
from fastchat.config.service_url import POSTGRESQL
from fastchat.config.values import Word


class Cluster(Section):
    """Several nodes, or workers, that are one chat: all that have a store in PostgreSQL and a broker."""

    name: Word = Field(
        default="fastchat",
        description="The chat's name among nodes and in events; the same on all, another for each chat.",
    )
    node_timeout_s: float = Field(
        default=5,
        ge=1,
        le=600,
        description="A node silent for so long is taken for dead, and its people for gone.",
    )
    compare_interval_s: float = Field(
        default=5,
        ge=0.1,
        le=3600,
        description="How often a node asks the store what the bus may have lost; lower it for quiet rooms.",
    )


def is_postgresql(store_url: str) -> bool:
    """Whether the store is in PostgreSQL."""
    return store_url.partition("://")[0] in POSTGRESQL


def is_cluster(store_url: str, broker_url: str) -> bool:
    """Whether a server with these two is a node among others."""
    return is_postgresql(store_url) and bool(broker_url)


def problem_of_nodes(
    store_url: str, broker_url: str, workers: int, memory_classes: list[str]
) -> PydanticCustomError | None:
    """Why these settings don't go together; ``memory_classes`` are patterns of rooms kept in memory."""
    if workers > 1 and not is_cluster(store_url, broker_url):
        missing = [
            *([] if is_postgresql(store_url) else ["store.url to postgresql://USER:PASSWORD@HOST/DATABASE"]),
            *([] if broker_url else ["broker.url to amqp://, nats:// or redis:// HOST:PORT"]),
        ]
        return refusal(
            f"server.workers: {workers} workers are one chat only over a store and a broker that they share; "
            f"set {' and '.join(missing)}, or server.workers to 1"
        )
    if memory_classes and is_cluster(store_url, broker_url):
        return refusal(
            f"rooms.classes: the rooms {memory_classes[0]!r} are kept in memory, which the other nodes don't "
            'see; take store = "memory" out, and say with keep_events or keep_age_s how little is to be kept'
        )
    return None
