"""The least that an `async def` hook can be."""

from fastchat import Message


async def on_message(message: Message) -> None:
    """Lets everything pass."""
