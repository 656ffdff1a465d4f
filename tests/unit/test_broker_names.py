"""Addresses of brokers, subjects at NATS, and delays between attempts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat.broker.address import parse_addresses, without_secrets
from fastchat.broker.backoff import Backoff
from fastchat.broker.interface import BrokerError
from fastchat.broker.nats import subjects
from tests.outsiders.nats import parse_subject


def test_an_address_has_its_parts_as_they_are_meant() -> None:
    (address,) = parse_addresses("amqps://me:a%2Fb@host:5671/vhost")
    assert (address.scheme, address.host, address.port) == ("amqps", "host", 5671)
    assert (address.user, address.password) == ("me", "a/b")
    assert address.where == "host:5671"


def test_several_servers_stand_with_commas_between() -> None:
    found = parse_addresses("nats://one,nats://token@[::1]:4333")
    assert [address.where for address in found] == ["one", "[::1]:4333"]
    assert (found[1].user, found[1].password) == ("token", None)


@pytest.mark.parametrize("url", ["nats://", "redis://:secret@", "amqp://host:port"])
def test_an_address_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(BrokerError, match=r"broker\.url") as refused:
        parse_addresses(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("said", ["bad login me:a/b", "bad login me:a%2Fb", "at amqp://me:a%2Fb@host/"])
def test_what_a_library_says_is_shown_without_the_password(said: str) -> None:
    assert without_secrets(said, "amqp://me:a%2Fb@host/", "refused") == "refused"


def test_a_token_is_a_secret_and_a_users_name_is_none() -> None:
    assert without_secrets("user token", "nats://token@host", "refused") == "refused"
    assert without_secrets("user me", "nats://me:secret@host", "refused") == "user me"


def test_delays_grow_to_a_limit_and_are_spread() -> None:
    backoff = Backoff(first_s=1, longest_s=5)
    assert [backoff.next_s(0.0) for _ in range(5)] == [0.5, 1, 2, 2.5, 2.5]
    assert 4.9 < backoff.next_s(0.999) < 5


def test_only_a_connection_that_lasted_starts_them_again() -> None:
    backoff = Backoff(first_s=1, longest_s=100)
    backoff.next_s(0.0)
    backoff.connected_for(0.1)
    assert backoff.next_s(0.0) == 1
    backoff.connected_for(60.0)
    assert backoff.next_s(0.0) == 0.5


@given(st.sampled_from(["message", "session", "presence"]), st.text(min_size=1))
def test_a_room_is_one_word_of_a_subject_and_comes_back(kind: str, room: str) -> None:
    subject = subjects.encode_subject("fastchat", f"{kind}.{room}")
    words = subject.split(".")
    assert words[:3] == ["fastchat", "events", kind]
    assert len(words) == 4
    assert re.fullmatch(r"[!-~]+", words[3])
    assert not set(words[3]) & set("*>")
    assert parse_subject("fastchat", subject) == f"{kind}.{room}"


def test_subjects_of_usual_rooms_are_readable() -> None:
    assert subjects.encode_subject("fastchat", "message.lobby") == "fastchat.events.message.lobby"
    assert (
        subjects.encode_subject("fastchat", "message.@al-ice,~bob") == "fastchat.events.message.@al-ice,~bob"
    )
    assert subjects.encode_subject("fastchat", "message.team.red") == "fastchat.events.message.team%2Ered"
    assert subjects.encode_subject("fastchat", "session.connected") == "fastchat.events.session.connected"
