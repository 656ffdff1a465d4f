"""Redis: publish and subscribe as the bus, streams for events to other services and commands from them."""
