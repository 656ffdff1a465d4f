"""A connection to a NATS server: the library's client, made to let go of a server that does not answer."""

import asyncio
from collections.abc import Callable, Mapping

from nats.aio.client import Client as LibraryClient
from nats.errors import Error, UnexpectedEOF

from fastchat.broker.address import Address, parse_addresses
from fastchat.broker.interface import BrokerError
from fastchat.broker.link import ANSWER_TIMEOUT_S, PING_INTERVAL_S, Link

CONNECT_TIMEOUT_S = 3
UNANSWERED_BYTES = 1 << 20
"""After so much a publisher waits until the server has read it."""

PENDING_BYTES = 1 << 30
"""Never reached: the library would wait for the socket there, and could not be cancelled."""

Receive = Callable[[str, bytes, str, Mapping[str, str]], None]
"""Called with subject, payload, the subject to answer to, and headers."""


class Client(LibraryClient):
    """One connection; when it is lost, that is the end of this object."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.lost = asyncio.Event()
        self._addresses = parse_addresses(url)
        self._receivers: dict[int, Receive] = {}
        self._reason: Exception | None = None
        self._unanswered_bytes = 0

    async def open(self, name: str, *, no_echo: bool = False) -> None:
        """Connects to one of the servers. Raises BrokerError where they refuse user or password."""
        first = self._addresses[0]
        user, password, token = _credentials(first)
        try:
            await self.connect(
                [f"{one.scheme}://{one.where}" for one in self._addresses],
                name=name, user=user, password=password, token=token,
                error_cb=self._on_error, closed_cb=self._on_closed,
                allow_reconnect=False, max_reconnect_attempts=1, reconnect_time_wait=0,
                connect_timeout=CONNECT_TIMEOUT_S, no_echo=no_echo, pending_size=PENDING_BYTES,
            )  # fmt: skip
        except Error as error:
            if "authorization" in str(error).lower() or "authentication" in str(error).lower():
                raise BrokerError(
                    f"NATS at {first.where} refuses the user, password or token in broker.url"
                ) from None
            raise self._reason or error from None

    async def _process_pong(self) -> None:
        # Where nobody waits for an answer any more, the library takes it for a fault of the connection.
        if self._pongs and self._pongs[0].done():
            self._pongs.pop(0)
            self._pings_outstanding = 0
        else:
            await super()._process_pong()

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        # uvloop raises where asyncio only warns: the connection is closed, and the library does not know yet.
        try:
            await super()._send_ping(future)
        except RuntimeError as error:
            raise ConnectionError("the connection is lost") from error

    async def post(
        self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Publishes. What one turn of the loop posts is written together, in the next one."""
        await self.publish(subject, payload, reply, headers)
        self._unanswered_bytes += len(payload)
        if self._unanswered_bytes >= UNANSWERED_BYTES:
            self._unanswered_bytes = 0
            await self.flush()

    async def receive(self, subject: str, receive: Receive, *, queue: str = "") -> int:
        """Subscribes; ``receive`` is called as messages arrive, in their order whatever the subject.

        Returns the subscription's number, for `stop_receiving`.
        """
        # The library would call back in a task for each subscription: subjects would overtake each other.
        subscription = await self.subscribe(subject, queue=queue)
        self._receivers[subscription._id] = receive
        return subscription._id

    async def stop_receiving(self, number: int) -> None:
        self._receivers.pop(number, None)
        if (subscription := self._subs.get(number)) is not None:
            await subscription.unsubscribe()

    async def watch(self) -> None:
        """Pings; raises when the connection is lost or the server does not answer."""
        while True:
            try:
                async with asyncio.timeout(PING_INTERVAL_S):
                    await self.lost.wait()
            except TimeoutError:
                await self.rtt(timeout=ANSWER_TIMEOUT_S)  # type: ignore[arg-type]
            else:
                raise self._reason or ConnectionError("connection lost")

    async def let_go(self) -> None:
        """Closes at once; the library would first wait until a server that is paused has read everything."""
        self._pending.clear()
        self._pending_data_size = 0
        for subscription in tuple(self._subs.values()):
            subscription._stop_processing()
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        await self.close()

    # What the library calls

    def _connect_command(self) -> bytes:
        # Who asks for TLS does not want a password sent without it, whatever the server says of itself.
        if self._addresses[0].scheme == "tls" and not self._server_info.get("tls_required"):
            raise BrokerError("the NATS server does not use TLS: set tls there, or nats:// in broker.url")
        return super()._connect_command()

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        receive = self._receivers.get(sid)
        if receive is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        parsed = await self._process_headers(headers) if headers else None
        receive(subject.decode(), data, reply.decode(), parsed or {})

    async def _on_error(self, error: Exception) -> None:
        self._reason = error
        if self.is_connected and isinstance(error, UnexpectedEOF):
            self.lost.set()

    async def _on_closed(self) -> None:
        self.lost.set()


def _credentials(address: Address) -> tuple[str | None, str | None, str | None]:
    if address.password is None:
        return None, None, address.user
    return address.user, address.password, None


class NatsLink(Link):
    """A link whose connection is a `Client`."""

    def __init__(self, url: str, role: str) -> None:
        super().__init__(url, role)
        self._client: Client | None = None

    async def _open(self, *, no_echo: bool = False) -> Client:
        client = self._client = Client(self._url)
        await client.open(f"fastchat {self._role}", no_echo=no_echo)
        return client

    async def _finish(self) -> None:
        # What was posted last may still be with the library, which lets go of it without a word.
        if self._client is not None:
            await self._client.flush()

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.let_go()
