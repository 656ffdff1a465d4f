"""`fastchat user`: accounts, for the operator."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fastchat.control.client import Reply
from fastchat.control.options import (
    FAILURE,
    USAGE,
    AsJson,
    control,
    end,
    print_json,
    print_table,
    remember,
    when,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The account's name.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", metavar="FILE", help="Read the password from its first line; - is stdin."
    ),
]

app = typer.Typer(
    help="Accounts, also while the server runs.",
    no_args_is_help=True,
    rich_markup_mode=None,
    callback=remember,
)


@app.command()
def add(
    context: typer.Context,
    name: Name,
    password_file: PasswordFile = None,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="For those who come with tokens alone.")
    ] = False,
    operator: Annotated[bool, typer.Option("--operator", help="May do everything, everywhere.")] = False,
) -> None:
    """Make an account."""
    password = None if no_password else _read_password(password_file)
    with control(context) as server:
        account = server.ask("user_add", user=name, password=password, operator=operator or None)
    print(f"added {account['user']}")


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """Show every account."""
    with control(context) as server:
        accounts = server.ask_all("users", "users", "user")
    if as_json:
        print_json(accounts)
        return
    print_table(
        ("NAME", "LOGIN", "STATE", "CREATED", "LAST SEEN", "ONLINE"),
        [_row(account) for account in accounts],
    )


def _row(account: Reply) -> tuple[str, ...]:
    ways = [way for way in ("password", "token") if account[way]]
    state = "disabled" if account["disabled"] else "operator" if account["operator"] else "user"
    return (
        account["user"],
        "+".join(ways) or "none",
        state,
        when(account["created"]),
        when(account["seen"]),
        str(account["online"]),
    )


@app.command()
def passwd(context: typer.Context, name: Name, password_file: PasswordFile = None) -> None:
    """Give a new password; everyone who is signed in as NAME is signed out."""
    password = _read_password(password_file)
    with control(context) as server:
        server.ask("user_password", user=name, password=password)
    print(f"{name} has a new password")


@app.command()
def disable(context: typer.Context, name: Name) -> None:
    """Keep NAME out from now on; the name stays taken."""
    with control(context) as server:
        server.ask("user_disable", user=name)
    print(f"{name} is disabled")


@app.command()
def enable(context: typer.Context, name: Name) -> None:
    """Let NAME in again."""
    with control(context) as server:
        server.ask("user_enable", user=name)
    print(f"{name} is enabled")


@app.command()
def role(
    context: typer.Context,
    name: Name,
    role: Annotated[str, typer.Argument(metavar="user|operator", help="Operators may do everything.")],
) -> None:
    """Make NAME an operator of the server, or a user like any other."""
    if role not in ("user", "operator"):
        end([f"{role} is no role of the server; use user or operator"], USAGE)
    with control(context) as server:
        server.ask("user_role", user=name, operator=role == "operator")
    print(f"{name} is {'an operator' if role == 'operator' else 'a user'}")


def _read_password(file: Path | None) -> str:
    """From the file, or asked for twice. Ends the command where there is none."""
    if file is None and sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    try:
        text = sys.stdin.readline() if file is None or str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        end([f"cannot read the password from {file}: {error}"], FAILURE)
    password = text.split("\n", 1)[0].removesuffix("\r")
    if not password:
        end(["there is no password; write it as the first line of --password-file or of stdin"], USAGE)
    return password
