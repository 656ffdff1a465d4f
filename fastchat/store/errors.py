"""What a store says that cannot be used. Pure: no sockets, clock or await."""


class StoreError(Exception):
    """The database cannot be used. One line that says why, and what to do about it where that can be told."""
