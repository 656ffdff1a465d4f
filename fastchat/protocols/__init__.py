"""The edge: asyncio Protocol classes that hold the sockets."""
