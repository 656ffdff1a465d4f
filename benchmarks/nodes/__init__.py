"""What it costs that several nodes are one chat: a second node's delay, and messages per CPU-second."""
