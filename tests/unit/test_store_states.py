"""What becomes of a message: each change, alone and after others."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat.messages import Code, WireError
from fastchat.store import Draft
from fastchat.store.states import REACTIONS_MAX, State, change, check_change
from tests.pump import delete, edit, react

MESSAGE: State = {
    "type": "message",
    "room": "lobby",
    "seq": 1,
    "id": "x",
    "from": "alice",
    "at": 1,
    "text": "hi",
}


def after(*drafts: Draft, message: State = MESSAGE) -> State:
    for draft in drafts:
        message = change(message, draft)
    return message


def test_an_edit_replaces_text_and_data() -> None:
    message = MESSAGE | {"data": {"a": 1}}
    assert after(edit(1, "hello"), message=message) == MESSAGE | {"text": "hello", "edited": 2000}
    with_data = Draft(edit(1, "").kind, "alice", 2500, {"text": "hello", "data": {"b": 2}}, None, 1)
    assert after(edit(1, "ho"), with_data, message=message) == MESSAGE | {
        "text": "hello", "data": {"b": 2}, "edited": 2500,
    }  # fmt: skip


def test_a_deletion_leaves_who_and_when() -> None:
    message = after(edit(1, "hello"), react(1, "👍", "bob"), delete(1), message=MESSAGE | {"data": {}})
    assert message == {field: value for field, value in MESSAGE.items() if field != "text"} | {
        "deleted": 3000
    }


def test_an_edit_keeps_reactions() -> None:
    assert after(react(1, "👍", "bob"), edit(1, "hello"))["reactions"] == {"👍": ["bob"]}


def test_reactions_stand_in_the_order_in_which_they_came() -> None:
    message = after(react(1, "b", "bob"), react(1, "a", "carol"), react(1, "b", "alice"))
    assert list(message["reactions"].items()) == [("b", ["bob", "alice"]), ("a", ["carol"])]
    assert after(react(1, "b", "bob"), message=message)["reactions"]["b"] == ["alice", "bob"]
    assert after(react(1, "b", "bob", remove=True), message=message)["reactions"]["b"] == ["alice"]
    assert after(react(1, "a", "bob", remove=True), message=message) == message


changes = st.lists(
    st.one_of(
        st.builds(edit, st.just(1), st.sampled_from(["a", "b"])),
        st.builds(
            react, st.just(1), st.sampled_from("+-"), st.sampled_from(["alice", "bob"]), remove=st.booleans()
        ),
        st.just(delete(1)),
    )
)


@given(changes)
def test_a_change_leaves_the_older_state_as_it_was(drafts: list[Draft]) -> None:
    states: list[tuple[State, str]] = [(MESSAGE, repr(MESSAGE))]
    for draft in drafts:
        state = change(states[-1][0], draft)
        assert state["seq"] == 1
        assert all(state.get("reactions", {"+": ["alice"]}).values())
        states.append((state, repr(state)))
    assert all(repr(state) == before for state, before in states)


@pytest.mark.parametrize("message", [None, MESSAGE | {"deleted": 1}])
@pytest.mark.parametrize("draft", [edit(1, "x"), delete(1), react(1, "👍")])
def test_what_is_not_there_cannot_be_changed(message: State | None, draft: Draft) -> None:
    with pytest.raises(WireError, match="there is no message with seq 1") as caught:
        check_change(draft, message)
    assert (caught.value.code, caught.value.field) == (Code.NO_SUCH_MESSAGE, "seq")


@pytest.mark.parametrize(("draft", "verb"), [(edit(1, "x", "bob"), "edit"), (delete(1, "Alice"), "delete")])
def test_what_is_somebody_elses_cannot_be_changed(draft: Draft, verb: str) -> None:
    with pytest.raises(WireError, match=f"only alice may {verb} this message") as caught:
        check_change(draft, MESSAGE)
    assert caught.value.code is Code.FORBIDDEN


@pytest.mark.parametrize("draft", [edit(1, "x"), delete(1), react(1, "👍"), react(1, "👍", "bob")])
def test_what_may_be_changed(draft: Draft) -> None:
    check_change(draft, MESSAGE)


def test_a_message_has_so_many_different_reactions() -> None:
    reactions: dict[str, Any] = {str(number): ["bob"] for number in range(REACTIONS_MAX)}
    full = MESSAGE | {"reactions": reactions}
    check_change(react(1, "0"), full)
    with pytest.raises(WireError, match="use one of them"):
        check_change(react(1, "new"), full)
    check_change(react(1, "gone", remove=True), MESSAGE)
