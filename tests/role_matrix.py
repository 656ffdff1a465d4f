"""Who may do what in a room, written down by hand: what the server's own table is held to."""

# Columns: what somebody is in a public room. "yes", or the code of the refusal.
MATRIX = """
action         banned   reader     muted      member     moderator  owner
create         banned   forbidden  muted      yes        yes        yes
join           banned   yes        yes        yes        yes        yes
leave          yes      yes        yes        yes        yes        yes
list           banned   yes        yes        yes        yes        yes
history        banned   yes        yes        yes        yes        yes
search         banned   yes        yes        yes        yes        yes
members        banned   yes        yes        yes        yes        yes
room           banned   yes        yes        yes        yes        yes
ack            banned   yes        yes        yes        yes        yes
send           banned   forbidden  muted      yes        yes        yes
edit           banned   forbidden  muted      yes        yes        yes
delete         banned   forbidden  muted      yes        yes        yes
react          banned   forbidden  muted      yes        yes        yes
typing         banned   forbidden  muted      yes        yes        yes
delete_others  banned   forbidden  forbidden  forbidden  yes        yes
topic          banned   forbidden  forbidden  forbidden  yes        yes
slow           banned   forbidden  forbidden  forbidden  yes        yes
invite         banned   forbidden  forbidden  forbidden  yes        yes
kick           banned   forbidden  forbidden  forbidden  yes        yes
ban            banned   forbidden  forbidden  forbidden  yes        yes
unban          banned   forbidden  forbidden  forbidden  yes        yes
mute           banned   forbidden  forbidden  forbidden  yes        yes
unmute         banned   forbidden  forbidden  forbidden  yes        yes
role           banned   forbidden  forbidden  forbidden  yes        yes
appoint        banned   forbidden  forbidden  forbidden  forbidden  yes
access         banned   forbidden  forbidden  forbidden  forbidden  yes
"""


def rows(text: str = MATRIX) -> dict[str, dict[str, str]]:
    """By action and column what comes of it."""
    lines = [line.split() for line in text.strip().splitlines()]
    columns = lines[0][1:]
    return {name: dict(zip(columns, cells, strict=True)) for name, *cells in lines[1:]}


def cells() -> list[tuple[str, str, str]]:
    """Every action with every column and what comes of it."""
    return [(action, column, cell) for action, row in rows().items() for column, cell in row.items()]
