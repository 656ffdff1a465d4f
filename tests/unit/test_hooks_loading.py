"""Where hooks are found, and what is said where there are none."""

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastchat.errors import StartError
from fastchat.hooks import Kind, Message, collect, load_modules


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path, modules = [*sys.path], {*sys.modules}
    yield tmp_path
    sys.path[:] = path
    for name in {*sys.modules} - modules:
        del sys.modules[name]


def test_a_module_is_found_in_the_folder(folder: Path) -> None:
    (folder / "ourchat").mkdir()
    (folder / "ourchat" / "moderation.py").write_text("async def on_message(message): ...\n")
    (module,) = load_modules(["ourchat.moderation"], folder)
    (hook,) = collect([module])
    assert (hook.name, hook.kind) == ("ourchat.moderation.on_message", Kind.ON_MESSAGE)
    assert hook.asynchronous


def test_without_modules_the_path_stays_as_it_is(folder: Path) -> None:
    before = [*sys.path]
    assert load_modules([], folder) == []
    assert sys.path == before


@pytest.mark.parametrize("name", ["ourchat", "ourchat.moderation"])
def test_a_module_that_is_not_there_says_where_it_was_looked_for(folder: Path, name: str) -> None:
    with pytest.raises(StartError, match=f"there is no module {name} .hooks.modules. in {folder}"):
        load_modules([name], folder)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_thing_at_all", "no_such_thing_at_all"),
        ("1 / 0", "ZeroDivisionError"),
        ("def", "Syntax"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(folder: Path, source: str, said: str) -> None:
    (folder / "broken_hooks.py").write_text(source)
    with pytest.raises(StartError, match=f"cannot import broken_hooks .*{said}"):
        load_modules(["broken_hooks"], folder)


def test_hooks_of_an_object_are_its_methods_in_the_order_of_the_objects() -> None:
    class Moderation:
        def on_message(self, message: Message) -> None: ...

        async def on_join(self, user: object, room: str) -> None: ...

    class Later:
        async def on_message(self, message: Message) -> None: ...

    found = collect([Moderation(), Later()])
    assert [(hook.kind, hook.asynchronous) for hook in found] == [
        (Kind.ON_MESSAGE, False),
        (Kind.ON_JOIN, True),
        (Kind.ON_MESSAGE, True),
    ]


async def _pass(limit: int, message: Message) -> None: ...


class _Callable:
    async def __call__(self, message: Message) -> None: ...


@pytest.mark.parametrize("hook", [functools.partial(_pass, 1), _Callable()], ids=["partial", "object"])
def test_whatever_can_be_called_is_a_hook(hook: object) -> None:
    (found,) = collect([SimpleNamespace(on_message=hook)])
    assert found.asynchronous


@pytest.mark.parametrize(
    ("owner", "said"),
    [
        (SimpleNamespace(), "define one of authenticate, authorize, on_message"),
        (SimpleNamespace(on_mesage=print), "is on_mesage meant to be on_message?"),
        (SimpleNamespace(on_message="no"), "on_message is no function"),
        (SimpleNamespace(on_message=lambda: None), r"other arguments than \(message\)"),
        (SimpleNamespace(authorize=lambda user: None), r"other arguments than \(user, action, room\)"),
    ],
)
def test_what_is_no_hook_is_said_at_the_start(owner: object, said: str) -> None:
    with pytest.raises(StartError, match=said.replace("?", r"\?")):
        collect([owner])
