"""`fastchat audit`: who did what to whom."""

from typing import Annotated

import typer

from fastchat.control.client import Reply
from fastchat.control.options import (
    AsJson,
    ConfigFile,
    Sets,
    StoreUrl,
    control,
    print_json,
    print_table,
    remember,
    when,
)


def audit(
    context: typer.Context,
    most: Annotated[int, typer.Option("--most", metavar="N", min=1, help="The newest N entries.")] = 50,
    room: Annotated[str | None, typer.Option(metavar="ROOM", help="Of this room alone.")] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    sets: Sets = None,
    store: StoreUrl = None,
) -> None:
    """Show moderation acts and what operators did to accounts, the newest first."""
    remember(context, config, sets, store)
    entries: list[Reply] = []
    with control(context) as server:
        before = None
        while len(entries) < most:
            page = server.ask("audit", before=before)
            entries += [entry for entry in page["entries"] if room is None or entry.get("room") == room]
            if not page["more"]:
                break
            before = page["entries"][-1]["number"]
    del entries[most:]
    if as_json:
        print_json(entries)
        return
    print_table(
        ("WHEN", "WHO", "WHAT", "WHOM", "WHERE", "MORE"),
        [
            (
                when(entry["at"]),
                entry["actor"],
                entry["action"],
                entry.get("target") or "-",
                entry.get("room") or "-",
                entry.get("detail") or "",
            )
            for entry in entries
        ],
    )
