"""Events to other services by a JetStream stream: pipelined, confirmed, and known by their ids."""

import asyncio
from collections.abc import Mapping, Sequence

import orjson
from nats.errors import Error, MaxPayloadError

from fastchat.broker.interface import Outgoing
from fastchat.broker.link import ANSWER_TIMEOUT_S
from fastchat.broker.nats import subjects
from fastchat.broker.nats.client import Client, NatsLink
from fastchat.broker.nats.streams import ensure_stream, jetstream
from fastchat.log import get_logger

HEADERS_BYTES = 512
"""What is left of the server's max_payload for the id and what names it."""

_logger = get_logger(__name__)


class NatsEvents(NatsLink):
    """The stream is ``FASTCHAT_EVENTS`` with subjects ``fastchat.events.>``, where fastchat is the name.

    Nats-Msg-Id is the event's id: what is sent again soon enough (the stream's duplicate window, two minutes
    unless it says otherwise) is not kept twice.
    """

    def __init__(self, url: str, name: str, keep_entries: int = 0) -> None:
        super().__init__(url, "events")
        self._name = name
        self._keep_entries = keep_entries
        self._sending = asyncio.Lock()
        self._batch = _Batch(0, 0)
        self._sent = 0
        self._answers = ""
        self._refusal: str | None = None

    @property
    def problem(self) -> str | None:
        return super().problem or self._refusal

    async def _connect(self) -> None:
        client = await self._open()
        await ensure_stream(
            jetstream(client),
            subjects.stream(self._name, "events"),
            subjects.all_events(self._name),
            keep_entries=self._keep_entries,
        )
        self._answers = client.new_inbox()
        await client.receive(f"{self._answers}.*", self._on_answer)

    def _on_connection(self) -> None:
        super()._on_connection()
        self._refusal = None

    async def _serve(self) -> None:
        assert self._client is not None
        await self._client.watch()

    async def _disconnect(self) -> None:
        self._batch.end("the connection is lost")
        await super()._disconnect()

    async def _finish(self) -> None:
        async with self._sending:
            return

    async def send(self, events: Sequence[Outgoing]) -> int:
        async with self._sending:
            client = self._client
            if client is None or not self.is_connected:
                return 0
            batch = self._batch = _Batch(self._sent, len(events))
            self._sent += len(events)
            await self._post(client, batch, events)
            await batch.wait()
            self._note(client, batch)
            return batch.confirmed()

    async def _post(self, client: Client, batch: "_Batch", events: Sequence[Outgoing]) -> None:
        for number, event in enumerate(events):
            try:
                if len(event.body) + HEADERS_BYTES > client.max_payload:
                    raise MaxPayloadError
                await client.post(
                    subjects.encode_subject(self._name, event.key),
                    event.body,
                    f"{self._answers}.{batch.first + number}",
                    {"Nats-Msg-Id": event.id},
                )
            except MaxPayloadError:
                batch.stop(number, f"event {event.id} takes {len(event.body)} bytes: raise its max_payload")
                return
            except (Error, OSError, TimeoutError) as error:
                batch.stop(number, self._describe(error))
                return

    def _note(self, client: Client, batch: "_Batch") -> None:
        refusal = None
        if batch.reason is not None and not client.lost.is_set():
            refusal = f"NATS at {self.where} does not take events: {batch.reason}"
            if refusal != self._refusal:
                _logger.warning("events refused", server=self.where, reason=batch.reason)
        self._refusal = refusal
        if batch.is_broken:
            client.lost.set()  # a new connection makes the stream again, or finds another server

    def _on_answer(self, subject: str, payload: bytes, reply: str, headers: Mapping[str, str]) -> None:
        number = int(subject.rpartition(".")[2])
        if headers.get("Status") == "503":
            self._batch.refuse(number, "no stream keeps them", is_broken=True)
            return
        answer = orjson.loads(payload)
        if "error" in answer:
            self._batch.refuse(number, str(answer["error"].get("description", "refused")))
        else:
            self._batch.confirm(number)


class _Batch:
    """What has become of the events of one `send`, of which the first is number ``first``."""

    def __init__(self, first: int, count: int) -> None:
        self.first = first
        self.reason: str | None = None
        self.is_broken = False
        self._is_confirmed = bytearray(count)
        self._missing = count
        self._ended = asyncio.Event()

    def confirm(self, number: int) -> None:
        place = number - self.first
        # What is not of this batch was given up before it was answered.
        if 0 <= place < len(self._is_confirmed) and not self._is_confirmed[place]:
            self._is_confirmed[place] = 1
            self._count_down(1)

    def refuse(self, number: int, reason: str, *, is_broken: bool = False) -> None:
        if 0 <= number - self.first < len(self._is_confirmed):
            self.is_broken = self.is_broken or is_broken
            self._because(reason)
            self._count_down(1)

    def stop(self, place: int, reason: str) -> None:
        """No more is sent, from the one at ``place`` on."""
        self._because(reason)
        self._count_down(len(self._is_confirmed) - place)

    def end(self, reason: str) -> None:
        """No more is answered."""
        if self._missing > 0:
            self._because(reason)
            self._ended.set()

    async def wait(self) -> None:
        """Until all are answered, or nothing has been for a while."""
        while self._missing > 0 and not self._ended.is_set():
            missing = self._missing
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    await self._ended.wait()
            except TimeoutError:
                if self._missing == missing:
                    self.is_broken = True
                    self.end("it does not confirm them")

    def confirmed(self) -> int:
        """How many from the first one on."""
        gap = self._is_confirmed.find(0)
        return len(self._is_confirmed) if gap < 0 else gap

    def _because(self, reason: str) -> None:
        self.reason = self.reason or reason

    def _count_down(self, count: int) -> None:
        self._missing -= count
        if self._missing <= 0:
            self._ended.set()
