"""Who is let in: guests, accounts with passwords; who has to wait; what is not told."""

from collections.abc import Callable, Mapping
from typing import Any

import jwt
import pytest

from fastchat.auth.authentication import Authentication, Guests, Policy
from fastchat.auth.interface import Credentials
from fastchat.auth.keyring import Keyring
from fastchat.auth.keys import secret_key
from fastchat.auth.names import name_key
from fastchat.auth.passwords import Verdict
from fastchat.auth.tokens import Key, Rules
from fastchat.messages import Code, WireError
from fastchat.people import Grant, Role, User
from fastchat.store import MemoryStore
from fastchat.store.interface import Account

WORDS, OTHER_WORDS = "correct horse battery", "staple your batteries"
SECRET = "a secret of thirty-two bytes or more"
HOME, AWAY = "192.0.2.1", "192.0.2.2"


class Passwords:
    """Kept as they are, with a mark of their cost; remembers what was asked, and can be too busy."""

    def __init__(self) -> None:
        self.cost = "cheap"
        self.asked: list[tuple[str, str | None]] = []
        self.busy = False

    def hash(self, password: str, done: Callable[[str | WireError], None]) -> None:
        done(WireError(Code.UNAVAILABLE, "busy") if self.busy else f"{self.cost}:{password}")

    def verify(self, password: str, stored: str | None, done: Callable[[Verdict | WireError], None]) -> None:
        if self.busy:
            done(WireError(Code.UNAVAILABLE, "busy"))
            return
        self.asked.append((password, stored))
        cost, _, right = (stored or "").partition(":")
        stale = stored is not None and cost != self.cost
        renewed = f"{self.cost}:{password}" if stale else None
        done(Verdict(password == right, renewed) if password == right else Verdict(right=False))


class Gate:
    """An authenticator with its clock, its accounts and what it answered."""

    def __init__(self, policy: Policy | None = None, keys: tuple[Key, ...] = (secret_key(SECRET),)) -> None:
        self.now = 1000.0
        self.wall_ms = 1_700_000_000_000
        self.store = MemoryStore()
        self.passwords = Passwords()
        self.authentication = Authentication(
            self.store,
            self.passwords,
            policy or Policy(),
            Keyring(keys, None, deliver=print, call_later=print, clock=lambda: self.now, report=print),
            Rules(),
            clock=lambda: self.now,
            wall_ms=lambda: self.wall_ms,
        )

    def add(self, name: str, password: str | None = WORDS, **fields: Any) -> None:
        stored = None if password is None else f"cheap:{password}"
        errors: list[WireError | None] = []
        self.store.add_account(Account(name, name_key(name), stored, **fields), errors.append)
        assert errors == [None]

    def account(self, name: str) -> Account:
        found: list[Account | WireError | None] = []
        self.store.account(name_key(name), found.append)
        (account,) = found
        assert isinstance(account, Account)
        return account

    def ask(
        self, user: str | None = None, password: str | None = None, address: str = HOME
    ) -> User | WireError:
        return self.told(
            lambda done: self.authentication.authenticate(Credentials(user, password, None, address), done)
        )

    def show(self, token: str) -> User | WireError:
        return self.told(
            lambda done: self.authentication.authenticate(Credentials(None, None, token, HOME), done)
        )

    def renew(self, user: User, token: str) -> User | WireError:
        return self.told(lambda done: self.authentication.renew(user, token, done))

    def token(self, **claims: Any) -> str:
        """Of user 42, named alice, issued now and valid for a minute; None takes a claim away."""
        now_s = self.wall_ms // 1000
        said = {"sub": "42", "name": "alice", "iat": now_s, "exp": now_s + 60, **claims}
        return jwt.encode({name: value for name, value in said.items() if value is not None}, SECRET)

    def register(self, name: str, password: str = WORDS, address: str = HOME) -> User | WireError:
        return self.told(lambda done: self.authentication.register(name, password, address, done))

    def change(self, user: User, old: str, new: str, address: str = HOME) -> User | WireError:
        return self.told(lambda done: self.authentication.change_password(user, old, new, address, done))

    @staticmethod
    def told(ask: Callable[[Callable[[User | WireError], None]], None]) -> User | WireError:
        answers: list[User | WireError] = []
        ask(answers.append)
        (answer,) = answers  # exactly one
        return answer


def refused(answer: User | WireError) -> WireError:
    assert isinstance(answer, WireError), answer
    return answer


def code(answer: User | WireError) -> Code:
    return refused(answer).code


# Guests


def test_a_guest_has_the_name_that_it_gives() -> None:
    assert Gate().ask("Alice") == User("Alice")
    assert Gate().ask("\uff41lice") == User("alice")


def test_a_guest_without_a_name_is_to_be_given_one() -> None:
    assert Gate().ask() == User("")


def test_guests_may_be_kept_out_or_to_reading() -> None:
    assert code(Gate(Policy(guests=Guests.OFF)).ask("alice")) == Code.UNAUTHORIZED
    assert code(Gate(Policy(guests=Guests.OFF)).ask()) == Code.UNAUTHORIZED
    assert Gate(Policy(guests=Guests.READ_ONLY)).ask("alice") == User("alice", most=Role.READER)


@pytest.mark.parametrize("name", ["alice", "ALICE", "\uff41lice"])
def test_a_guest_does_not_get_a_registered_name(name: str) -> None:
    gate = Gate()
    gate.add("Alice")
    assert code(gate.ask(name)) == Code.NAME_TAKEN
    assert gate.ask("bob") == User("bob")


def test_a_guest_does_not_get_a_name_that_looks_like_a_registered_one() -> None:
    gate = Gate()
    gate.add("cope")
    assert code(gate.ask("\u0441\u043e\u0440\u0435")) == Code.NAME_TAKEN


def test_guests_are_not_looked_up_while_there_are_no_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    monkeypatch.setattr(gate.store, "account", None)
    assert gate.ask("alice") == User("alice")


@pytest.mark.parametrize("name", ["", "al ice", "p\u0430ul", "a" * 33])
def test_what_is_no_name_is_said(name: str) -> None:
    gate = Gate()
    assert code(gate.ask(name)) == Code.BAD_FIELD
    assert code(gate.ask(name, WORDS)) == Code.BAD_FIELD
    assert code(gate.register(name)) == Code.BAD_FIELD


# Passwords


def test_who_knows_the_password_is_the_account_as_it_was_registered() -> None:
    gate = Gate()
    gate.add("Alice", operator=True)
    assert gate.ask("aLICE", WORDS) == User("Alice", guest=False, operator=True)


def test_wrong_user_and_wrong_password_look_the_same_and_cost_the_same() -> None:
    gate = Gate()
    gate.add("alice")
    gate.add("by-token", None)
    answers = [refused(gate.ask(name, OTHER_WORDS)) for name in ("alice", "nobody", "by-token")]
    assert {(answer.code, answer.message, answer.field) for answer in answers} == {
        (Code.UNAUTHORIZED, "wrong user or password", None)
    }
    assert gate.passwords.asked == [(OTHER_WORDS, f"cheap:{WORDS}"), (OTHER_WORDS, None), (OTHER_WORDS, None)]


def test_a_password_needs_a_user() -> None:
    assert refused(Gate().ask(None, WORDS)).field == "user"


def test_a_disabled_account_is_told_so_only_if_the_password_is_right() -> None:
    gate = Gate()
    gate.add("alice", disabled=True)
    assert refused(gate.ask("alice", OTHER_WORDS)).message == "wrong user or password"
    assert "disabled" in refused(gate.ask("alice", WORDS)).message


def test_a_hash_of_another_cost_is_stored_anew() -> None:
    gate = Gate()
    gate.add("alice")
    gate.passwords.cost = "dear"
    assert isinstance(gate.ask("alice", WORDS), User)
    assert gate.account("alice").password == f"dear:{WORDS}"


# Attempts


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_who_fails_too_often_waits_whatever_the_password(name: str) -> None:
    gate = Gate(Policy(attempts=3))
    gate.add("alice")
    for number in range(3):
        assert code(gate.ask(name, OTHER_WORDS, f"192.0.2.{number}")) == Code.UNAUTHORIZED
    error = refused(gate.ask(name, WORDS, AWAY))
    assert (error.code, error.retry_after_ms) == (Code.RATE_LIMITED, 1001)
    assert len(gate.passwords.asked) == 3
    gate.now += 1.001
    assert code(gate.ask(name, OTHER_WORDS, AWAY)) == Code.UNAUTHORIZED
    assert refused(gate.ask(name, WORDS, AWAY)).retry_after_ms == 2001


def test_the_right_password_clears_the_name_but_not_the_address() -> None:
    gate = Gate(Policy(attempts=3, attempts_per_address=4))
    gate.add("alice")
    gate.add("mallory")
    for _ in range(2):
        gate.ask("alice", OTHER_WORDS)
    assert isinstance(gate.ask("alice", WORDS), User)
    for _ in range(2):
        assert code(gate.ask("alice", OTHER_WORDS)) == Code.UNAUTHORIZED
    assert code(gate.ask("mallory", WORDS)) == Code.RATE_LIMITED
    assert isinstance(gate.ask("mallory", WORDS, AWAY), User)


def test_logins_that_succeed_never_wait() -> None:
    gate = Gate(Policy(attempts=1, attempts_per_address=1))
    gate.add("alice")
    for _ in range(50):
        assert isinstance(gate.ask("alice", WORDS), User)


def test_an_attempt_that_could_not_be_looked_at_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(Policy(attempts=1, attempts_per_address=1))
    gate.add("alice")
    gate.passwords.busy = True
    assert code(gate.ask("alice", WORDS)) == Code.UNAVAILABLE
    gate.passwords.busy = False
    with monkeypatch.context() as patch:
        patch.setattr(gate.store, "account", lambda key, done: done(WireError(Code.UNAVAILABLE, "disk")))
        assert code(gate.ask("alice", WORDS)) == Code.UNAVAILABLE
    assert isinstance(gate.ask("alice", WORDS), User)


# Registering


def test_an_account_is_made_and_can_come_back() -> None:
    gate = Gate()
    assert gate.register("M\u00fcller") == User("M\u00fcller", guest=False)
    assert gate.account("m\u00fcller").created_at_ms == gate.wall_ms
    assert gate.ask("m\u00dcLLER", WORDS) == User("M\u00fcller", guest=False)
    assert code(gate.register("m\u00fcller")) == Code.NAME_TAKEN


def test_nobody_registers_what_looks_like_a_taken_name() -> None:
    gate = Gate()
    gate.add("cope")
    assert code(gate.register("\u0441\u043e\u0440\u0435")) == Code.NAME_TAKEN


def test_registration_may_be_off() -> None:
    assert code(Gate(Policy(registration=False)).register("alice")) == Code.FORBIDDEN


def test_a_weak_password_is_refused_before_any_work() -> None:
    gate = Gate()
    gate.passwords.busy = True
    assert refused(gate.register("alice", "secret")).field == "password"


def test_registrations_from_one_address_slow_down() -> None:
    gate = Gate(Policy(registrations_per_address=2))
    for number in range(2):
        assert isinstance(gate.register(f"user-{number}"), User)
    assert refused(gate.register("user-2")).retry_after_ms == 1001
    assert isinstance(gate.register("user-2", address=AWAY), User)


def test_registering_fails_when_too_many_log_in() -> None:
    gate = Gate()
    gate.passwords.busy = True
    assert code(gate.register("alice")) == Code.UNAVAILABLE


# Another password


def test_a_password_is_changed_by_who_knows_the_old_one() -> None:
    gate = Gate()
    user = gate.register("Alice")
    assert isinstance(user, User)
    gate.wall_ms += 5000
    assert refused(gate.change(user, OTHER_WORDS, OTHER_WORDS)).message == "wrong user or password"
    assert gate.change(user, WORDS, OTHER_WORDS) == user
    assert gate.account("alice").valid_from_ms == gate.wall_ms
    assert code(gate.ask("alice", WORDS)) == Code.UNAUTHORIZED
    assert gate.ask("alice", OTHER_WORDS) == user


def test_guessing_the_old_password_counts_as_logging_in() -> None:
    gate = Gate(Policy(attempts=2))
    user = gate.register("alice")
    assert isinstance(user, User)
    for _ in range(2):
        gate.change(user, "wrong" + WORDS, OTHER_WORDS)
    assert code(gate.change(user, WORDS, OTHER_WORDS)) == Code.RATE_LIMITED
    assert code(gate.ask("alice", WORDS)) == Code.RATE_LIMITED


def test_a_new_password_is_checked_first() -> None:
    gate = Gate()
    user = gate.register("alice")
    assert isinstance(user, User)
    assert refused(gate.change(user, WORDS, "secret")).field == "new"
    assert gate.passwords.asked == []


def test_a_guest_has_no_password() -> None:
    assert code(Gate().change(User("alice"), WORDS, OTHER_WORDS)) == Code.FORBIDDEN


def test_a_disabled_or_deleted_account_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    user = gate.register("alice")
    assert isinstance(user, User)

    def gone(
        key: str, changes: Mapping[str, Any], done: Callable[[Account | WireError | None], None]
    ) -> None:
        done(None)

    monkeypatch.setattr(gate.store, "change_account", gone)
    assert code(gate.change(user, WORDS, OTHER_WORDS)) == Code.UNAUTHORIZED


# Tokens


def test_a_token_makes_its_account_when_it_is_first_seen() -> None:
    gate = Gate()
    user = gate.show(gate.token(rooms={"support-*": "rw"}))
    assert user == User(
        "alice",
        guest=False,
        grants=(Grant("support-*", Role.MEMBER),),
        issued_at_ms=gate.wall_ms,
        expires_at_ms=gate.wall_ms + 90_000,
    )
    assert gate.account("alice").subject == "\n42"
    assert gate.account("alice").created_at_ms == gate.wall_ms


def test_the_stored_name_counts_whatever_later_tokens_say() -> None:
    gate = Gate()
    gate.show(gate.token())
    user = gate.show(gate.token(name="mallory"))
    assert isinstance(user, User)
    assert user.name == "alice"


@pytest.mark.parametrize("taken", ["alice", "ALICE"])
def test_a_token_does_not_take_over_somebody_elses_name(taken: str) -> None:
    gate = Gate()
    gate.add(taken)
    assert code(gate.show(gate.token())) == Code.NAME_TAKEN
    assert gate.account("alice").subject is None
    other = Gate()
    other.show(other.token())
    assert code(other.show(other.token(sub="43"))) == Code.NAME_TAKEN
    assert code(other.show(other.token(iss="https://other.example"))) == Code.NAME_TAKEN


def test_two_connections_may_bring_a_new_token_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate()
    token, answers = gate.token(), list[User | WireError]()
    late: list[Callable[[], None]] = []
    look_up = gate.store.account_of
    monkeypatch.setattr(
        gate.store, "account_of", lambda subject, done: late.append(lambda: look_up(subject, done))
    )
    for _ in range(2):
        gate.authentication.authenticate(Credentials(token=token), answers.append)
    first, second = late
    found: list[Account | WireError | None] = []
    look_up("\n42", found.append)
    assert found == [None]
    monkeypatch.setattr(gate.store, "account_of", look_up)
    adding = gate.store.add_account
    added: list[Callable[[], None]] = []
    monkeypatch.setattr(
        gate.store, "add_account", lambda account, done: added.append(lambda: adding(account, done))
    )
    for each in (first, second):
        each()  # neither is there yet
    for each in added:
        each()
    assert [answer.name for answer in answers if isinstance(answer, User)] == ["alice", "alice"]


@pytest.mark.parametrize("name", ["al ice", "p\u0430ul", "a" * 33])
def test_a_token_whose_name_is_none_here_is_refused(name: str) -> None:
    error = refused(Gate().show(Gate().token(name=name)))
    assert (error.code, error.field) == (Code.UNAUTHORIZED, "token")


def test_an_account_by_token_has_its_operator_and_its_disabling() -> None:
    gate = Gate()
    gate.add("root", None, subject="\n42", operator=True)
    user = gate.show(gate.token())
    assert isinstance(user, User)
    assert (user.name, user.operator) == ("root", True)
    disabled = Gate()
    disabled.add("alice", None, subject="\n42", disabled=True)
    assert "disabled" in refused(disabled.show(disabled.token())).message


def test_tokens_from_before_signing_out_everywhere_are_not_taken() -> None:
    gate = Gate()
    gate.add("alice", WORDS, subject="\n42")
    old = gate.token()
    gate.wall_ms += 1500
    password_user = gate.ask("alice", WORDS)
    assert isinstance(password_user, User)
    assert isinstance(gate.change(password_user, WORDS, OTHER_WORDS), User)
    assert "signed out" in refused(gate.show(old)).message
    assert "signed out" in refused(gate.show(gate.token(iat=None))).message
    gate.wall_ms += 1000
    assert isinstance(gate.show(gate.token()), User)
    assert isinstance(gate.ask("alice", OTHER_WORDS), User)


def test_without_keys_no_token_is_taken() -> None:
    error = refused(Gate(keys=()).show(Gate().token()))
    assert (error.code, error.field) == (Code.UNAUTHORIZED, "token")


def test_an_expired_or_foreign_token_is_refused() -> None:
    gate = Gate()
    assert "expired" in refused(gate.show(gate.token(exp=1))).message
    foreign = jwt.encode({"sub": "42", "exp": 2_000_000_000}, "another" + SECRET)
    assert "not signed" in refused(gate.show(foreign)).message
    assert refused(gate.show("alice")).field == "token"
    assert not gate.store.has_accounts


def test_a_token_is_renewed_by_another_of_the_same_user() -> None:
    gate = Gate()
    user = gate.show(gate.token())
    assert isinstance(user, User)
    gate.wall_ms += 30_000
    renewed = gate.renew(user, gate.token(rooms={"lobby": "r"}))
    assert isinstance(renewed, User)
    assert renewed.expires_at_ms == gate.wall_ms + 90_000
    assert renewed.grants == (Grant("lobby", Role.READER),)
    assert code(gate.renew(user, gate.token(sub="43", name="bob"))) == Code.FORBIDDEN
    other = gate.show(gate.token(sub="43", name="bob"))
    assert isinstance(other, User)
    assert code(gate.renew(user, gate.token(sub="43", name="bob"))) == Code.FORBIDDEN
    assert code(gate.renew(user, gate.token(exp=1))) == Code.UNAUTHORIZED


# The hook


@pytest.mark.parametrize("answer", [User("from-hook", guest=False), WireError(Code.UNAUTHORIZED, "not you")])
def test_a_hook_may_take_over(answer: User | WireError) -> None:
    gate = Gate(Policy(guests=Guests.OFF))
    asked: list[Credentials] = []

    def hook(credentials: Credentials, done: Callable[[User | WireError | None], None]) -> None:
        asked.append(credentials)
        done(answer)

    gate.authentication.hook = hook
    assert gate.ask("alice", WORDS) is answer
    assert asked == [Credentials("alice", WORDS, None, HOME)]


def test_a_hook_without_a_say_lets_everything_go_on() -> None:
    gate = Gate()
    gate.add("alice")
    gate.authentication.hook = lambda credentials, done: done(None)
    assert gate.ask("alice", WORDS) == User("alice", guest=False)
    assert gate.ask("bob") == User("bob")
