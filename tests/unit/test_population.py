"""Who is online: names, an account's connections, tokens that end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat.messages import Close, Code, WireError
from fastchat.people import User
from fastchat.population import NOBODY, Devices, Population


class Somebody:
    """A session as the population sees it."""

    def __init__(self, population: Population) -> None:
        self.population = population
        self.user = ""
        self.person = NOBODY
        self.devices: Devices | None = None
        self.rooms: list[str] = []
        self.ended: list[Close] = []
        self.told_ms: list[int] = []

    def end(self, code: Close, reason: str) -> None:
        assert reason
        self.ended.append(code)
        self.population.leave(self)

    def expel(self, room: str, by: str | None, reason: str | None) -> None:
        raise NotImplementedError

    def tell_expiry(self, expires_in_ms: int) -> None:
        self.told_ms.append(expires_in_ms)


@pytest.fixture
def population() -> Population:
    return Population()


def come(population: Population, name: str = "", *, guest: bool = True, until: int | None = None) -> Somebody:
    somebody = Somebody(population)
    population.enter(somebody, User(name, guest=guest, expires_at_ms=until))
    return somebody


def account(population: Population, name: str, until: int | None = None) -> Somebody:
    return come(population, name, guest=False, until=until)


def refusal(population: Population, name: str, *, guest: bool = True) -> Code:
    with pytest.raises(WireError) as caught:
        come(population, name, guest=guest)
    return caught.value.code


# Guests' names


def test_a_guests_name_is_had_by_one_whatever_its_case(population: Population) -> None:
    alice = come(population, "Alice")
    assert (alice.user, alice.person.name) == ("Alice", "Alice")
    with pytest.raises(WireError) as caught:
        come(population, "aLICE")
    assert (caught.value.code, caught.value.field) == (Code.NAME_TAKEN, "user")
    population.leave(alice)
    assert come(population, "alice").user == "alice"


def test_names_that_are_made_up_are_never_those_in_use(
    population: Population, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up = iter(["aaaa", "aaaa", "bbbbbbbb", "cccc", "dddddddd"])
    monkeypatch.setattr("fastchat.population.token_hex", lambda size: next(made_up))
    assert [come(population).user for _ in range(2)] == ["guest-aaaa", "guest-bbbbbbbb"]
    come(population, "Guest-CCCC")
    assert come(population).user == "guest-dddddddd"


def test_renaming_frees_the_old_name_and_takes_the_new_one(population: Population) -> None:
    alice = come(population, "alice")
    population.rename(alice, User("bob"))
    assert refusal(population, "Bob") == Code.NAME_TAKEN
    other = come(population, "alice")
    with pytest.raises(WireError, match="taken"):
        population.rename(other, User("BOB"))
    assert (other.user, population.sessions("alice")) == ("alice", (other,))
    population.rename(alice, User("BOB"))
    assert (alice.user, population.sessions("bob")) == ("BOB", (alice,))


def test_who_leaves_twice_does_not_take_anothers_name_along(population: Population) -> None:
    first = come(population, "alice")
    population.leave(first)
    second = come(population, "alice")
    population.leave(first)
    population.leave(Somebody(population))
    assert population.sessions("alice") == (second,)


# Accounts


def test_an_account_has_many_connections(population: Population) -> None:
    devices = [account(population, "alice") for _ in range(3)]
    assert population.sessions("ALICE") == tuple(devices)
    assert len(population) == 1
    assert len({id(each.devices) for each in devices}) == 1
    for each in devices:
        assert refusal(population, "alice") == Code.NAME_TAKEN
        population.leave(each)
    assert population.sessions("alice") == ()
    assert come(population, "alice").devices is None


def test_an_accounts_connections_are_limited() -> None:
    population = Population(connections_per_user=2)
    first, _ = account(population, "alice"), account(population, "alice")
    assert refusal(population, "alice", guest=False) == Code.TOO_MANY_CONNECTIONS
    account(population, "bob")
    population.leave(first)
    account(population, "alice")


def test_an_account_that_comes_has_its_name_back_from_a_guest(population: Population) -> None:
    guest = come(population, "Alice")
    owner = account(population, "alice")
    assert guest.ended == [Close.SIGNED_OUT]
    assert population.sessions("alice") == (owner,)


@pytest.mark.parametrize("name", ["guest", "GUEST", "alice"])
def test_a_guest_may_become_an_account(population: Population, name: str) -> None:
    session = come(population, "guest")
    population.rename(session, User(name, guest=False))
    assert (session.user, session.person.guest, session.ended) == (name, False, [])
    assert population.sessions(name) == (session,)
    assert (len(population), population.sessions("guest") == ()) == (1, name == "alice")


def test_what_an_accounts_connections_send_is_counted_together(population: Population) -> None:
    one, other = account(population, "alice"), account(population, "alice")
    for each in (one, other):
        assert each.devices is not None
        assert each.devices.wait_s(100.0, 1.0, 2) == 0
        each.devices.take(100.0, 1.0)
    assert one.devices is not None
    assert one.devices.wait_s(100.0, 1.0, 2) == 1.0


def test_the_rooms_of_an_account_are_those_of_all_its_connections(population: Population) -> None:
    one, other = account(population, "alice"), account(population, "alice")
    one.rooms, other.rooms = ["lobby", "games"], ["lobby"]
    assert one.devices is not None
    assert one.devices.rooms() == {"lobby", "games"}


def test_all_of_a_user_are_sent_away_but_one(population: Population) -> None:
    devices = [account(population, "alice") for _ in range(3)]
    bob = account(population, "bob")
    before = population.endings
    population.send_away("alice", Close.SIGNED_OUT, "the password has changed", but=devices[1])
    assert [each.ended for each in devices] == [[Close.SIGNED_OUT], [], [Close.SIGNED_OUT]]
    assert population.sessions("alice") == (devices[1],)
    assert (bob.ended, population.endings) == ([], before + 1)
    population.send_away("nobody", Close.DISABLED, "the account is disabled")


# Tokens that end


def test_the_end_of_a_token_is_announced_and_then_ends_the_session() -> None:
    population = Population(notice_ms=1000)
    alice = account(population, "alice", 10_000)
    forever = account(population, "alice")
    population.check_expiry(8_999)
    assert alice.told_ms == []
    population.check_expiry(9_500)
    population.check_expiry(9_900)
    assert (alice.told_ms, alice.ended) == ([500], [])
    population.check_expiry(10_000)
    assert (alice.told_ms, alice.ended) == ([500], [Close.TOKEN_EXPIRED])
    assert (forever.told_ms, forever.ended) == ([], [])


def test_a_newer_token_takes_the_place_of_the_old_one() -> None:
    population = Population(notice_ms=1000)
    alice = account(population, "alice", 10_000)
    population.check_expiry(9_500)
    population.renew(alice, User("alice", guest=False, expires_at_ms=20_000))
    population.check_expiry(18_000)
    assert (alice.told_ms, alice.ended) == ([500], [])
    population.renew(alice, User("alice", guest=False))
    population.check_expiry(10**12)
    assert (alice.told_ms, alice.ended) == ([500], [])


def test_who_has_left_is_not_kept_until_its_token_ends() -> None:
    population = Population()
    for _ in range(1000):
        population.leave(account(population, "alice", 10**12))
    assert len(population._expiry) == 0
    assert len(population._expiry._heap) <= 64


# Whatever happens


actions = st.lists(
    st.tuples(
        st.sampled_from(["guest", "account", "rename", "log in", "leave", "send away", "time"]),
        st.sampled_from(["a", "A", "b", "c"]),
        st.integers(0, 5),
    ),
    max_size=60,
)


@given(actions)
def test_everybody_who_is_online_is_found_and_nobody_else(actions: list[tuple[str, str, int]]) -> None:
    population = Population(connections_per_user=3, notice_ms=1)
    everyone: list[Somebody] = []
    now = 0

    def online() -> list[Somebody]:
        return [each for each in everyone if each in population.sessions(each.user)]

    for action, name, number in actions:
        there = online()
        chosen = there[number % len(there)] if there else None
        before = {each: each.user for each in there}
        try:
            if action in ("guest", "account"):
                somebody = Somebody(population)
                until = now + number if number else None
                population.enter(somebody, User(name, guest=action == "guest", expires_at_ms=until))
                everyone.append(somebody)
            elif action in ("rename", "log in") and chosen is not None and chosen.person.guest:
                population.rename(chosen, User(name, guest=action == "rename"))
            elif action == "leave" and chosen is not None:
                population.leave(chosen)
            elif action == "send away":
                population.send_away(name, Close.SIGNED_OUT, "over")
            elif action == "time":
                now += number
                population.check_expiry(now)
        except WireError:
            assert {each: each.user for each in online()} == before
        names = [each.user.casefold() for each in online()]
        assert len(population) == len({*names})
        for each in online():
            assert each.user == each.person.name
            assert not each.ended
            same = [one for one in online() if one.user.casefold() == each.user.casefold()]
            assert set(population.sessions(each.user)) == {*same}
            assert len(same) <= (1 if each.person.guest else 3)
            assert each.person.expires_at_ms is None or each.person.expires_at_ms > now or action != "time"
    for each in online():
        population.leave(each)
    assert len(population) == 0
    assert len(population._expiry) == 0
