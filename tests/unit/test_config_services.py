"""The addresses of databases and brokers, what they are shown as, and which settings go together."""

import pytest

from fastchat.config import ConfigError, Settings, describe, load, read
from fastchat.config.cluster import is_cluster, is_postgresql
from fastchat.config.service_url import masked

POSTGRESQL = "store.url=postgresql://chat:pass@db.example/chat"
NATS = "broker.url=nats://bus.example"


def problem_of(*sets: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(None, sets, {})
    (problem,) = caught.value.problems
    assert "\n" not in problem
    return problem


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://db/chat", "postgresql://db/chat"),
        ("postgresql://chat@db/chat", "postgresql://***@db/chat"),
        (
            "postgresql://chat:pa%2Fss@db:5433/chat?ssl=require",
            "postgresql://chat:***@db:5433/chat?ssl=require",
        ),
        ("postgres://db/chat?Password=pass&x=1", "postgres://db/chat?Password=***&x=1"),
        ("postgresql://chat:pa/s@s@db/chat", "postgresql://chat:***@db/chat"),
        ("amqp://guest:guest@localhost:5672/%2F", "amqp://guest:***@localhost:5672/%2F"),
        ("nats://token@a:4222,nats://user:pass@b:4222", "nats://***@a:4222,nats://user:***@b:4222"),
        ("redis://:pass@h:6379/0", "redis://:***@h:6379/0"),
        ("sqlite:///var/lib/chat.db", "sqlite:///var/lib/chat.db"),
        ("", ""),
    ],
)
def test_addresses_are_shown_without_what_is_secret(url: str, shown: str) -> None:
    assert masked(url) == shown


@pytest.mark.parametrize(
    "text",
    [
        "store.url=postgresql://db/chat",
        "store.url=postgres://chat:p%40ss@db:5432/chat?sslmode=require",
        "store.url=postgresql://[::1]:5432/chat",
        "broker.url=",
        "broker.url=amqp://guest:guest@localhost/%2F",
        "broker.url=amqps://h:5671/vhost",
        "broker.url=nats://a:4222,nats://b:4222",
        "broker.url=tls://h",
        "broker.url=redis://:pass@h:6379/3",
        "broker.url=rediss://h",
    ],
)
def test_addresses_that_can_be_used(text: str) -> None:
    assert load(None, [text], {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("store.url=postgresql:chat", "use 'memory:' or 'sqlite:'"),
        (
            "store.url=postgresql://db",
            "name one database behind the host, such as postgresql://HOST/fastchat",
        ),
        ("store.url=postgresql://db/", "name one database behind the host"),
        ("store.url=postgresql:///chat", "the host is missing: write postgresql://HOST:PORT"),
        ("store.url=postgresql://u:se/cret@db/chat", "write / : @ # ? [ ] in a password as %XX"),
        ("store.url=postgresql://db:0/chat", "the port is a number from 1 to 65535"),
        (
            "broker.url=localhost",
            "use amqp://, amqps://, nats://, tls://, redis:// or rediss:// with HOST:PORT",
        ),
        (
            "broker.url=kafka://h",
            "use amqp://, amqps://, nats://, tls://, redis:// or rediss:// with HOST:PORT",
        ),
        ("broker.url=amqp://h:amqp", "the port is a number from 1 to 65535"),
        ("broker.url=amqp://u:se#cret@h", "write / : @ # ? [ ] in a password as %XX"),
        ("broker.url=amqp://u:secrét@h", "letters or digits as %XX, in a password too"),
        ("broker.url=amqp://h//", "virtual host with a / in its name is written with %2F"),
        ("broker.url=redis://h/chat", "stands the number of a database, such as redis://HOST/0"),
        ("broker.url=nats://h/chat", "nats:// takes a host and port alone"),
        ("broker.events=message,likes", "use some of message, moderation, receipt, presence, session"),
        ("broker.name=a.b", "use 1 to 32 of a-z 0-9 - that begin with a letter or digit"),
        ("cluster.name=", "use 1 to 32 of a-z 0-9 - that begin with a letter or digit"),
        ("server.workers=0", "use a whole number from 1 to 1024"),
    ],
)
def test_what_cannot_be_used_says_what_can(text: str, expected: str) -> None:
    problem = problem_of(text)
    assert expected in problem
    assert "cret" not in problem


def test_no_password_is_shown_by_any_way_of_showing_settings() -> None:
    sets = ["store.url=postgresql://chat:hunter2@db/chat", "broker.url=redis://:hunter2@h/0"]
    loaded = read(None, sets, {})
    assert loaded.settings.store.url.endswith("chat:hunter2@db/chat")
    told = (
        describe.table(loaded.settings, loaded.origins),
        describe.toml(loaded.settings),
        repr(loaded.settings),
        str(loaded.settings.store),
    )
    assert not any("hunter2" in text for text in told)
    assert '\n# url = "postgresql://chat:***@db/chat"\n' in told[1]
    assert "hunter2" not in problem_of(*sets, "broker.queue=q")


def test_a_node_is_what_has_postgresql_and_a_broker() -> None:
    assert not is_postgresql(Settings().store.url)
    for sets, expected in (([], False), ([POSTGRESQL], False), ([NATS], False), ([POSTGRESQL, NATS], True)):
        settings = load(None, sets, {})
        assert is_cluster(settings.store.url, settings.broker.url) == expected


@pytest.mark.parametrize(
    ("sets", "missing"),
    [
        ([], ("store.url to postgresql://", "broker.url to amqp://")),
        ([NATS], ("store.url to postgresql://",)),
        ([POSTGRESQL], ("broker.url to amqp://",)),
    ],
)
def test_workers_say_what_they_need(sets: list[str], missing: tuple[str, ...]) -> None:
    problem = problem_of("server.workers=4", *sets)
    assert problem.startswith("server.workers: 4 workers are one chat only over a store and a broker")
    for setting in ("store.url to postgresql://", "broker.url to amqp://"):
        assert (setting in problem) == (setting in missing)
    assert load(None, ["server.workers=4", POSTGRESQL, NATS], {}).server.workers == 4
    assert load(None, ["server.workers=1", *sets], {}).server.workers == 1


def test_several_nodes_keep_no_rooms_in_memory() -> None:
    classes = 'rooms.classes=[{"pattern": "x"}, {"pattern": "tmp-*", "store": "memory"}]'
    problem = problem_of(classes, POSTGRESQL, NATS)
    assert problem.startswith("rooms.classes: the rooms 'tmp-*' are kept in memory")
    for sets in ([POSTGRESQL], [NATS]):
        assert load(None, [classes, *sets], {})


def test_what_is_about_a_broker_needs_that_broker() -> None:
    assert "broker.queue: q (from --set) does not fit; " in problem_of("broker.queue=q", NATS)
    assert "which is nothing (the default)" in problem_of("broker.inbox=on")
    assert "names that begin with amq. are RabbitMQ's own" in problem_of("broker.queue=amq.q")
    settings = load(None, ["broker.url=amqp://h", "broker.queue=q", "broker.inbox=on"], {})
    assert (settings.broker.queue, settings.broker.inbox) == ("q", "on")
