"""Commands about one's account: register, password, refresh, sign_out. Pure: no sockets, clock or await."""

from collections.abc import Callable
from functools import partial

from fastchat.auth.interface import Answer, Authenticator
from fastchat.auth.names import name_key, normalize_name
from fastchat.messages import Close, Code, Command, WireError
from fastchat.people import User
from fastchat.population import name_taken
from fastchat.session.conversation import Conversation
from fastchat.session.entering import come_in
from fastchat.session.interface import READY
from fastchat.store import Account


def register(session: Conversation, command: Command, wall_ms: int) -> None:
    """Makes an account, and goes on as it."""
    authenticator = _authenticator(session)
    if session.state is READY and not session.person.guest:
        raise WireError(
            Code.FORBIDDEN, f"you are {session.user} here; open another connection to register somebody else"
        )
    name = normalize_name(command["user"])
    namesakes = session.hub.population.sessions(name)
    if namesakes and session not in namesakes:
        raise name_taken(name)
    find_out = partial(authenticator.register, name, command["password"], session.peer.address)
    come_in(session, command, wall_ms, partial(_as_nobody_else, session, name, find_out))


def _as_nobody_else(
    session: Conversation, name: str, find_out: Callable[[Answer], None], done: Answer
) -> None:
    """Finds out while no guest of any node can have the name."""
    guest = User(name)

    def on_named(named: User | WireError) -> None:
        if isinstance(named, WireError):
            done(named)
        else:
            find_out(on_answer)

    def on_answer(answer: User | WireError) -> None:
        done(answer)
        session.hub.release_name(guest)

    session.hub.claim_name(guest, on_named)


def password(session: Conversation, command: Command, wall_ms: int) -> None:
    """Sets another password, and signs out all other connections: one may be a thief's."""
    authenticator = _authenticator(session)

    def ask(done: Answer) -> None:
        authenticator.change_password(
            session.person, command["old"], command["new"], session.peer.address, done
        )

    def answer(person: User) -> None:
        session.reply(command, "password_changed")
        session.hub.population.send_away(
            session.user, Close.SIGNED_OUT, f"the password of {session.user} has changed", but=session
        )

    session.ask(command, ask, answer)


def refresh(session: Conversation, command: Command, wall_ms: int) -> None:
    """Goes on with a newer token; rooms that it does not grant are left."""
    authenticator = _authenticator(session)

    def answer(person: User) -> None:
        session.hub.population.renew(session, person)
        expires_at_ms = person.expires_at_ms
        session.reply(
            command, "refreshed", **({} if expires_at_ms is None else {"expires_at": expires_at_ms})
        )
        session.leave_forbidden(wall_ms, "the token does not allow this room")

    session.ask(command, partial(authenticator.renew, session.person, command["token"]), answer)


def sign_out(session: Conversation, command: Command, wall_ms: int) -> None:
    """Ends all of the user's connections, this one too; tokens that it has now are not taken any more."""

    def answer(account: Account | None) -> None:
        session.reply(command, "signed_out")
        session.hub.population.send_away(session.user, Close.SIGNED_OUT, f"{session.user} has signed out")

    if session.person.guest:
        answer(None)
        return
    change = partial(session.hub.store.change_account, name_key(session.user), {"valid_from_ms": wall_ms})
    session.ask(command, change, answer)


def _authenticator(session: Conversation) -> Authenticator:
    authenticator = session.hub.authenticator
    if authenticator is None:
        raise WireError(Code.FORBIDDEN, "there are no accounts on this server")
    return authenticator
