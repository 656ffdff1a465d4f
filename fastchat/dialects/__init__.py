"""Dialects: what a client sends becomes commands, replies become bytes. Pure: no sockets, clock or await."""

from fastchat.dialects.interface import Dialect
from fastchat.dialects.json import JsonDialect
from fastchat.dialects.text import TextDialect, encode_event

__all__ = ["Dialect", "JsonDialect", "TextDialect", "encode_event"]
