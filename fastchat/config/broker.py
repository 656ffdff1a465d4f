"""The settings of the broker: RabbitMQ, NATS or Redis. Pure."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from fastchat.config.section import Section, conflict
from fastchat.config.service_url import RABBITMQ, check_broker_url
from fastchat.config.values import ADDRESS_WITH_PASSWORD, Allowed, Word, words

KINDS = ("message", "moderation", "receipt", "presence", "session")


def _broker_url(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return check_broker_url(value) if value else value


def _kind(value: object) -> str:
    if value not in KINDS:
        raise ValueError
    return str(value)


def _queue(value: object) -> str:
    # AMQP 0-9-1, 1.7.2.1 and 3.1.1.1: at most 255 bytes; the prefix is the broker's own.
    if not isinstance(value, str) or not value.isprintable() or len(value.encode()) > 255:
        raise ValueError
    if value.startswith("amq."):
        raise ValueError("names that begin with amq. are RabbitMQ's own")
    return value


class Broker(Section):
    """RabbitMQ, NATS or Redis: tells your services what happens, and connects nodes to each other."""

    url: Annotated[
        str,
        PlainValidator(_broker_url),
        Allowed("amqp://, amqps://, nats://, tls://, redis:// or rediss:// with HOST:PORT, or nothing"),
    ] = Field(
        default="",
        description="Set it to have your services told what happens, and for several nodes; empty is none.",
        json_schema_extra=ADDRESS_WITH_PASSWORD,
        repr=False,
    )
    name: Word = Field(
        default="fastchat",
        description="What all there is named after at the broker; change it where two chats share one.",
    )
    events: Annotated[
        tuple[Annotated[str, PlainValidator(_kind)], ...],
        BeforeValidator(words),
        Allowed(f"some of {', '.join(KINDS)}"),
    ] = Field(
        default=KINDS,
        description="What your services are told; take out what none of them reads. [] tells nothing.",
    )
    directs: Literal["on", "off"] = Field(
        default="off",
        description="on tells also what two people write to each other, such as for an archive.",
    )
    queue: Annotated[
        str, PlainValidator(_queue), Allowed("a queue's name of up to 255 bytes, or nothing")
    ] = Field(
        default="",
        description="RabbitMQ: a durable queue that keeps all events until your service is there.",
    )
    keep_entries: int = Field(
        default=1_000_000,
        ge=0,
        le=10**12,
        description="NATS and Redis: the newest events kept for services that are away; 0 is no limit.",
    )
    inbox: Literal["on", "off"] = Field(
        default="off",
        description="on takes commands from your services, as an operator's: let nobody else write there.",
    )

    @model_validator(mode="after")
    def _check_queue(self) -> Self:
        if self.queue and self.url.partition("://")[0] not in RABBITMQ:
            raise conflict("broker.queue", "left out without RabbitMQ at", "broker.url")
        if self.inbox == "on" and not self.url:
            raise conflict("broker.inbox", "off without", "broker.url")
        return self
