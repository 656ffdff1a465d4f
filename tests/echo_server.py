"""An echo server over the WebSocket edge alone: `python -m tests.echo_server --port 9001`.

For conformance suites: it answers every message with the same one.
"""

import argparse
import asyncio
import signal

import uvloop

from fastchat._websocket import BINARY, TEXT, encode_frame
from fastchat.protocols.stream import Stream
from fastchat.protocols.websocket import WebSocketListener, WebSocketProtocol


class EchoHandler:
    """Sends back what arrives, and reads no more from a peer that doesn't read."""

    __slots__ = ("stream",)

    stream: Stream

    def on_open(self, stream: Stream) -> None:
        self.stream = stream

    def on_token(self, token: str) -> None:
        """Everybody is welcome."""

    def on_message(self, payload: bytes, text: bool) -> None:
        self.stream.transport.write(encode_frame(TEXT if text else BINARY, payload))

    def on_last_words(self) -> None:
        """There are none."""

    def on_settled(self) -> None:
        """Nothing was kept back."""

    def on_oversize(self, limit: int, start: bytes) -> None:
        raise AssertionError("WebSocket messages that are too long end the connection")

    def on_eof(self) -> None:
        raise AssertionError("a WebSocket has no half-closed state")

    def on_pause_writing(self) -> None:
        self.stream.pause_reading()

    def on_resume_writing(self) -> None:
        self.stream.resume_reading()

    def on_close(self, code: int, reason: str) -> None:
        pass


async def serve(host: str, port: int, max_message_bytes: int) -> None:
    loop = asyncio.get_running_loop()
    listener = WebSocketListener(EchoHandler, path="/", max_message_bytes=max_message_bytes)
    server = await loop.create_server(lambda: WebSocketProtocol(listener), host, port)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    print(f"listening on ws://{host}:{server.sockets[0].getsockname()[1]}/", flush=True)
    await stopped.wait()
    server.close()
    listener.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="Answers every WebSocket message with the same one.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9001)
    parser.add_argument("--max-message-bytes", type=int, default=16 << 20)
    options = parser.parse_args()
    uvloop.run(serve(options.host, options.port, options.max_message_bytes))


if __name__ == "__main__":
    main()
