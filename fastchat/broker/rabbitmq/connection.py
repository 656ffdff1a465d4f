"""A connection to RabbitMQ: the library's, over a socket of ours that can be let go at once.

aio-pika's robust connection is not used: it comes back after a fixed time, all clients of a broker at once;
it does not say why it is away; and it publishes into a connection that the broker has blocked. So this is the
connection below it, aiormq's, and `Link` brings it back.
"""

import asyncio
import logging
import ssl
from contextlib import suppress
from typing import Any

from aiormq.connection import Connection, TransportFactory
from aiormq.exceptions import (
    AMQPConnectionError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelLockedResource,
    ChannelPreconditionFailed,
    ConnectionClosed,
    ProbableAuthenticationError,
)
from pamqp import commands, frame
from pamqp.exceptions import PAMQPException
from pamqp.heartbeat import Heartbeat
from yarl import URL

from fastchat.broker.interface import BrokerError
from fastchat.broker.link import ANSWER_TIMEOUT_S, Link
from fastchat.broker.rabbitmq.channel import Channel
from fastchat.broker.rabbitmq.deliveries import Deliveries, OnDelivery
from fastchat.log import get_logger

HEARTBEAT_S = 2
"""Both sides say something every second; the broker cuts off who says nothing for twice as long as this."""
WATCH_INTERVAL_S = 0.25
READ_BUFFER_BYTES = 256 * 1024

_HEARTBEAT = frame.marshal(Heartbeat(), 0)

_NOT_ALLOWED = 530
_ACCESS_REFUSED = 403

# What goes wrong is told once, in words and without the address, by the link.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)

_logger = get_logger(__name__)


class _Reader(asyncio.StreamReader):
    """Remembers when it has last heard anything: what the library knows of it, it keeps to itself.

    ``on_delivery`` gets all deliveries, and the library none. A server that always has some to send sends no
    heartbeats beside them, and the library would take it for gone: of what it is not given it hears as of a
    heartbeat.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, on_delivery: OnDelivery | None) -> None:
        super().__init__(limit=READ_BUFFER_BYTES, loop=loop)
        self._deliveries = None if on_delivery is None else Deliveries(on_delivery)
        self._clock = loop.time
        self._passed_on_at = self.heard_at = loop.time()
        self.heard = b""

    def feed_data(self, data: Any) -> None:
        self.heard_at = self._clock()
        self.heard = data = bytes(data)
        if self._deliveries is not None:
            data = self._deliveries.receive_data(data)
            if data:
                self._passed_on_at = self.heard_at
            elif self.heard_at - self._passed_on_at > WATCH_INTERVAL_S:
                # Nothing else is on its way: what is passed on are whole frames.
                self._passed_on_at, data = self.heard_at, _HEARTBEAT
        super().feed_data(data)


class Transport(TransportFactory):
    """Opens the one socket of one connection, and lets go of it."""

    def __init__(self, on_delivery: OnDelivery | None = None) -> None:
        self._on_delivery = on_delivery
        self._reader: _Reader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        context = await kwargs["ssl_context_provider"].get_context() if url.scheme == "amqps" else None
        reader = self._reader = _Reader(loop, self._on_delivery)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        assert url.host is not None
        assert url.port is not None
        transport, _ = await loop.create_connection(lambda: protocol, url.host, url.port, ssl=context)
        self._writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        return reader, self._writer

    @property
    def silent_s(self) -> float:
        """For how long nothing has come."""
        return 0.0 if self._reader is None else asyncio.get_running_loop().time() - self._reader.heard_at

    @property
    def goodbye(self) -> commands.Connection.Close | None:
        """What the server said last, if that was why it does not want this connection.

        The library loses the reason where it asks for a virtual host: it has only another answer in mind.
        """
        if self._reader is None or not self._reader.heard:
            return None
        with suppress(PAMQPException):
            said = frame.unmarshal(self._reader.heard)[2]
            return said if isinstance(said, commands.Connection.Close) else None
        return None

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()


class _Connection(Connection):
    """Knows its tasks, of which the library ends some later than it says that it is closed."""

    def __init__(self, url: URL, transport: Transport) -> None:
        super().__init__(url, transport_factory=transport)
        self.tasks: set[asyncio.Task[Any]] = set()

    def create_task(self, coro: Any) -> Any:
        wrapper: Any = super().create_task(coro)
        self.tasks.add(wrapper.task)
        wrapper.task.add_done_callback(self.tasks.discard)
        return wrapper

    async def end(self) -> None:
        """Waits until all of them are over."""
        while self.tasks:
            await asyncio.wait(self.tasks)
        await asyncio.sleep(0)  # for the library's task that has waited for these


class RabbitLink(Link):
    """A link with one connection and one channel in it."""

    def __init__(self, url: str, role: str) -> None:
        super().__init__(url, role)
        self._library_url = URL(url).update_query(heartbeat=str(HEARTBEAT_S))
        self._transport = Transport()
        self._connection: _Connection | None = None
        self._channel: Channel | None = None
        self._blocked = False
        self._is_closing = False

    @property
    def problem(self) -> str | None:
        if self._problem is None and self._channel is not None:
            # The link is told in a later turn of the loop.
            if self._channel.is_closed or self._channel.lost.done():
                return f"{self.where}: the connection is lost"
            if self._blocked:
                return f"RabbitMQ at {self.where} takes no messages: it is short of memory or disk space"
        return self._problem

    async def _open(self, *, confirms: bool, on_delivery: OnDelivery | None = None) -> Channel:
        """Connects. Raises BrokerError where user, password or virtual host are refused.

        ``on_delivery`` is called in the loop's thread as soon as a message has arrived; such need no answer.
        """
        self._transport = Transport(on_delivery)
        self._connection = _Connection(self._library_url, self._transport)
        properties: dict[str, Any] = {"product": "fastchat", "connection_name": f"fastchat {self._role}"}
        try:
            await self._connection.connect(client_properties=properties)
            channel = self._channel = Channel(self._connection, 1, confirms=confirms)
            self._connection.channels[1] = channel
            await channel.open()
        except Exception as error:
            goodbye = self._transport.goodbye
            if goodbye is not None and not isinstance(
                error, AuthenticationError | ProbableAuthenticationError
            ):
                raise self._explained(ConnectionClosed(goodbye.reply_code, goodbye.reply_text)) from None
            raise self._explained(error) from None
        return channel

    async def _watch(self) -> None:
        """Raises when the connection is lost or the server says nothing; sees when the server is full."""
        assert self._channel is not None
        assert self._connection is not None
        lost = self._channel.lost
        while True:
            await asyncio.wait({lost}, timeout=WATCH_INTERVAL_S)
            if self._is_closing:
                await asyncio.get_running_loop().create_future()  # until the keeper is cancelled
            if lost.done() or self._channel.is_closed or self._connection.is_closed:
                reason = lost.result() if lost.done() else None
                raise self._explained(await _reason(self._connection, reason))
            if self._transport.silent_s > ANSWER_TIMEOUT_S:
                raise TimeoutError
            self._set_blocked(not await _takes_messages(self._connection))

    def _set_blocked(self, blocked: bool) -> None:
        if blocked != self._blocked:
            self._blocked = blocked
            if blocked:
                _logger.warning("broker full", role=self._role, server=self.where, reason=self.problem)
            else:
                _logger.info("broker takes messages again", role=self._role, server=self.where)

    async def _finish(self) -> None:
        # Said goodbye, so that what was written last arrives and the broker's log has no warning.
        self._is_closing = True
        if self._connection is not None and self._channel is not None:
            await self._channel.flush()
            await self._connection.close()

    async def close(self) -> None:
        await super().close()
        # Where it was cancelled in the middle of this.
        await self._let_go()

    async def _disconnect(self) -> None:
        self._blocked = False
        self._channel = None
        self._transport.abort()
        if self._connection is not None:
            with suppress(AMQPConnectionError):
                await self._connection.close(ConnectionError("the connection is let go"))
            await self._connection.end()
            self._connection = None

    def _explained(self, error: BaseException) -> Exception:
        """The same in words of the settings, as BrokerError where only these can mend it."""
        code, text = _code(error), _text(error)
        place = f"RabbitMQ at {self.where}"
        if isinstance(error, AuthenticationError | ProbableAuthenticationError):
            return BrokerError(f"{place} refuses the user or password in broker.url")
        if code == _NOT_ALLOWED:
            return BrokerError(
                f"{place} has no virtual host as in broker.url, or not for this user: create it with "
                f"`rabbitmqctl add_vhost`, allow it with `rabbitmqctl set_permissions` ({text})"
            )
        if isinstance(error, ChannelPreconditionFailed):
            return BrokerError(
                f"{place} has it otherwise than fastchat needs it: delete it there, or choose another "
                f"broker.name or broker.queue ({text})"
            )
        if isinstance(error, ChannelAccessRefused) or code == _ACCESS_REFUSED:
            return BrokerError(f"{place} does not let this user do that: allow it there ({text})")
        if isinstance(error, ChannelLockedResource):
            return BrokerError(f"{place} has it in use by another program alone ({text})")
        if isinstance(error, ssl.SSLError):
            return BrokerError(f"{place} cannot be spoken to with TLS ({text})")
        if isinstance(error, TimeoutError | OSError) and not isinstance(error, AMQPConnectionError):
            return error
        return ConnectionError(text)


async def _takes_messages(connection: Connection) -> bool:
    """The library tells it by making who asks wait."""
    asking = asyncio.ensure_future(connection.ready())
    try:
        return bool((await asyncio.wait({asking}, timeout=0))[0])
    finally:
        asking.cancel()


async def _reason(connection: Connection, of_channel: BaseException | None) -> BaseException:
    """Why a connection is lost: what ended the channel, unless that was the end of the connection."""
    if isinstance(of_channel, Exception):
        return of_channel
    closing = connection.closing
    await asyncio.wait({closing}, timeout=WATCH_INTERVAL_S)
    if closing.done() and not closing.cancelled() and isinstance(closing.exception(), Exception):
        return closing.exception() or ConnectionError()
    return ConnectionError("the connection is lost")


def _code(error: BaseException) -> int:
    if isinstance(error, ConnectionClosed) and error.args and isinstance(error.args[0], int):
        return error.args[0]
    return 530 if type(error).__name__ == "ConnectionNotAllowed" else 0


def _text(error: BaseException) -> str:
    """What the broker has said, without the library's tuples around it."""
    texts = [str(part) for part in error.args if isinstance(part, str) and part]
    return texts[-1] if texts else str(error) or type(error).__name__
