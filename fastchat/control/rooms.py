"""`fastchat room`: rooms and the people in them, for the operator."""

from typing import Annotated

import typer

from fastchat.config.duration import parse_duration_s
from fastchat.control.options import USAGE, AsJson, control, end, print_json, print_table, remember, when

Room = Annotated[str, typer.Argument(metavar="ROOM", help="The room's name.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Whom it is about.")]
For = Annotated[
    str | None, typer.Option("--for", metavar="TIME", help="Such as 90s, 10m, 12h, 7d; without it, for good.")
]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Everyone in the room reads it.")
]

app = typer.Typer(
    help="Rooms, also while the server runs.", no_args_is_help=True, rich_markup_mode=None, callback=remember
)


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """Show every room that is kept, rooms of two excepted."""
    with control(context) as server:
        rooms = server.ask_all("room_list", "rooms", "room")
    if as_json:
        print_json(rooms)
        return
    print_table(
        ("ROOM", "MEMBERS", "EVENTS", "NEWEST", "BYTES"),
        [
            (
                room["room"],
                str(room["members"]),
                str(room["head"] - room["first"] + 1),
                str(room["head"]),
                str(room["size_bytes"]),
            )
            for room in rooms
        ],
    )


@app.command()
def show(context: typer.Context, room: Room, as_json: AsJson = False) -> None:
    """Show a room's topic, access and people."""
    with control(context) as server:
        found = server.ask("room", room=room)
    found.pop("ref", None)
    if as_json:
        print_json([found])
        return
    print(f"room     {found['room']}")
    print(f"topic    {found['topic'] or '-'}")
    print(f"access   {found['access']}")
    print(f"slow     {found['interval_s'] or '-'}")
    print(f"members  {found['members']} here, {found['head']} events")
    for name, role in found["roles"].items():
        print(f"{role:8} {name}")
    for name in found["invited"]:
        print(f"invited  {name}")
    for word in ("banned", "muted"):
        for name, until_ms in found[word].items():
            print(f"{word:8} {name}{f' until {when(until_ms)}' if until_ms else ''}")


@app.command()
def create(
    context: typer.Context,
    room: Room,
    access: Annotated[str | None, typer.Option(metavar="public|private|invite")] = None,
    topic: Annotated[str | None, typer.Option(metavar="TEXT")] = None,
) -> None:
    """Open a room; give it an owner with 'fastchat room role'."""
    _do(context, "create", room, f"created {room}", access=access, topic=topic)


@app.command()
def topic(context: typer.Context, room: Room, text: Annotated[str, typer.Argument(metavar="TEXT")]) -> None:
    """Say what a room is about; an empty text takes it away."""
    _do(context, "topic", room, f"{room} has a new topic", topic=text)


@app.command()
def access(
    context: typer.Context,
    room: Room,
    access: Annotated[str, typer.Argument(metavar="public|private|invite")],
) -> None:
    """Say who may enter a room."""
    _do(context, "access", room, f"{room} is {access} now", access=access)


@app.command()
def slow(
    context: typer.Context, room: Room, interval: Annotated[str, typer.Argument(metavar="TIME|off")]
) -> None:
    """Have everyone wait this long between two messages."""
    seconds = 0 if interval == "off" else _seconds(interval)
    _do(
        context,
        "slow",
        room,
        f"{room} is {'slow now' if seconds else 'as quick as ever'}",
        interval_s=seconds,
    )


@app.command()
def role(
    context: typer.Context,
    room: Room,
    name: Name,
    role: Annotated[str, typer.Argument(metavar="owner|moderator|member|reader")],
) -> None:
    """Say what somebody may do in a room."""
    _do(context, "role", room, f"{name} has the role {role} in {room}", user=name, role=role)


@app.command()
def invite(context: typer.Context, room: Room, name: Name) -> None:
    """Let somebody into a room that is not public."""
    _do(context, "invite", room, f"{name} may enter {room}", user=name)


@app.command()
def kick(context: typer.Context, room: Room, name: Name, reason: Reason = None) -> None:
    """Take somebody out of a room, who may come back."""
    _do(context, "kick", room, f"{name} was taken out of {room}", user=name, reason=reason)


@app.command()
def ban(context: typer.Context, room: Room, name: Name, period: For = None, reason: Reason = None) -> None:
    """Keep somebody out of a room."""
    for_s = None if period is None else _seconds(period)
    _do(context, "ban", room, f"{name} is banned from {room}", user=name, for_s=for_s, reason=reason)


@app.command()
def unban(context: typer.Context, room: Room, name: Name) -> None:
    """Let somebody come back."""
    _do(context, "unban", room, f"{name} may enter {room} again", user=name)


@app.command()
def mute(context: typer.Context, room: Room, name: Name, period: For = None, reason: Reason = None) -> None:
    """Have somebody read only."""
    for_s = None if period is None else _seconds(period)
    _do(context, "mute", room, f"{name} may only read in {room}", user=name, for_s=for_s, reason=reason)


@app.command()
def unmute(context: typer.Context, room: Room, name: Name) -> None:
    """Let somebody write again."""
    _do(context, "unmute", room, f"{name} may write in {room} again", user=name)


@app.command()
def delete(
    context: typer.Context, room: Room, seq: Annotated[int, typer.Argument(metavar="SEQ", min=1)]
) -> None:
    """Delete the message with this seq."""
    with control(context) as server:
        server.ask("join", room=room)
        server.ask("delete", room=room, seq=seq)
    print(f"message {seq} of {room} is deleted")


def _do(context: typer.Context, kind: str, room: str, done: str, **fields: str | int | None) -> None:
    with control(context) as server:
        server.ask(kind, room=room, **fields)
    print(done)


def _seconds(text: str) -> int:
    try:
        return max(1, round(parse_duration_s(text)))
    except ValueError as error:
        end([str(error)], USAGE)
