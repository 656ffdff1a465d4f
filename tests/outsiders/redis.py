"""Another service at Redis."""

from typing import Any, Self

import redis.asyncio

from tests.outsiders.outsider import Kept


class RedisOutsider:
    """See `Outsider`."""

    def __init__(self, client: Any) -> None:
        self._client = client

    @classmethod
    async def connect(cls, url: str) -> Self:
        return cls(redis.asyncio.Redis.from_url(url, decode_responses=False))

    async def events(self, name: str) -> list[Kept]:
        return await self._read(f"{name}.events")

    async def send_command(self, name: str, body: bytes, command_id: str = "") -> None:
        await self._client.xadd(f"{name}.inbox", {"body": body} | ({"id": command_id} if command_id else {}))

    async def dead_letters(self, name: str) -> list[Kept]:
        return await self._read(f"{name}.inbox.dead")

    async def waiting(self, name: str) -> int:
        return int(await self._client.xlen(f"{name}.inbox"))

    async def _read(self, stream: str) -> list[Kept]:
        return [
            Kept(
                entry.get(b"key", b"").decode(),
                entry.get(b"id", b"").decode(),
                entry[b"body"],
                entry.get(b"reason", b"").decode(),
            )
            for _, entry in await self._client.xrange(stream)
        ]

    async def close(self) -> None:
        await self._client.aclose()
