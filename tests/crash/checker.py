"""Checks recorded histories against the final log: `python -m tests.crash.checker DIR`.

Prints what was counted and every fault that was found; exits with 1 when there is one. What is checked:

- the log: numbered 1, 2, 3 … without holes; no id twice; nothing in it that nobody said; `history` shows what
  its events make of each message;
- senders: what was acknowledged is in the log, where and as it was said; an id has one seq however often it
  was sent; what was refused is not in the log, and rightly refused; what one client sent stands in its order;
- readers: over all connections each room's events come in order, once, without a hole, and as the log has
  them; nothing is `lagged`; nobody saw what the log lacks; the numbering (`epoch`) is never another one.
"""

import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.crash.history import CLIENTS, FINAL_LOG, Document, Entry, read

LOGGED = ("message", "edited", "deleted", "reacted", "moderated")
ACTS = ("topic", "mute", "unmute")
KIND_OF = {
    "send": "message", "edit": "edited", "delete": "deleted", "react": "reacted",
    **dict.fromkeys(ACTS, "moderated"),
}  # fmt: skip
CONTENT = ("of", "text", "data", "reaction", "remove", "action", "topic", "user")
SHOWN_MAX = 20


class Kind(StrEnum):
    """What can be wrong."""

    LOST = "lost"  # acknowledged, but not in the log
    DOUBLED = "doubled"  # one id, twice in the log
    WRONG_ACK = "wrong ack"  # acknowledged with another seq or time than the log's
    TWO_SEQS = "two seqs"  # one id, acknowledged with two seqs
    BODY = "body"  # not what was said, or not what the log has
    PHANTOM = "phantom"  # seen or in the log, but never said or not in the log
    REORDERED = "reordered"
    HOLE = "hole"
    REPEAT = "repeat"
    SHORT = "short"  # a client that finished lacks the end
    EARLY = "early"  # an event of a room that had not been joined yet
    LAGGED = "lagged"
    EPOCH = "epoch"
    REFUSED = "refused"  # wrongly, or kept all the same
    UNANSWERED = "unanswered"
    STATE = "state"  # history does not show what the events make of a message
    CURSOR = "cursor"  # a read cursor that the user never set


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that must not be."""

    kind: Kind
    where: str
    """Whose history it is in, or "log"."""
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.detail}"


@dataclass
class Verdict:
    """What was found, and how much was looked at."""

    faults: list[Fault] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def blame(self, kind: Kind, where: str, detail: str) -> None:
        self.faults.append(Fault(kind, where, detail))


Key = tuple[str, str, str]
"""Author, room, id: what an event is known by before it has a seq."""


class Log:
    """The final log of all rooms, from the history of the one who read it at the end."""

    def __init__(self, entries: list[Entry]) -> None:
        self.events: dict[str, dict[int, Document]] = defaultdict(dict)
        self.epochs: dict[str, str] = {}
        self.heads: dict[str, int] = {}
        self.current: dict[str, dict[int, Document]] = defaultdict(dict)
        """Messages as `history` showed them."""
        for entry in entries:
            document = entry["document"]
            kind = document.get("type") if entry["event"] == "heard" else None
            if kind in LOGGED:
                self.events[document["room"]].setdefault(document["seq"], document)
            elif kind == "joined":
                self.epochs[document["room"]] = document["epoch"]
                self.heads[document["room"]] = document["head"]
            elif kind == "history":
                for message in document["messages"]:
                    self.current[document["room"]][message["seq"]] = message
        self.seqs: dict[Key, list[int]] = defaultdict(list)
        self.deleted: set[tuple[str, int]] = set()
        for room, events in self.events.items():
            for seq, event in events.items():
                if "id" in event:
                    self.seqs[event["from"], room, event["id"]].append(seq)
                if event["type"] == "deleted":
                    self.deleted.add((room, event["of"]))

    def at(self, room: str, seq: int) -> Document | None:
        """The event with this seq."""
        return self.events.get(room, {}).get(seq)


class Record:
    """What one client has seen of one room, over all its connections."""

    def __init__(self, client: str, room: str, after: int) -> None:
        self.client = client
        self.room = room
        self.next = after + 1
        self.missing: dict[int, str] = {}
        self.connection = 0

    def add(self, seq: int, connection: int, verdict: Verdict) -> None:
        """The event with this seq came."""
        place = f"{self.room} {seq} on connection {connection}"
        seam = connection != self.connection and self.connection
        if seam:
            place += f", at the seam after connection {self.connection}"
        if seq >= self.next:
            self.missing.update(dict.fromkeys(range(self.next, seq), place))
            self.next = seq + 1
        elif self.missing.pop(seq, None) is not None:
            verdict.blame(Kind.REORDERED, self.client, f"{place}: came after {self.next - 1}")
        else:
            verdict.blame(Kind.REPEAT, self.client, f"{place}: had come already")
        self.connection = connection

    def end(self, verdict: Verdict) -> None:
        """Nothing more comes: what is missing now stays missing."""
        for seq, place in self.missing.items():
            verdict.blame(Kind.HOLE, self.client, f"{self.room} {seq} never came; next was {place}")


class Witness:
    """One client's history."""

    def __init__(self, name: str, log: Log, verdict: Verdict, *, of_nodes: bool = False) -> None:
        self.name = name
        self._of_nodes = of_nodes
        self._repeated: set[Key] = set()
        """Said more than once."""
        self.log = log
        self.verdict = verdict
        self.records: dict[str, Record] = {}
        self.said: dict[Key, Document] = {}
        """By key, in the order in which it was first said."""
        self.acks: dict[Key, Document] = {}
        """The first answer with a seq."""
        self.refusals: dict[Key, str] = {}
        """The code of the last answer, where it was an error."""
        self.finished = False
        self._user = ""
        self._joining: dict[str, Document] = {}
        self._refs: dict[str, Key] = {}
        self._marks: dict[str, int] = defaultdict(int)

    def blame(self, kind: Kind, detail: str) -> None:
        self.verdict.blame(kind, self.name, detail)

    def take(self, entry: Entry) -> None:
        """The next entry."""
        match entry["event"]:
            case "opened":
                self.verdict.counts["connections"] += 1
                self._joining.clear()
            case "said":
                self._take_command(entry["document"])
            case "heard":
                self._take_heard(entry["document"], entry["connection"])
            case "finished":
                self.finished = True

    def _take_command(self, command: Document) -> None:
        kind = command["type"]
        if kind == "hello":
            self._user = command["user"]
            for room, after in command.get("resume", {}).items():
                self._joining[room] = {"after": after, "epoch": command.get("epochs", {}).get(room)}
        elif kind == "join":
            self._joining[command["room"]] = command
        elif kind == "ack":
            self._marks[command["room"]] = max(self._marks[command["room"]], command["seq"])
        elif kind in KIND_OF:
            key = (self._user, command["room"], command["id"])
            if self.said.setdefault(key, command) is not command:
                self._repeated.add(key)
            self.refusals.pop(key, None)
            self._refs[command["id"]] = key
            self.verdict.counts["commands"] += 1

    def _take_heard(self, document: Document, connection: int) -> None:
        kind = document["type"]
        if kind in LOGGED:
            self._take_event(document, connection)
        elif kind == "joined":
            self._take_joined(document, connection)
        elif kind == "sent":
            self._take_ack(document)
        elif kind == "error":
            self._take_error(document)
        elif kind == "lagged":
            self.blame(Kind.LAGGED, f"{document['room']} {document['from']}-{document['to']}")

    def _take_joined(self, joined: Document, connection: int) -> None:
        room, join = joined["room"], self._joining.get(joined["room"], {})
        epoch = self.log.epochs.get(room)
        place = f"{room} on connection {connection}"
        # A room that nobody has written to has no numbering yet that could be kept.
        if joined["epoch"] != epoch and joined["head"]:
            self.blame(Kind.EPOCH, f"{place}: joined {joined['epoch']}, the log's is {epoch}")
        elif joined["reset"] and join.get("epoch") == epoch:
            self.blame(Kind.EPOCH, f"{place}: reset, though {epoch} was asked for")
        after = join.get("after")
        start = 0 if joined["reset"] else joined["head"] if after is None else after
        record = self.records.get(room)
        if record is None:
            self.records[room] = Record(self.name, room, start)
        elif joined["head"] < record.next - 1:
            self.blame(Kind.LOST, f"{place}: head is {joined['head']}, {record.next - 1} was seen before")
        mark = self._marks[room]
        # Who has read everything up to an own event has read that, too.
        while (event := self.log.at(room, mark + 1)) is not None and event["from"] == self._user:
            mark += 1
        if joined["cursor"] > mark:
            self.blame(Kind.CURSOR, f"{place}: {joined['cursor']}, acked was {self._marks[room]}")

    def _take_event(self, event: Document, connection: int) -> None:
        room, seq = event["room"], event["seq"]
        self.verdict.counts["events seen"] += 1
        record = self.records.get(room)
        if record is None:
            self.blame(Kind.EARLY, f"{room} {seq} on connection {connection}")
            return
        logged = self.log.at(room, seq)
        if logged is None:
            self.blame(Kind.PHANTOM, f"{room} {seq} on connection {connection} is not in the log: {event}")
            return
        if event != logged:
            self.blame(Kind.BODY, f"{room} {seq} on connection {connection}: {event}, the log's is {logged}")
        record.add(seq, connection, self.verdict)

    def _take_ack(self, ack: Document) -> None:
        self.verdict.counts["acknowledgements"] += 1
        key = (self._user, ack["room"], ack["id"])
        if ack.get("repeated"):
            self.verdict.counts["of what was kept already"] += 1
        first = self.acks.setdefault(key, ack)
        if first["seq"] != ack["seq"]:
            self.blame(Kind.TWO_SEQS, f"{key}: acknowledged as {first['seq']} and as {ack['seq']}")
        elif first["at"] != ack["at"]:
            self.blame(Kind.WRONG_ACK, f"{key}: acknowledged with {first['at']} and with {ack['at']}")

    def _take_error(self, error: Document) -> None:
        code, key = error["code"], self._refs.get(error.get("ref", ""))
        self.verdict.counts[f"error {code}"] += 1
        if key is not None:
            self.refusals[key] = code
        # The server may notice the end of the user's last connection later than the user.
        elif code != "name_taken" and not (self._of_nodes and code == "unavailable"):
            self.blame(Kind.REFUSED, f"{error}")

    # At the end

    def end(self) -> None:
        """What can be told only now."""
        for room, record in self.records.items():
            record.end(self.verdict)
            if self.finished and record.next <= self.log.heads.get(room, 0):
                self.blame(Kind.SHORT, f"{room} ends with {record.next - 1} of {self.log.heads[room]}")
        for key, ack in self.acks.items():
            self._check_ack(key, ack)
        for key, code in self.refusals.items():
            self._check_refusal(key, code)
        if self.finished:
            for key in self.said.keys() - self.acks.keys() - self.refusals.keys():
                self.blame(Kind.UNANSWERED, f"{key}")
        self._check_order()

    def _check_ack(self, key: Key, ack: Document) -> None:
        seqs = self.log.seqs.get(key, [])
        if key not in self.said:
            self.blame(Kind.WRONG_ACK, f"{key} was never said")
        elif not seqs:
            self.blame(Kind.LOST, f"{key} was acknowledged as {ack['seq']}")
        elif ack["seq"] not in seqs:
            self.blame(Kind.WRONG_ACK, f"{key} was acknowledged as {ack['seq']}, it is {seqs}")
        else:
            event = self.log.events[key[1]][ack["seq"]]
            if event["at"] != ack["at"]:
                self.blame(Kind.WRONG_ACK, f"{key} was acknowledged with {ack['at']}, it is {event['at']}")

    def _check_refusal(self, key: Key, code: str) -> None:
        command = self.said[key]
        if key in self.log.seqs:
            self.blame(
                Kind.REFUSED, f"{key}: {code}, but it is in the log as {self.log.seqs[key]}: {command}"
            )
        elif code != "no_such_message" or (key[1], command.get("seq")) not in self.log.deleted:
            self.blame(Kind.REFUSED, f"{code}: {command}")

    def _check_order(self) -> None:
        last: dict[str, int] = defaultdict(int)
        for key in self.said:
            # One that was refused for the moment, and said again, came after those behind it: so it was said.
            if self._of_nodes and key in self._repeated:
                continue
            seq = min(self.log.seqs.get(key, [0]))
            if seq and seq < last[key[1]]:
                self.blame(Kind.REORDERED, f"{key} is {seq}, what was said before it {last[key[1]]}")
            last[key[1]] = max(last[key[1]], seq)


def check_log(log: Log, entries: list[Entry], verdict: Verdict) -> None:
    """The log by itself: its numbers, its ids, and what `history` makes of it."""
    reader = Witness("log", log, verdict)
    for entry in entries:
        reader.take(entry)
    reader.finished = True
    reader.end()
    for key, seqs in log.seqs.items():
        if len(seqs) > 1:
            verdict.blame(Kind.DOUBLED, "log", f"{key} is {seqs}")
    for room, events in log.events.items():
        expected = current_state(events)
        verdict.counts["log events"] += len(events)
        for seq in expected.keys() | log.current[room].keys():
            shown, due = log.current[room].get(seq), expected.get(seq)
            if shown != due:
                verdict.blame(Kind.STATE, "log", f"{room} {seq}: history shows {shown}, events make {due}")


def current_state(events: Mapping[int, Document]) -> dict[int, Document]:
    """What the events make of each message; written anew here, so that it is not the server's own opinion."""
    messages: dict[int, Document] = {}
    for seq, event in sorted(events.items()):
        if event["type"] == "message":
            messages[seq] = dict(event)
        elif event["type"] == "moderated":
            continue
        elif (message := messages.get(event["of"])) is None or "deleted" in message:
            messages[seq] = {"impossible": event}
        elif event["type"] == "edited":
            message |= {"text": event["text"], "edited": event["at"]}
        elif event["type"] == "deleted":
            for name in ("text", "edited", "reactions"):
                message.pop(name, None)
            message["deleted"] = event["at"]
        else:
            reactions = dict(message.pop("reactions", {}))
            users = [user for user in reactions.pop(event["reaction"], []) if user != event["from"]]
            users += [] if event.get("remove") else [event["from"]]
            reactions |= {event["reaction"]: users} if users else {}
            message |= {"reactions": reactions} if reactions else {}
    return messages


def check_origins(log: Log, said: Mapping[Key, Document], verdict: Verdict) -> None:
    """Everything in the log was said, and is there as it was said."""
    for room, events in log.events.items():
        for seq, event in events.items():
            key = (event["from"], room, event.get("id", ""))
            command = said.get(key)
            if command is None:
                verdict.blame(Kind.PHANTOM, "log", f"{room} {seq} was said by nobody: {event}")
                continue
            due = {name: command[name] for name in CONTENT if name in command}
            if "seq" in command:
                due["of"] = command["seq"]
            if command["type"] in ACTS:
                due["action"] = command["type"]
            content = {name: event[name] for name in CONTENT if name in event}
            if event["type"] != KIND_OF[command["type"]] or content != due:
                verdict.blame(Kind.BODY, "log", f"{room} {seq} is {event}, said was {command}")


def check(directory: Path, *, of_nodes: bool = False) -> Verdict:
    """Checks all histories in the directory. Raises OSError where there is no final log.

    ``of_nodes``: the server was several, of which a client may be told that one is ``unavailable``.
    """
    verdict = Verdict()
    entries = list(read(directory / FINAL_LOG))
    log = Log(entries)
    check_log(log, entries, verdict)
    del entries
    verdict.counts.pop("connections", None)
    verdict.counts.pop("events seen", None)
    said: dict[Key, Document] = {}
    for path in sorted(directory.glob(CLIENTS)):
        name = path.name.removeprefix("client-").split(".")[0]
        witness = Witness(name, log, verdict, of_nodes=of_nodes)
        for entry in read(path):
            witness.take(entry)
        witness.end()
        said |= witness.said
        verdict.counts["clients"] += 1
        verdict.counts["clients to the end"] += witness.finished
    check_origins(log, said, verdict)
    return verdict


def report(verdict: Verdict) -> str:
    """The verdict for a person."""
    counts = ", ".join(f"{number:,} {name}" for name, number in verdict.counts.items())
    kinds = Counter(fault.kind.value for fault in verdict.faults)
    lines = [counts, f"faults: {dict(kinds) or 'none'}"]
    lines += [f"  {fault}"[:600] for fault in verdict.faults[:SHOWN_MAX]]
    return "\n".join(lines)


def main() -> int:
    """The program."""
    if len(sys.argv) != 2:
        print("usage: python -m tests.crash.checker DIR", file=sys.stderr)
        return 2
    verdict = check(Path(sys.argv[1]))
    print(report(verdict))
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
