"""RabbitMQ, NATS and Redis: what one broker does for the chat and for other services."""
