"""The documents say what the code does: settings, commands, files and links that they mention exist."""

import re
import tomllib
from pathlib import Path

import pytest

from fastchat.config import Settings, describe
from fastchat.config.names import SETTINGS
from fastchat.config.rooms import RoomClass
from fastchat.dialects.text import COMMANDS as WORDS
from fastchat.dialects.text.help import HELP
from fastchat.people import Role
from fastchat.permissions import LEAST
from fastchat.session import COMMAND_TABLE

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))


def code_blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)


def test_the_settings_page_has_every_setting_as_it_is() -> None:
    (documented,) = code_blocks(ROOT / "docs" / "configuration.md", "toml")
    assert documented == describe.toml(Settings()), "paste the output of `fastchat config show --toml` there"


def test_example_settings_are_accepted() -> None:
    examples = code_blocks(ROOT / "docs" / "operating.md", "toml")
    examples += code_blocks(ROOT / "docs" / "configuration.md", "toml classes")
    assert len(examples) >= 3
    for example in examples:
        Settings(**tomllib.loads(example))


def test_the_settings_page_has_every_key_of_a_room_class() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE) == list(RoomClass.model_fields)


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_settings_that_are_mentioned_exist(path: Path) -> None:
    sections = {name.partition(".")[0] for name in SETTINGS}
    # A name in backquotes, alone or with a value behind it: `rooms.lobby`, `line.listen = "off"`.
    for name in re.findall(r"`([a-z]+(?:\.[a-z_]+)+)(?: = [^`]*)?`", path.read_text()):
        if name.partition(".")[0] in sections and not name.endswith(".py"):
            assert name in SETTINGS, name


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_files_and_links_that_are_mentioned_exist(path: Path) -> None:
    text = path.read_text()
    for target, _, anchor in re.findall(r"\]\(([^)#:]*)(#([^)]*))?\)", text):
        linked = path.parent / target if target else path
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
    for name in re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.(?:py|pyx|yaml|md))`", text):
        assert any((base / name).exists() for base in (ROOT, ROOT / "fastchat", ROOT / "docs")), name


def test_every_module_has_its_place_in_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for entry in (ROOT / "fastchat").iterdir():
        if entry.suffix == ".pyx" or (entry.suffix == ".py" and not entry.name.startswith("__")):
            assert entry.name in text, entry.name
        elif (entry / "__init__.py").exists():
            assert f"{entry.name}/" in text, entry.name


def test_the_protocol_page_has_every_command_of_both_dialects() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text()
    for command in COMMAND_TABLE:
        assert f"| `{command}` |" in text
    for command in {"/help", "/quit", *WORDS}:
        assert re.search(rf"^\| `{command}\b", text, re.MULTILINE), command
        assert command in "".join(HELP.values()), command


@pytest.mark.parametrize("command", sorted(COMMAND_TABLE))
def test_the_protocol_page_says_which_commands_need_a_hello(command: str) -> None:
    text = (ROOT / "docs" / "protocol.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith(f"| `{command}` |"))
    states, _, _, _ = COMMAND_TABLE[command]
    assert ("`not_welcome`" in row) == (len(states) == 1)


def test_the_protocol_page_has_the_table_of_roles() -> None:
    text = (ROOT / "docs" / "protocol.md").read_text()
    table = text.partition("| action | least role |\n|---|---|\n")[2].partition("\n\n")[0]
    documented = {
        action: Role.OUTSIDER if role == "anybody" else Role[role.upper()]
        for actions, role in re.findall(r"^\| (.*) \| (.*) \|$", table, re.MULTILINE)
        for action in actions.split(", ")
    }
    assert documented == {action.value: role for action, role in LEAST.items()}
