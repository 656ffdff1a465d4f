"""Dialects: parse what a client sent into commands, encode replies for it. Pure: no sockets, clock or await."""

from fastchat.dialects.interface import Dialect
from fastchat.dialects.json import JsonDialect
from fastchat.dialects.text import TextDialect, encode_event

__all__ = ["Dialect", "JsonDialect", "TextDialect", "encode_event"]
