"""Replies that wait for the next one, so that both share a write."""

import pytest

from tests.twins.stage import COMPILED, TWIN, Stage

pytestmark = pytest.mark.compiled


@pytest.fixture(params=[COMPILED, TWIN], ids=["compiled", "twin"])
def stage(request: pytest.FixtureRequest) -> Stage:
    return Stage(request.param)


def test_everything_for_who_returns_is_one_write(stage: Stage) -> None:
    room = stage.channel()
    said = [stage.say(room) for _ in range(3)]
    client = stage.client()
    client.writer.write(b"welcome\n")
    client.writer.hold()
    client.writer.settle()
    stage.settle()
    assert client.heard == []
    client.join(room, after=0)
    client.writer.write(b"joined\n")
    stage.settle()
    assert client.heard == [b"welcome", b"joined", *said]
    assert client.writes == 1


def test_release_ends_it(stage: Stage) -> None:
    client = stage.client()
    client.writer.write(b"welcome\n")
    client.writer.hold()
    stage.settle()
    client.writer.write(b"error\n")
    client.writer.release()
    client.writer.release()
    stage.settle()
    assert client.heard == [b"welcome", b"error"]
    assert client.writes == 1


def test_a_member_is_not_held_up(stage: Stage) -> None:
    room = stage.channel()
    client = stage.client(room)
    client.writer.hold()
    said = stage.say(room)
    stage.settle()
    assert client.heard == [said]


def test_replies_without_room_end_it(stage: Stage) -> None:
    client = stage.client(profile=stage.profile("lines", 100))
    client.writer.hold()
    client.writer.write(b"x" * 99 + b"\n")
    stage.settle()
    assert client.heard == [b"x" * 99]


def test_last_words_are_not_held(stage: Stage) -> None:
    client = stage.client()
    client.writer.write(b"welcome\n")
    client.writer.hold()
    client.writer.flush()
    client.writer.write(b"bye\n")
    client.writer.finish()
    assert client.heard == [b"welcome", b"bye"]
