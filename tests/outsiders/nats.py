"""Another service at NATS."""

from typing import Self
from urllib.parse import unquote

import nats
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from fastchat.broker.nats import subjects
from tests.outsiders.outsider import Kept


def parse_subject(name: str, subject: str) -> str:
    """Reads an event's subject as the documents say: the kind, and the room behind a dot."""
    kind, dot, word = subject.removeprefix(f"{name}.events.").partition(".")
    return f"{kind}{dot}{unquote(word)}"


class NatsOutsider:
    """See `Outsider`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._context = client.jetstream()

    @classmethod
    async def connect(cls, url: str) -> Self:
        return cls(await nats.connect(url))

    async def events(self, name: str) -> list[Kept]:
        return await self._read(subjects.stream(name, "events"), name)

    async def send_command(self, name: str, body: bytes, command_id: str = "") -> None:
        headers = {"Nats-Msg-Id": command_id} if command_id else None
        await self._context.publish(f"{name}.inbox", body, headers=headers)

    async def dead_letters(self, name: str) -> list[Kept]:
        return await self._read(subjects.stream(name, "dead"), name)

    async def waiting(self, name: str) -> int:
        return (await self._context.stream_info(subjects.stream(name, "inbox"))).state.messages

    async def _read(self, stream: str, name: str) -> list[Kept]:
        state = (await self._context.stream_info(stream)).state
        kept = []
        for number in range(max(1, state.first_seq), state.last_seq + 1):
            try:
                message = await self._context.get_msg(stream, number)
            except NotFoundError:
                continue
            headers = message.headers or {}
            key = parse_subject(name, message.subject or "")
            kept.append(
                Kept(key, headers.get("Nats-Msg-Id", ""), message.data or b"", headers.get("reason", ""))
            )
        return kept

    async def close(self) -> None:
        await self._client.close()
