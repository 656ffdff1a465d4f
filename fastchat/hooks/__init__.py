"""Hooks: an operator's own functions, asked before something is done or told of it afterwards."""

from fastchat.hooks.interface import Kind, Message, Refuse, Rules
from fastchat.hooks.loading import collect, load_modules
from fastchat.hooks.runner import Runner

__all__ = ["Kind", "Message", "Refuse", "Rules", "Runner", "collect", "load_modules"]
