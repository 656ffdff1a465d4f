"""The interface between an edge, which holds the socket, and the handler of what arrives there."""

import asyncio
import typing


class Handler(typing.Protocol):
    """What a connection does with what arrives.

    No method may block: they run in the loop's read callback. None may raise: what a peer can cause is the
    handler's own to answer, anything else ends the connection with an entry in the log.
    """

    def on_open(self, stream: "Stream") -> None:
        """The connection is there, and may be written to. Called once, before anything else."""

    def on_token(self, token: str) -> None:
        """WebSocket only: the handshake had a token. Called at most once, right after `on_open`."""

    def on_message(self, payload: bytes, text: bool) -> None:
        """One WebSocket message, or one line without its newline (`text` is True, but it may be no UTF-8)."""

    def on_settled(self) -> None:
        """Everything that one read brought has been handed over, as far as reading was not paused."""

    def on_last_words(self) -> None:
        """WebSocket only: the peer closes or has broken the protocol. What waits may be written now."""

    def on_oversize(self, limit: int, start: bytes) -> None:
        """Lines only: a line longer than `limit` bytes is being skipped up to its newline. Once for each.

        `start` is its first few bytes, at least one.
        """

    def on_eof(self) -> None:
        """Lines only: the client will send no more, but still reads (`printf ... | nc -N`).

        SHOULD call `stream.close` as soon as what was asked has been answered. Who doesn't is closed after
        `close_timeout_s`.
        """

    def on_pause_writing(self) -> None:
        """The transport holds more than its high watermark. May be called from inside `transport.write`."""

    def on_resume_writing(self) -> None:
        """The transport has drained to its low watermark."""

    def on_close(self, code: int, reason: str) -> None:
        """The connection is over. Called exactly once after `on_open`, whatever ended it; nothing follows.

        `code` is the peer's WebSocket close code (1005 where its close frame had none); what this side closes
        with after the peer broke the protocol; 1006 where the connection ended without a close frame. For
        lines it is what `close` was called with, or 1006. From here on the transport MUST NOT be written to.
        """


class Stream(typing.Protocol):
    """One open chat connection as its handler sees it.

    Complete frames or lines are written to `transport` directly. Its write buffer limits are the handler's.
    """

    transport: asyncio.Transport
    peer_address: str
    """The client's IP as text: behind trusted proxies the real one, "" where there is none."""

    def pause_reading(self) -> None:
        """No `on_message` comes after this returns, even of bytes that have arrived."""

    def resume_reading(self) -> None:
        """Goes on where `pause_reading` stopped, from the loop's next turn on."""

    def close(self, code: int, reason: str) -> None:
        """Ends the connection politely; no `on_message` comes after this returns, `on_close` still will.

        WebSocket: writes a close frame and waits `close_timeout_s` for the peer's. Lines: flushes what is
        written in this turn of the loop. What is to precede the end MUST have been written before; after a
        WebSocket's close frame nothing may be written.
        """

    def abort(self) -> None:
        """Ends the connection at once, without what is buffered. `on_close` comes in a later turn."""
