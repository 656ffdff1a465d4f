"""Refuses advertising and masks swearing: `fastchat serve --set hooks.modules=examples.moderation`."""

import re

from fastchat import Message, Refuse

ADVERTISING = re.compile(r"casino|cheap pills", re.IGNORECASE)
SWEARING = re.compile(r"\b(damn|blast)\b", re.IGNORECASE)


async def on_message(message: Message) -> str:
    """Refuses or changes what somebody is about to say."""
    if ADVERTISING.search(message.text):
        raise Refuse("no advertising here")
    return SWEARING.sub(lambda word: "*" * len(word[0]), message.text)
