"""What it costs to tell other services: events to RabbitMQ with confirmations, beside the library alone."""
