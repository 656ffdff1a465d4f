"""Commands about who is there: members, away, whois. Pure: no sockets, clock or await."""

from functools import partial
from typing import Any

from fastchat.auth.names import name_key, normalize_name
from fastchat.messages import Code, Command, WireError
from fastchat.people import User
from fastchat.room import Room
from fastchat.session.conversation import Conversation
from fastchat.store.interface import Account

MEMBERS_MAX = 1000


def members(session: Conversation, command: Command, wall_ms: int) -> None:
    """A page of who is in a room, or a sample."""
    for other in ("after", "limit"):
        if "sample" in command and other in command:
            raise WireError(Code.BAD_FIELD, f"sample cannot be used together with {other}", field="sample")

    def answer(room: Room) -> None:
        presence = room.presence
        if "sample" in command:
            names = presence.sample(min(command["sample"], MEMBERS_MAX))
            more = len(names) < len(room.members)
        else:
            limit = min(command.get("limit", MEMBERS_MAX), MEMBERS_MAX)
            names, more = presence.page(command.get("after"), limit)
        away = {"away": texts} if (texts := presence.away(names)) else {}
        count = len(room.members)
        session.reply(command, "members", room=room.name, members=names, count=count, more=more, **away)

    session.ask(command, partial(session.find, command, wall_ms), answer)


def away(session: Conversation, command: Command, wall_ms: int) -> None:
    """Says that the user is away, on all connections, or back."""
    text = command.get("text", "") if command["away"] else None
    session.hub.set_away(session.user, text)
    session.reply(command, "away", away=command["away"], **({"text": text} if text else {}))


def come_back(session: Conversation) -> None:
    """Who says something is not away any more. MUST be called only where anybody is away at all."""
    if session.user in session.hub.away:
        session.hub.set_away(session.user, None)


def whois(session: Conversation, command: Command, wall_ms: int) -> None:
    """Whether somebody is there, and if not, since when.

    Whom one shares a room with, one may ask about. Accounts that see every room may ask about all accounts.
    To everybody else nobody is there, whether there is somebody or not.
    """
    name = normalize_name(command["user"])
    population, asker = session.hub.population, session.person
    person = population.find(name)
    trusted = asker.operator or (not asker.guest and asker.grants is None)
    if person is not None and (
        asker.operator
        or person.name == session.user
        or (trusted and not person.guest)
        or _shares_room(session, person.name)
    ):
        session.reply(command, "whois", **_about_online(session, person))
    elif person is not None or not trusted:
        raise _nobody(name)
    else:
        key = name_key(name)

        def answer(account: Account | None) -> None:
            if account is None:
                raise _nobody(name)
            seen_at_ms = wall_ms if key in population.unsaved else account.seen_at_ms
            seen = {"seen_at": seen_at_ms} if seen_at_ms else {}
            session.reply(command, "whois", user=account.name, guest=False, online=False, **seen)

        session.ask(command, partial(session.hub.store.account, key), answer)


def _shares_room(session: Conversation, name: str) -> bool:
    rooms = session.hub.rooms
    return any(name in rooms[room].members for room in session.rooms)


def _about_online(session: Conversation, person: User) -> dict[str, Any]:
    text = session.hub.away.get(person.name)
    away = {} if text is None else {"away": text}
    return {"user": person.name, "guest": person.guest, "online": True, **away}


def _nobody(name: str) -> WireError:
    return WireError(Code.NO_SUCH_USER, f"you share no room with anybody who is called {name}", field="user")
