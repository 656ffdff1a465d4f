"""NATS: its core as the bus, JetStream for events to other services and commands from them."""
