"""A chat room on uWebSockets by socketify, with publish() to a topic: `socketify_publish.py PORT`."""

from __future__ import annotations

import sys
from typing import Any

from socketify import App, AppListenOptions, CompressOptions, OpCode

MAX_BACKPRESSURE_BYTES = 1 << 20


def main(port: int) -> None:
    application = App()

    def on_open(member: Any) -> None:
        member.subscribe("room")

    def on_message(member: Any, message: str | bytes, opcode: OpCode) -> None:
        application.publish("room", message, opcode)

    application.ws(
        "/ws",
        {
            "compression": CompressOptions.DISABLED,
            "max_payload_length": 1 << 20,
            # What a member that does not read may have waiting; beyond it messages are dropped.
            "max_backpressure": MAX_BACKPRESSURE_BYTES,
            "open": on_open,
            "message": on_message,
        },
    )
    application.listen(AppListenOptions(port=port, host="127.0.0.1"))
    # All callbacks are synchronous: without asyncio's loop around libuv's there is nothing to poll in turn.
    application.loop.uv_loop.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
