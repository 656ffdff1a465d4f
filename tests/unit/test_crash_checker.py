"""The crash test's checker: a right history passes, and each planted fault is named."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.crash import checker
from tests.crash.checker import Kind
from tests.crash.history import FINAL_LOG, Document, Entry

ROOM = {"room": "lobby"}
EPOCH = "e1"


def logged(kind: str, seq: int, author: str, name: str, **fields: Any) -> Document:
    return {"type": kind, **ROOM, "seq": seq, "id": name, "from": author, "at": 1000 + seq, **fields}


EVENTS = (
    logged("message", 1, "alice", "a-1", text="one"),
    logged("message", 2, "alice", "a-2", text="two"),
    logged("reacted", 3, "bob", "b-1", of=1, reaction="!"),
    logged("edited", 4, "alice", "a-3", of=2, text="zwei"),
    logged("message", 5, "alice", "a-4", text="five"),
    logged("deleted", 6, "alice", "a-5", of=5),
)


class Teller:
    """Writes down one client's history, as it should have been."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.entries: list[Entry] = []
        self._connection = 0

    def said(self, kind: str, **fields: Any) -> None:
        self.add("said", {"type": kind, **fields})

    def heard(self, kind: str, **fields: Any) -> None:
        self.add("heard", {"type": kind, **fields})

    def sent(self, name: str, seq: int, **more: Any) -> None:
        self.heard("sent", **ROOM, seq=seq, at=1000 + seq, id=name, ref=name, **more)

    def events(self, *seqs: int) -> None:
        for seq in seqs:
            self.add("heard", dict(EVENTS[seq - 1]))

    def add(self, event: Any, document: Document | None = None) -> None:
        self.entries.append({"connection": self._connection, "event": event, "document": document or {}})

    def enter(self, after: int, head: int, *, resume: bool = False) -> None:
        """Another connection, and the way in."""
        self._connection += 1
        self.add("opened")
        if resume:
            self.said("hello", user=self.user, resume={"lobby": after}, epochs={"lobby": EPOCH})
        else:
            self.said("hello", user=self.user)
            self.said("join", **ROOM, after=after, **({"epoch": EPOCH} if after else {}))
        self.heard("welcome", user=self.user)
        self.heard("joined", **ROOM, head=head, epoch=EPOCH, reset=False, cursor=0)


class Story:
    """All histories of one short run, to be changed before they are written."""

    def __init__(self) -> None:
        alice, bob, archivist = Teller("alice"), Teller("bob"), Teller("archivist")
        self.tellers = {"alice": alice, "bob": bob, "archivist": archivist}
        alice.enter(0, head=0)
        alice.said("send", **ROOM, id="a-1", text="one")
        alice.said("send", **ROOM, id="a-2", text="two")
        alice.sent("a-1", 1)
        alice.events(1)
        alice.add("closed")
        alice.enter(1, head=2)
        alice.events(2)
        alice.said("send", **ROOM, id="a-2", text="two")
        alice.sent("a-2", 2, repeated=True)
        alice.sent("a-2", 2, repeated=True)
        alice.events(3)
        alice.said("edit", **ROOM, id="a-3", seq=2, text="zwei")
        alice.said("send", **ROOM, id="a-4", text="five")
        alice.said("delete", **ROOM, id="a-5", seq=5)
        for name, seq in (("a-3", 4), ("a-4", 5), ("a-5", 6)):
            alice.events(seq)
            alice.sent(name, seq)
        bob.enter(0, head=0)
        bob.events(1, 2)
        bob.said("react", **ROOM, id="b-1", seq=1, reaction="!")
        bob.sent("b-1", 3)
        bob.events(3)
        bob.add("closed")
        bob.enter(3, head=4, resume=True)
        bob.events(4, 5, 6)
        bob.said("react", **ROOM, id="b-2", seq=5, reaction="!")
        bob.heard("error", code="no_such_message", message="gone", ref="b-2")
        archivist.enter(0, head=6)
        archivist.events(1, 2, 3, 4, 5, 6)
        messages = [
            dict(EVENTS[0]) | {"reactions": {"!": ["bob"]}},
            dict(EVENTS[1]) | {"text": "zwei", "edited": 1004},
            {name: value for name, value in EVENTS[4].items() if name != "text"} | {"deleted": 1006},
        ]
        archivist.heard("history", **ROOM, messages=messages, more=False)
        for teller in self.tellers.values():
            teller.add("finished")

    def find(self, user: str, event: str = "heard", nth: int = 0, **fields: Any) -> int:
        """Where the nth entry with these fields is."""
        entries = enumerate(self.tellers[user].entries)
        fits = [i for i, e in entries if e["event"] == event and fields.items() <= e["document"].items()]
        return fits[nth]

    def document(self, user: str, event: str = "heard", nth: int = 0, **fields: Any) -> Document:
        """That entry's document."""
        return self.tellers[user].entries[self.find(user, event, nth, **fields)]["document"]

    def insert(self, user: str, place: int, document: Document, event: Any = "heard") -> None:
        """Puts another entry before the one that is there."""
        entries = self.tellers[user].entries
        entries.insert(
            place, {"connection": entries[place]["connection"], "event": event, "document": document}
        )

    def drop(self, user: str, **fields: Any) -> None:
        del self.tellers[user].entries[self.find(user, **fields)]

    def swap(self, user: str, first: int, second: int) -> None:
        """Has two events change places."""
        entries = self.tellers[user].entries
        one, other = (self.find(user, **EVENTS[seq - 1]) for seq in (first, second))
        entries[one], entries[other] = entries[other], entries[one]

    def check(self, directory: Path) -> checker.Verdict:
        for user, teller in self.tellers.items():
            path = directory / (FINAL_LOG if user == "archivist" else f"client-{user}.jsonl.gz")
            path.write_bytes(gzip.compress(b"".join(orjson.dumps(entry) + b"\n" for entry in teller.entries)))
        return checker.check(directory)


def test_a_right_history_passes(tmp_path: Path) -> None:
    verdict = Story().check(tmp_path)
    assert verdict.faults == []
    assert verdict.counts["log events"] == 6
    assert verdict.counts["events seen"] == 12
    assert verdict.counts["clients to the end"] == 2


# Each plants one fault.


def lose_an_acknowledged_message(story: Story) -> None:
    end = story.find("alice", "finished")
    story.insert("alice", end, {"type": "sent", **ROOM, "seq": 7, "at": 1007, "id": "a-9", "ref": "a-9"})
    story.insert("alice", end, {"type": "send", **ROOM, "id": "a-9", "text": "lost"}, "said")


def lose_what_was_seen(story: Story) -> None:
    story.document("bob", nth=1, type="joined")["head"] = 2


def double_a_message(story: Story) -> None:
    twin = {**EVENTS[0], "seq": 7}
    for user in story.tellers:
        story.insert(user, story.find(user, "finished"), twin)
    story.document("archivist", type="joined")["head"] = 7
    story.document("archivist", type="history")["messages"].append(twin)


def acknowledge_another_seq(story: Story) -> None:
    story.document("alice", type="sent", id="a-4")["seq"] = 4


def acknowledge_another_time(story: Story) -> None:
    story.document("alice", type="sent", id="a-4")["at"] += 1


def acknowledge_another_time_again(story: Story) -> None:
    story.document("alice", nth=1, type="sent", id="a-2")["at"] += 1


def acknowledge_two_seqs(story: Story) -> None:
    story.document("alice", nth=1, type="sent", id="a-2")["seq"] = 3


def show_another_body(story: Story) -> None:
    story.document("bob", seq=5)["text"] = "FIVE"


def keep_another_text(story: Story) -> None:
    story.document("alice", "said", id="a-4")["text"] = "FIVE"


def keep_another_target(story: Story) -> None:
    story.document("alice", "said", id="a-3")["seq"] = 1


def show_what_is_not_in_the_log(story: Story) -> None:
    phantom = logged("message", 7, "alice", "a-9", text="never stored")
    story.insert("bob", story.find("bob", "finished"), phantom)


def keep_what_nobody_said(story: Story) -> None:
    story.drop("bob", event="said", id="b-1")
    story.drop("bob", id="b-1", type="sent")


def reorder_for_a_reader(story: Story) -> None:
    story.swap("bob", 5, 6)


def reorder_across_the_seam(story: Story) -> None:
    story.swap("bob", 3, 4)


def reorder_the_log(story: Story) -> None:
    story.swap("archivist", 4, 5)


def reorder_what_one_client_said(story: Story) -> None:
    at = story.find("alice", "said", id="a-3")
    story.insert("alice", at, {"type": "send", **ROOM, "id": "a-4", "text": "five"}, "said")


def leave_out_an_event(story: Story) -> None:
    story.drop("bob", **EVENTS[1])


def leave_out_at_the_seam(story: Story) -> None:
    story.drop("bob", **EVENTS[3])


def repeat_an_event(story: Story) -> None:
    story.insert("bob", story.find("bob", seq=6), EVENTS[4])


def repeat_at_the_seam(story: Story) -> None:
    story.insert("bob", story.find("bob", seq=4), EVENTS[2])


def repeat_in_the_log(story: Story) -> None:
    story.insert("archivist", story.find("archivist", seq=6), EVENTS[4])


def leave_out_the_end(story: Story) -> None:
    story.drop("bob", **EVENTS[5])


def end_the_log_early(story: Story) -> None:
    story.document("archivist", type="joined")["head"] = 7


def show_before_joined(story: Story) -> None:
    story.insert("bob", story.find("bob", type="joined"), EVENTS[0])


def lag(story: Story) -> None:
    at = story.find("bob", seq=5)
    story.insert("bob", at, {"type": "lagged", **ROOM, "from": 5, "to": 5, "missed": 1})


def change_the_epoch(story: Story) -> None:
    story.document("bob", nth=1, type="joined")["epoch"] = "e2"


def reset_within_the_epoch(story: Story) -> None:
    story.document("bob", nth=1, type="joined")["reset"] = True


def refuse_what_is_kept(story: Story) -> None:
    ack = story.document("bob", type="sent", id="b-1")
    ack |= {"type": "error", "code": "no_such_message", "message": "gone"}


def refuse_for_no_reason(story: Story) -> None:
    story.document("bob", "said", id="b-2")["seq"] = 1


def refuse_a_message(story: Story) -> None:
    end = story.find("alice", "finished")
    error = {"type": "error", "code": "unavailable", "message": "disk full", "ref": "a-9"}
    story.insert("alice", end, error)
    story.insert("alice", end, {"type": "send", **ROOM, "id": "a-9", "text": "refused"}, "said")


def refuse_something_else(story: Story) -> None:
    error = {"type": "error", "code": "bad_field", "message": "after"}
    story.insert("bob", story.find("bob", type="joined"), error)


def leave_without_an_answer(story: Story) -> None:
    command = {"type": "send", **ROOM, "id": "a-9", "text": "?"}
    story.insert("alice", story.find("alice", "finished"), command, "said")


def forget_an_edit(story: Story) -> None:
    story.document("archivist", type="history")["messages"][1]["text"] = "two"


def forget_a_message(story: Story) -> None:
    del story.document("archivist", type="history")["messages"][0]


def invent_a_cursor(story: Story) -> None:
    story.document("bob", nth=1, type="joined")["cursor"] = 3


FAULTS: tuple[tuple[Callable[[Story], None], Kind], ...] = (
    (lose_an_acknowledged_message, Kind.LOST),
    (lose_what_was_seen, Kind.LOST),
    (double_a_message, Kind.DOUBLED),
    (acknowledge_another_seq, Kind.WRONG_ACK),
    (acknowledge_another_time, Kind.WRONG_ACK),
    (acknowledge_another_time_again, Kind.WRONG_ACK),
    (acknowledge_two_seqs, Kind.TWO_SEQS),
    (show_another_body, Kind.BODY),
    (keep_another_text, Kind.BODY),
    (keep_another_target, Kind.BODY),
    (show_what_is_not_in_the_log, Kind.PHANTOM),
    (keep_what_nobody_said, Kind.PHANTOM),
    (reorder_for_a_reader, Kind.REORDERED),
    (reorder_across_the_seam, Kind.REORDERED),
    (reorder_the_log, Kind.REORDERED),
    (reorder_what_one_client_said, Kind.REORDERED),
    (leave_out_an_event, Kind.HOLE),
    (leave_out_at_the_seam, Kind.HOLE),
    (repeat_an_event, Kind.REPEAT),
    (repeat_at_the_seam, Kind.REPEAT),
    (repeat_in_the_log, Kind.REPEAT),
    (leave_out_the_end, Kind.SHORT),
    (end_the_log_early, Kind.SHORT),
    (show_before_joined, Kind.EARLY),
    (lag, Kind.LAGGED),
    (change_the_epoch, Kind.EPOCH),
    (reset_within_the_epoch, Kind.EPOCH),
    (refuse_what_is_kept, Kind.REFUSED),
    (refuse_for_no_reason, Kind.REFUSED),
    (refuse_a_message, Kind.REFUSED),
    (refuse_something_else, Kind.REFUSED),
    (leave_without_an_answer, Kind.UNANSWERED),
    (forget_an_edit, Kind.STATE),
    (forget_a_message, Kind.STATE),
    (invent_a_cursor, Kind.CURSOR),
)


@pytest.mark.parametrize(("plant", "kind"), FAULTS)
def test_a_planted_fault_is_named(tmp_path: Path, plant: Callable[[Story], None], kind: Kind) -> None:
    story = Story()
    plant(story)
    assert {fault.kind for fault in story.check(tmp_path).faults} == {kind}


def test_every_kind_of_fault_is_planted() -> None:
    assert {kind for _, kind in FAULTS} == set(Kind)


@pytest.mark.parametrize("plant", [leave_out_at_the_seam, repeat_at_the_seam])
def test_what_is_wrong_at_the_seam_is_said_to_be_there(
    tmp_path: Path, plant: Callable[[Story], None]
) -> None:
    story = Story()
    plant(story)
    assert any("at the seam after connection 1" in fault.detail for fault in story.check(tmp_path).faults)


def test_a_hole_in_the_log_is_found(tmp_path: Path) -> None:
    story = Story()
    story.drop("archivist", **EVENTS[2])
    faults = {(fault.kind, fault.where) for fault in story.check(tmp_path).faults}
    assert (Kind.HOLE, "log") in faults
    assert (Kind.PHANTOM, "alice") in faults
    assert (Kind.LOST, "bob") in faults


def test_a_client_that_was_stopped_need_not_have_seen_the_end(tmp_path: Path) -> None:
    story = Story()
    leave_out_the_end(story)
    del story.tellers["bob"].entries[story.find("bob", "finished")]
    assert story.check(tmp_path).faults == []


def test_a_room_without_events_may_be_numbered_anew(tmp_path: Path) -> None:
    story = Story()
    story.document("bob", type="joined")["epoch"] = "e0"
    assert story.check(tmp_path).faults == []


def test_the_program_reports_and_exits_with_1_for_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story()
    story.check(tmp_path)
    monkeypatch.setattr("sys.argv", ["checker", str(tmp_path)])
    assert checker.main() == 0
    assert "faults: none" in capsys.readouterr().out
    leave_out_at_the_seam(story)
    story.check(tmp_path)
    assert checker.main() == 1
    assert "hole: bob: lobby 4 never came" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["checker"])
    assert checker.main() == 2
