"""Who a client is: guests, passwords, tokens. Pure: no sockets, clock or await.

Nobody learns from a login's answer or delay whether an account exists: a password of nobody's is verified
against nobody's hash, and attempts are counted for names that nobody has. (Who registers or comes as a guest
does learn that a name is taken; there is no other way to keep it so.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from fastchat.auth.attempts import Attempts, network
from fastchat.auth.interface import AccountAnswer, Answer, Credentials
from fastchat.auth.keyring import Keyring
from fastchat.auth.names import name_key, normalize_name
from fastchat.auth.passwords import Passwords, Verdict, check_password
from fastchat.auth.tokens import Claims, Key, Rules, read_header, refusal, verify
from fastchat.messages import Code, WireError
from fastchat.people import RESERVED_NAMES, Role, User
from fastchat.store.interface import Account, Directory

Hook = Callable[[Credentials, Callable[[User | WireError | None], None]], None]
"""Somebody else's say in who a client is; answers None where it has none."""

WRONG = "wrong user or password"


class Guests(StrEnum):
    """Whether clients may come without proving who they are."""

    ON = "on"
    READ_ONLY = "read-only"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings allow."""

    guests: Guests = Guests.ON
    registration: bool = True
    password_length_min: int = 15
    attempts: int = 5
    attempts_per_address: int = 20
    wait_max_s: float = 60.0
    registrations_per_address: int = 5


class Authentication:
    """The server's ``Authenticator``. ``clock`` in seconds, ``wall_ms`` in milliseconds since 1970."""

    def __init__(
        self,
        directory: Directory,
        passwords: Passwords,
        policy: Policy,
        keyring: Keyring | None = None,
        rules: Rules | None = None,
        *,
        clock: Callable[[], float],
        wall_ms: Callable[[], int],
        hook: Hook | None = None,
    ) -> None:
        self._directory = directory
        self._passwords = passwords
        self._policy = policy
        self._keyring = keyring
        self._rules = rules or Rules()
        self._clock = clock
        self._wall_ms = wall_ms
        self.hook = hook
        self._by_name = Attempts(policy.attempts, policy.wait_max_s)
        self._by_address = Attempts(policy.attempts_per_address, policy.wait_max_s)
        self._registrations = Attempts(policy.registrations_per_address, policy.wait_max_s)
        self._guests_come = policy.guests is not Guests.OFF
        self._guests_most = Role.READER if policy.guests is Guests.READ_ONLY else Role.OWNER

    def authenticate(self, credentials: Credentials, done: Answer) -> None:
        """Who the client is: by the hook, a token, a password, or its word."""
        if self.hook is None:
            self._authenticate(credentials, done)
            return

        def on_hook(answer: User | WireError | None) -> None:
            if answer is None:
                self._authenticate(credentials, done)
            else:
                done(answer)

        self.hook(credentials, on_hook)

    def _authenticate(self, credentials: Credentials, done: Answer) -> None:
        if credentials.token is not None:
            self._take_token(credentials.token, done)
        elif credentials.password is not None:
            self._log_in(credentials.user, credentials.password, credentials.address, done)
        else:
            self._welcome_guest(credentials.user, done)

    # Guests

    def _welcome_guest(self, text: str | None, done: Answer) -> None:
        if not self._guests_come:
            done(
                WireError(Code.UNAUTHORIZED, "guests are not let in here; say hello with a password or token")
            )
            return
        try:
            name = normalize_name(text) if text is not None else ""
        except WireError as error:
            done(error)
            return
        guest = User(name, most=self._guests_most)
        if _is_reserved(name):
            done(_taken(name))
            return
        if not name or not self._directory.has_accounts:
            done(guest)
            return

        def on_account(account: Account | WireError | None) -> None:
            if account is None:
                done(guest)
            elif isinstance(account, WireError):
                done(account)
            else:
                done(_taken(name))

        self._directory.account(name_key(name), on_account)

    # Passwords

    def _log_in(self, text: str | None, password: str, address: str, done: Answer) -> None:
        try:
            if text is None:
                raise WireError(Code.BAD_FIELD, "user is missing", field="user")
            key = name_key(normalize_name(text))
        except WireError as error:
            done(error)
            return
        self._prove(key, password, address, lambda proved: done(_user_of(proved)))

    def _prove(
        self, key: str, password: str, address: str, done: Callable[[Account | WireError], None]
    ) -> None:
        """The account if this is its password."""
        now, place = self._clock(), network(address)
        if wait_s := max(self._by_name.wait_s(key, now), self._by_address.wait_s(place, now)):
            done(_too_often(wait_s))
            return
        self._by_name.begin(key, now)
        self._by_address.begin(place, now)

        def on_account(account: Account | WireError | None) -> None:
            if isinstance(account, WireError):
                self._forgive(key, place)
                done(account)
                return
            stored = None if account is None else account.password
            self._passwords.verify(password, stored, partial(on_verdict, account))

        def on_verdict(account: Account | None, verdict: Verdict | WireError) -> None:
            if isinstance(verdict, WireError):
                self._forgive(key, place)
                done(verdict)
            elif account is None or not verdict.right:
                done(WireError(Code.UNAUTHORIZED, WRONG))
            else:
                self._by_name.succeed(key)
                self._by_address.take_back(place)
                if verdict.renewed is not None:
                    self._directory.change_account(key, {"password": verdict.renewed}, lambda changed: None)
                done(account)

        self._directory.account(key, on_account)

    def _forgive(self, key: str, place: str) -> None:
        self._by_name.take_back(key)
        self._by_address.take_back(place)

    def register(self, name: str, password: str, address: str, done: Answer) -> None:
        """Makes an account, where the settings allow it."""
        now, place = self._clock(), network(address)
        try:
            if not self._policy.registration:
                raise WireError(Code.FORBIDDEN, "accounts are made by the operator here")
            name = _new_name(name)
            check_password(password, name, self._policy.password_length_min)
            if wait_s := self._registrations.wait_s(place, now):
                raise _too_often(wait_s)
        except WireError as error:
            done(error)
            return
        self._registrations.begin(place, now)

        self._add_account(name, password, False, lambda added: done(_user_of(added)))

    def _add_account(
        self, name: str, password: str | None, operator: bool, done: Callable[[Account | WireError], None]
    ) -> None:
        def on_hash(stored: str | WireError | None) -> None:
            if isinstance(stored, WireError):
                done(stored)
                return
            account = Account(
                name, name_key(name), password=stored, operator=operator, created_at_ms=self._wall_ms()
            )
            self._directory.add_account(account, lambda error: done(account if error is None else error))

        if password is not None:
            self._passwords.hash(password, on_hash)
        else:
            on_hash(None)

    def change_password(self, user: User, old: str, new: str, address: str, done: Answer) -> None:
        """Refuses a wrong ``old`` as a login does. Tokens made before are not taken any more."""
        key = name_key(user.name)
        try:
            if user.guest:
                raise WireError(Code.FORBIDDEN, "a guest has no password; register first")
            check_password(new, user.name, self._policy.password_length_min, "new")
        except WireError as error:
            done(error)
            return

        def on_proved(account: Account | WireError) -> None:
            if isinstance(proved := _user_of(account), WireError):
                done(proved)
            else:
                self._passwords.hash(new, on_hash)

        def on_hash(stored: str | WireError) -> None:
            if isinstance(stored, WireError):
                done(stored)
                return
            changes = {"password": stored, "valid_from_ms": self._wall_ms()}
            self._directory.change_account(key, changes, on_changed)

        def on_changed(account: Account | WireError | None) -> None:
            done(_user_of(account) if account is not None else WireError(Code.UNAUTHORIZED, WRONG))

        self._prove(key, old, address, on_proved)

    # For the operator

    def key(self, name: str) -> str:
        """What the name has in common with all that look like it. Raises WireError for what is no name."""
        return name_key(normalize_name(name))

    def add_account(self, name: str, password: str | None, operator: bool, done: AccountAnswer) -> None:
        """Makes an account, whatever the settings allow others to make."""
        try:
            name = _new_name(name)
            if password is not None:
                check_password(password, name, self._policy.password_length_min)
        except WireError as error:
            done(error)
            return
        self._add_account(name, password, operator, done)

    def set_password(self, name: str, password: str, done: AccountAnswer) -> None:
        """Gives an account another password; None where there is no such account."""
        try:
            key = self.key(name)
            check_password(password, name, self._policy.password_length_min)
        except WireError as error:
            done(error)
            return

        def on_hash(stored: str | WireError) -> None:
            if isinstance(stored, WireError):
                done(stored)
                return
            changes = {"password": stored, "valid_from_ms": self._wall_ms()}
            self._directory.change_account(key, changes, done)

        self._passwords.hash(password, on_hash)

    # Tokens

    def _take_token(self, token: str, done: Answer) -> None:
        def on_account(claims: Claims, account: Account | WireError | None) -> None:
            if account is None:
                self._add_subject(claims, done)
            else:
                done(_user_of(account, claims))

        self._read_token(token, done, on_account)

    def renew(self, user: User, token: str, done: Answer) -> None:
        """The same user by a newer token; ``forbidden`` where it is another's."""

        def on_account(claims: Claims, account: Account | WireError | None) -> None:
            if account is None or (isinstance(account, Account) and account.name != user.name):
                done(WireError(Code.FORBIDDEN, "the token is another user's", field="token"))
            else:
                done(_user_of(account, claims))

        self._read_token(token, done, on_account)

    def _read_token(
        self, token: str, done: Answer, found: Callable[[Claims, Account | WireError | None], None]
    ) -> None:
        """What the token says and whose it is; None where it was never seen."""
        try:
            if (keyring := self._keyring) is None or not keyring:
                raise refusal("cannot be verified: there are no keys for tokens in the settings")
            header = read_header(token, self._rules)
        except WireError as error:
            done(error)
            return

        def on_keys(keys: Sequence[Key] | WireError) -> None:
            try:
                if isinstance(keys, WireError):
                    raise keys
                claims = verify(token, header, keys, self._rules, self._wall_ms())
            except WireError as error:
                done(error)
                return
            self._directory.account_of(claims.subject, partial(found, claims))

        keyring.find(header, on_keys)

    def _add_subject(self, claims: Claims, done: Answer) -> None:
        """Makes the account that tokens of this subject tell of from now on."""
        try:
            name = normalize_name(claims.name)
        except WireError as error:
            # The user can't do anything about it, the issuer can.
            done(refusal(f"names nobody: {error.message.replace('user', 'name', 1)}"))
            return
        account = Account(name, name_key(name), subject=claims.subject, created_at_ms=self._wall_ms())

        def on_added(error: WireError | None) -> None:
            if error is not None and error.code is Code.NAME_TAKEN:
                # By the same subject, perhaps, over another connection in the same moment.
                self._directory.account_of(claims.subject, partial(on_account, error))
            else:
                done(_user_of(account if error is None else error, claims))

        def on_account(taken: WireError, found: Account | WireError | None) -> None:
            done(_user_of(taken if found is None else found, claims))

        self._directory.add_account(account, on_added)


def _user_of(account: Account | WireError, claims: Claims | None = None) -> User | WireError:
    """The user that an account is, proved by a password or by the token that claims it."""
    if isinstance(account, WireError):
        return account
    if account.disabled:
        return WireError(Code.UNAUTHORIZED, "this account is disabled")
    if claims is None:
        return User(account.name, guest=False, operator=account.operator)
    if account.valid_from_ms and (claims.issued_at_ms or 0) < account.valid_from_ms:
        return refusal("was issued before its user signed out everywhere; get another one")
    return User(
        account.name,
        guest=False,
        operator=account.operator,
        grants=claims.grants,
        issued_at_ms=claims.issued_at_ms,
        expires_at_ms=claims.expires_at_ms,
    )


def _new_name(text: str) -> str:
    """The name as it will be written, of somebody who is to have an account. Raises WireError."""
    name = normalize_name(text)
    if _is_reserved(name):
        raise _taken(name)
    return name


def _is_reserved(name: str) -> bool:
    return bool(name) and name_key(name) in RESERVED_NAMES


def _taken(name: str) -> WireError:
    return WireError(Code.NAME_TAKEN, f"user {name} is taken; log in, or choose another name", field="user")


def _too_often(wait_s: float) -> WireError:
    return WireError(
        Code.RATE_LIMITED, "too many attempts; wait and try again", retry_after_ms=int(wait_s * 1000) + 1
    )
