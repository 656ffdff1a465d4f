"""Which other nodes are alive. Pure: no sockets, clock or await."""

from collections.abc import Collection


class Nodes:
    """Those that were heard of, by the time in seconds at which they were last.

    A node is gone when it says so, or when for ``timeout_s`` neither the bus nor the store has told that it
    is alive: the bus may be away for one of two that both go on.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._heard_at: dict[str, float] = {}
        self._left_at: dict[str, float] = {}  # those whose last words may still be on their way

    def __len__(self) -> int:
        """How many there are beside this one."""
        return len(self._heard_at)

    @property
    def names(self) -> Collection[str]:
        """Those that are alive, beside this one."""
        return self._heard_at.keys()

    def hear(self, node: str, now: float) -> bool:
        """Something came from this node; returns whether it counts, as it has not said good-bye."""
        if node in self._left_at:
            return False
        self._heard_at[node] = now
        return True

    def confirm(self, nodes: Collection[str], now: float) -> None:
        """The store knows that these are alive; those that were never heard of are still to come."""
        for node in nodes:
            if node in self._heard_at:
                self._heard_at[node] = now

    def leave(self, node: str, now: float) -> None:
        """The node has said good-bye."""
        self._heard_at.pop(node, None)
        self._left_at[node] = now

    def take_silent(self, now: float) -> list[str]:
        """Those that are gone without a word, who are not there any more."""
        since = now - self._timeout_s
        silent = [node for node, heard_at in self._heard_at.items() if heard_at <= since]
        for node in silent:
            del self._heard_at[node]
        self._left_at = {node: left_at for node, left_at in self._left_at.items() if left_at > since}
        return silent

    def pardon(self, now: float) -> None:
        """It was this node that did not listen: everyone's time begins anew."""
        for node in self._heard_at:
            self._heard_at[node] = now
