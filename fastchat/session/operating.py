"""Commands of the server's operators: accounts, rooms, the audit log. Pure: no sockets, clock or await."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from fastchat.auth.interface import Accounts
from fastchat.messages import Close, Code, Command, WireError
from fastchat.session.conversation import Conversation
from fastchat.store import Account, AuditEntry, RoomSummary

PAGE_ENTRIES = 200

Handler = Callable[[Conversation, Command, int], None]
Done = Callable[[Account | WireError | None], None]


def user_add(session: Conversation, command: Command, wall_ms: int) -> None:
    """Makes an account."""
    operator = command.get("operator", False)
    _change(
        session,
        command,
        wall_ms,
        partial(_accounts(session).add_account, command["user"], command.get("password"), operator),
        {"operator": True} if operator else {},
    )


def user_password(session: Conversation, command: Command, wall_ms: int) -> None:
    """Gives an account another password, which signs it out everywhere."""

    def sign_out(name: str) -> None:
        _send_away(session, name, Close.SIGNED_OUT, "an operator has changed the password")

    change = partial(_accounts(session).set_password, command["user"], command["password"])
    _change(session, command, wall_ms, change, {}, sign_out)


def user_disable(session: Conversation, command: Command, wall_ms: int) -> None:
    """Keeps somebody out from now on."""

    def end_all(name: str) -> None:
        _send_away(session, name, Close.DISABLED, "this account is disabled")

    _set(session, command, wall_ms, {"disabled": True}, end_all)


def user_enable(session: Conversation, command: Command, wall_ms: int) -> None:
    """Lets somebody in again."""
    _set(session, command, wall_ms, {"disabled": False})


def user_role(session: Conversation, command: Command, wall_ms: int) -> None:
    """Makes somebody an operator, or a user like any other; at once, also where they are connected."""
    operator: bool = command["operator"]
    _set(
        session,
        command,
        wall_ms,
        {"operator": operator},
        lambda name: session.hub.population.set_operator(name, operator),
    )


def _set(
    session: Conversation,
    command: Command,
    wall_ms: int,
    changes: Mapping[str, Any],
    effect: Callable[[str], None] = lambda name: None,
) -> None:
    key = _accounts(session).key(command["user"])
    ask = partial(session.hub.store.change_account, key, changes)
    _change(session, command, wall_ms, ask, changes, effect)


def _change(
    session: Conversation,
    command: Command,
    wall_ms: int,
    change: Callable[[Done], None],
    detail: Mapping[str, Any],
    effect: Callable[[str], None] = lambda name: None,
) -> None:
    """Changes an account, has it take effect, writes that down, and answers with what it is then."""

    def ask(done: Done) -> None:
        change(partial(on_changed, done))

    def on_changed(done: Done, account: Account | WireError | None) -> None:
        if not isinstance(account, Account):
            done(account if account is not None else _no_such_user(command["user"]))
            return
        effect(account.name)
        text = orjson.dumps(dict(detail)).decode() if detail else ""
        entry = AuditEntry(wall_ms, session.user, command["type"], target=account.name, detail=text)
        session.hub.store.record(entry, lambda failed: done(failed or account))

    def answer(account: Account) -> None:
        session.reply(command, "account", **_describe(session, account))

    session.ask(command, ask, answer)


def _send_away(session: Conversation, name: str, code: Close, reason: str) -> None:
    session.hub.population.send_away(name, code, reason)


def _accounts(session: Conversation) -> Accounts:
    if session.hub.accounts is None:
        raise WireError(Code.FORBIDDEN, "there are no accounts on this server")
    return session.hub.accounts


def _no_such_user(name: str) -> WireError:
    return WireError(Code.NO_SUCH_USER, f"there is no account {name}", field="user")


def _describe(session: Conversation, account: Account) -> dict[str, Any]:
    return {
        "user": account.name,
        "password": account.password is not None,
        "token": account.subject is not None,
        "operator": account.operator,
        "disabled": account.disabled,
        "created": account.created_at_ms,
        "seen": account.seen_at_ms,
        "online": len(session.hub.population.sessions(account.name)),
    }


def users(session: Conversation, command: Command, wall_ms: int) -> None:
    """A page of all accounts, in the order of their keys."""
    limit = min(command.get("limit", PAGE_ENTRIES), PAGE_ENTRIES)
    after = _accounts(session).key(command["after"]) if "after" in command else ""

    def answer(accounts: Sequence[Account]) -> None:
        entries = [_describe(session, account) for account in accounts[:limit]]
        session.reply(command, "users", users=entries, more=len(accounts) > limit)

    session.ask(command, partial(session.hub.store.accounts, after, limit + 1), answer)


def audit(session: Conversation, command: Command, wall_ms: int) -> None:
    """A page of the audit log, the newest entries first."""
    limit = min(command.get("limit", PAGE_ENTRIES), PAGE_ENTRIES)

    def answer(found: Sequence[tuple[int, AuditEntry]]) -> None:
        entries = [_entry(number, entry) for number, entry in found[:limit]]
        session.reply(command, "audit", entries=entries, more=len(found) > limit)

    session.ask(command, partial(session.hub.store.audit, command.get("before", 0), limit + 1), answer)


def _entry(number: int, entry: AuditEntry) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "number": number,
        "at": entry.at_ms,
        "actor": entry.actor,
        "action": entry.action,
    }
    for name in ("room", "target", "detail"):
        if value := getattr(entry, name):
            shown[name] = value
    return shown


def room_list(session: Conversation, command: Command, wall_ms: int) -> None:
    """A page of all rooms that are kept, by name."""
    limit = min(command.get("limit", PAGE_ENTRIES), PAGE_ENTRIES)

    def answer(found: Sequence[RoomSummary]) -> None:
        rooms = [_summarize(session, room) for room in found[:limit]]
        session.reply(command, "room_list", rooms=rooms, more=len(found) > limit)

    session.ask(command, partial(session.hub.store.rooms, command.get("after", ""), limit + 1), answer)


def _summarize(session: Conversation, summary: RoomSummary) -> dict[str, Any]:
    return {
        "room": summary.name,
        "members": session.hub.members_of(summary.name),
        "first": summary.first,
        "head": summary.head,
        "size_bytes": summary.size_bytes,
    }


def _for_operators(handler: Handler) -> Handler:
    """The handler, for nobody else."""

    def check_first(session: Conversation, command: Command, wall_ms: int) -> None:
        if not session.person.operator:
            raise WireError(Code.FORBIDDEN, f"{command['type']} is for the operators of this server")
        handler(session, command, wall_ms)

    return check_first


COMMANDS: Mapping[str, Handler] = {
    handler.__name__: _for_operators(handler)
    for handler in (
        user_add,
        user_password,
        user_disable,
        user_enable,
        user_role,
        users,
        room_list,
        audit,
    )
}
