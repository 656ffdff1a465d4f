"""What a bus between nodes costs: its delay and what passes, beside the same by the broker's own client."""
