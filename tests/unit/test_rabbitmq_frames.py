"""Frames that are put together here: byte for byte those of the library."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from fastchat.broker.rabbitmq.frames import Publisher, encode_short

FRAME_MAX_BYTES = 4096

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)


def of_library(
    channel: int, exchange: str, key: str, body: bytes, properties: commands.Basic.Properties, mandatory: bool
) -> bytes:
    publish = commands.Basic.Publish(exchange=exchange, routing_key=key, mandatory=mandatory)
    parts = [frame.marshal(publish, channel)]
    parts.append(frame.marshal(ContentHeader(body_size=len(body), properties=properties), channel))
    most = FRAME_MAX_BYTES - 8
    parts += [frame.marshal(ContentBody(body[at : at + most]), channel) for at in range(0, len(body), most)]
    return b"".join(parts)


@given(
    channel=st.integers(1, 2047), exchange=st.sampled_from(["", "fastchat.events"]), key=names,
    message_id=names, size=st.integers(0, 13_000),
    headers=st.dictionaries(names.filter(bool), names, max_size=1),
    content_type=st.sampled_from(["", "application/cloudevents+json"]), persistent=st.booleans(),
    mandatory=st.booleans(),
)  # fmt: skip
def test_messages_are_those_of_the_library(
    channel: int, exchange: str, key: str, message_id: str, headers: dict[str, str], size: int,
    content_type: str, persistent: bool, mandatory: bool,
) -> None:  # fmt: skip
    body = bytes(number % 251 for number in range(size))
    publisher = Publisher(
        channel, FRAME_MAX_BYTES, exchange,
        content_type=content_type, persistent=persistent, mandatory=mandatory,
    )  # fmt: skip
    properties = commands.Basic.Properties(
        content_type=content_type or None, headers=dict(headers) or None,
        delivery_mode=2 if persistent else None, message_id=message_id or None,
    )  # fmt: skip
    expected = of_library(channel, exchange, key, body, properties, mandatory)
    assert publisher.encode(key, body, message_id, headers) == expected


def test_names_that_are_too_long_are_refused() -> None:
    assert encode_short("é" * 127) == b"\xfe" + "é".encode() * 127
    with pytest.raises(ValueError, match="255 bytes"):
        encode_short("é" * 128)
