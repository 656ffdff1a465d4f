"""Two people with `nc`: accounts, what they write to each other alone, and a moderator."""

from collections.abc import Iterator

import pytest

from tests.clients import TextClient
from tests.integration.rooms import fresh_name
from tests.server_process import ServerProcess


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("auth.registration=on") as running:
        yield running


async def test_two_people_sign_in_write_to_each_other_and_one_takes_the_other_out(
    server: ServerProcess,
) -> None:
    room, secret = fresh_name("den"), "a secret of alice"
    async with await TextClient.open(server.line) as first:
        await first.type(f"/register alice {secret}")
        await first.expect("Welcome, alice!")
    async with await TextClient.open(server.line) as alice, await TextClient.open(server.line) as bob:
        await alice.type("/login alice not this one")
        await alice.expect("wrong user or password")
        await alice.type(f"/login alice {secret}")
        await alice.expect("Welcome, alice!")
        await bob.type("/nick bob")
        await bob.expect("Welcome, bob!")

        await alice.type("/msg bob only for you")
        await bob.expect("[@alice] alice: only for you")
        await bob.type("/msg alice thank you")
        await alice.expect("[@bob] bob: thank you")
        await bob.type("/msg alice")
        await bob.expect("[@alice] alice: only for you")
        await bob.expect("[@alice] bob: thank you")

        await alice.type(f"/create {room} tea and cake")
        await alice.expect(f"there is a room {room} now; /join {room}")
        await alice.type(f"/join {room}")
        await alice.expect(f"you are in {room} with nobody else as owner")
        await bob.type(f"/join {room}")
        await bob.expect(f"{room} is about: tea and cake")
        await bob.type("/kick alice")
        await bob.expect("* ")
        await alice.type("/kick bob enough for today")
        await bob.expect(
            f"you were taken out of {room} by alice (enough for today); you are talking in lobby"
        )
        await alice.expect(f"[{room}] alice has taken bob out (enough for today)")
        await alice.type("/ban bob 10m")
        await alice.expect(f"[{room}] alice has banned bob for 10m")
        await bob.type(f"/join {room}")
        await bob.expect(f"bob is banned from room {room}")
        heard = [*alice.skipped, *bob.skipped]
    assert not [line for line in heard if secret in line]
    assert secret not in server.log
