"""Deliveries among the frames that a broker sends, in pieces of any size."""

from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader, ProtocolHeader
from pamqp.heartbeat import Heartbeat

from fastchat.broker.rabbitmq.deliveries import Deliveries

MOST_BYTES = 500

OTHERS = [
    frame.marshal(Heartbeat(), 0),
    frame.marshal(commands.Queue.BindOk(), 1),
    frame.marshal(commands.Channel.Close(404, "NOT_FOUND", 0, 0), 1),
    frame.marshal(commands.Connection.Unblocked(), 0),
]


def delivered(exchange: str, key: str, body: bytes) -> bytes:
    deliver = commands.Basic.Deliver("ctag1", 7, False, exchange, key)
    properties = commands.Basic.Properties(content_type="text/plain", delivery_mode=1)
    parts = [frame.marshal(deliver, 1)]
    parts.append(frame.marshal(ContentHeader(body_size=len(body), properties=properties), 1))
    parts += [
        frame.marshal(ContentBody(body[at : at + MOST_BYTES]), 1) for at in range(0, len(body), MOST_BYTES)
    ]
    return b"".join(parts)


messages = st.tuples(
    st.sampled_from(["", "fastchat.bus"]),
    st.sampled_from(["fc.nodes", "fc.slot.7", "é"]),
    st.sampled_from([b"", b"\xce", b"one", bytes(range(256)) * 9]),
)


@given(st.lists(st.one_of(messages, st.sampled_from(OTHERS)), max_size=12), st.integers(1, 3000))
def test_deliveries_are_taken_and_the_rest_passes(
    sent: list[tuple[str, str, bytes] | bytes], piece: int
) -> None:
    got: list[tuple[str, str, bytes]] = []
    deliveries = Deliveries(lambda exchange, key, body: got.append((exchange, key, body)))
    data = b"".join(one if isinstance(one, bytes) else delivered(*one) for one in sent)
    passed = [deliveries.receive_data(data[at : at + piece]) for at in range(0, len(data), piece)]
    assert got == [one for one in sent if not isinstance(one, bytes)]
    assert b"".join(passed) == b"".join(one for one in sent if isinstance(one, bytes))


def test_another_protocol_passes_as_it_is() -> None:
    deliveries = Deliveries(lambda exchange, key, body: None)
    said = ProtocolHeader(1, 0, 0).marshal()
    assert deliveries.receive_data(said) + deliveries.receive_data(b"HTTP/1.1 400") == said + b"HTTP/1.1 400"
    assert Deliveries(lambda exchange, key, body: None).receive_data(b"HTTP/1.1 400") == b"HTTP/1.1 400"
