"""Takes what waits in the store and sends it to the broker."""

from fastchat.outbox.sender import Sender as Sender
