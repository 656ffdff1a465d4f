"""The least that a hook in a thread can be."""

from fastchat import Message


def on_message(message: Message) -> None:
    """Lets everything pass."""
