"""Hooks and bots to begin with; docs/hooks.md explains them."""
