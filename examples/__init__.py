"""Programs to begin with: hooks and bots (docs/hooks.md), a service at a broker (docs/events.md)."""
