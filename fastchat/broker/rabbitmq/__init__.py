"""RabbitMQ: an exchange as the bus, a topic exchange for events to other services, a queue of commands."""
