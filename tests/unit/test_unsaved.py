"""Numbers on their way into a store: none is lost in between, and who reads meanwhile is told the newest."""

from collections.abc import Callable, Mapping

from fastchat.messages import Code, WireError
from fastchat.store.unsaved import Numbers, Unsaved


class Disk:
    """Stores when the test says so."""

    def __init__(self) -> None:
        self.unsaved = Unsaved[str](self.submit)
        self.waiting: list[tuple[Numbers[str], Callable[[WireError | None], None]]] = []
        self.stored: dict[str, int] = {}

    def submit(self, take: Numbers[str], done: Callable[[WireError | None], None]) -> None:
        self.waiting.append((take, done))

    def take(self) -> tuple[Mapping[str, int], Callable[[WireError | None], None]]:
        """Begins to store; what is returned ends it."""
        take, done = self.waiting.pop(0)
        return take(), done

    def store(self, error: WireError | None = None) -> None:
        taken, done = self.take()
        if error is None:
            self.stored.update(taken)
        done(error)


def test_what_comes_while_something_waits_is_stored_together() -> None:
    disk = Disk()
    disk.unsaved.add({"alice": 5})
    disk.unsaved.add({"alice": 3, "bob": 1})
    assert len(disk.waiting) == 1
    disk.store()
    assert disk.stored == {"alice": 5, "bob": 1}
    assert not disk.unsaved


def test_what_comes_while_something_is_stored_is_stored_next() -> None:
    disk = Disk()
    disk.unsaved.add({"alice": 5})
    _, done = disk.take()
    disk.unsaved.add({"alice": 6})
    done(None)
    assert disk.unsaved.get("alice") == 6
    disk.store()
    assert disk.stored == {"alice": 6}
    assert not disk.unsaved


def test_what_could_not_be_stored_is_tried_again() -> None:
    disk = Disk()
    disk.unsaved.add({"alice": 5})
    disk.store(WireError(Code.UNAVAILABLE, "the disk is full"))
    assert disk.unsaved.get("alice") == 5
    disk.unsaved.save()
    disk.store()
    assert disk.stored == {"alice": 5}


def test_who_has_read_before_it_was_stored_and_is_answered_after_is_told_it_too() -> None:
    disk = Disk()
    disk.unsaved.add({"alice": 5})
    read = disk.stored.get("alice", 0)
    disk.store()
    assert max(read, disk.unsaved.get("alice") or 0) == 5
