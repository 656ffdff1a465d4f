"""Commands that other services send by the broker: what they may say, and how they are carried out."""

from fastchat.inbox.authors import Authors
from fastchat.inbox.executor import Executor
from fastchat.inbox.receiver import Receiver

__all__ = ["Authors", "Executor", "Receiver"]
