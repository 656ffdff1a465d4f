"""Holds the package to its architecture: the table of layers below is the documentation and the rule.

A module may import its own row's own unit (a package counts as one unit) and every row below it, nothing
beside or above. Modules that call themselves pure own no socket, clock, thread or `await`.
"""

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# From the top downwards. A name stands for the module or for the package with everything in it; the longest
# name that fits a module decides, so an interface can lie below the package that it is written in.
LAYERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("__main__",), "python -m fastchat"),
    (("cli",), "the command"),
    (("control",), "the operator's commands, which ask a server that runs or one of their own"),
    (("workers",), "several servers on the same ports, and their parent"),
    (("serving",), "the process of a server: its loop and signals"),
    (("server",), "wiring, lifecycle, drain"),
    (("metrics", "worker_metrics"), "what the server counts, for Prometheus; of all workers"),
    (("health",), "whether the server can do its work, and how it is"),
    (
        ("building", "listeners", "ready"),
        "a server's parts, as its settings say; what it says when it is ready",
    ),
    (("control.socket",), "the server's side of these commands"),
    (("control.path",), "where both sides meet"),
    (
        ("web", "protocols", "sockets", "auth", "hooks", "broker", "outbox", "inbox"),
        "edges: HTTP, sockets, passwords and tokens, operators' own functions, brokers and their inbox",
    ),
    (("cluster",), "other nodes: the way to them over the bus"),
    (("connection", "local"), "between an edge and a session: what arrives, what has to wait, how it ends"),
    (("protocols.stream",), "the interface between an edge and its connection"),
    (("chat",), "what all connections of one server share"),
    (("dialects", "session"), "bytes to commands and replies to bytes; one connection's conversation"),
    (("rooms",), "the hub: all rooms"),
    (("room",), "one room, and who is a member of it"),
    (
        ("moderation", "presence", "replay"),
        "its rules, who is in it and what is told of them, what its ring has forgotten",
    ),
    (
        ("guest_rooms", "notices", "population", "permissions", "roster"),
        "who is online, which rooms go with a guest, what services are told; who may do what; names in order",
    ),
    (("cloudevents",), "what happens, as other services are told of it"),
    (
        ("auth.interface", "hooks.interface", "broker.interface", "cluster.interface"),
        "who proves a name; what an operator's functions are asked; what brokers do; what nodes need",
    ),
    (("store",), "where a room's events are kept, and who there is"),
    (("auth.names",), "how names are spelled, and which look alike"),
    (("messages", "people"), "the wire contract: commands, replies, events, codes; who somebody is"),
    (("_fanout", "_hooks"), "channels, subscriptions, sweeps; what hooks see"),
    (
        ("_checks", "_events", "_handshake", "_ring", "_websocket", "handshake", "rate"),
        "one idea each: checks of JSON, events, ring, RFC 6455, token bucket",
    ),
    (("config", "log"), "settings and logging: cross-cutting, see below"),
    (
        ("asking", "compiled", "ending", "errors"),
        "the compiled modules; tasks that have to end; what went wrong, for a person to read",
    ),
)

CONTROL = ("control", "control.path", "control.socket")

# Cross-cutting: only these may import them; the layers in between get plain values.
ONLY_FOR: dict[str, frozenset[str]] = {
    "config": frozenset(
        {
            "auth",
            "building",
            "cli",
            "connection",
            "listeners",
            "ready",
            "server",
            "serving",
            "sockets",
            "web",
            "workers",
            *CONTROL,
        }
    ),
    "log": frozenset(
        {
            "auth",
            "broker",
            "cli",
            "cluster",
            "connection",
            "health",
            "hooks",
            "inbox",
            "outbox",
            "server",
            "serving",
            "web",
            "workers",
            *CONTROL,
        }
    ),
}

IMPURE = frozenset({"asyncio", "select", "selectors", "socket", "ssl", "threading", "time", "uvloop"})

CYTHON_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<source>[\w.]+)[ \t]+c?import[ \t]+(?P<names>\([^)]*\)|[^\n]*)"
    r"|c?import[ \t]+(?P<modules>[\w., \t]+))",
    re.MULTILINE,
)
STRING_OR_COMMENT = re.compile(
    r'"""(?:\\.|.)*?"""' r"|'''(?:\\.|.)*?'''" r'|"(?:\\.|[^"\\\n])*"' r"|'(?:\\.|[^'\\\n])*'" r"|#[^\n]*",
    re.DOTALL,
)


@dataclass(frozen=True)
class Module:
    """One module of the package, read but not imported."""

    name: str
    """Dotted, without `fastchat.`; empty for the package itself."""
    first_line: str
    """Of the docstring; empty where there is none."""
    imports: frozenset[str]
    """Absolute dotted names, also those imported inside of functions or for type checking alone."""
    awaits: bool


@cache
def modules() -> dict[str, Module]:
    """Every module of the package by name; a `.pxd` counts as part of its `.pyx`."""
    found: dict[str, Module] = {}
    for path in sorted((ROOT / "fastchat").rglob("*.py")):
        module = parse_python(module_name(path), path.read_text(), is_package=path.name == "__init__.py")
        found[module.name] = module
    for path in sorted((ROOT / "fastchat").rglob("*.pyx")):
        declarations = path.with_suffix(".pxd")
        extra = declarations.read_text() if declarations.exists() else ""
        module = parse_cython(module_name(path), path.read_text(), extra)
        found[module.name] = module
    return found


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT / "fastchat").with_suffix("").parts
    return ".".join(parts).removesuffix("__init__").removesuffix(".")


def parse_python(name: str, source: str, *, is_package: bool) -> Module:
    tree = ast.parse(source)
    imports: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(name, node.module or "", node.level, is_package=is_package)
            imports.update(f"{base}.{alias.name}" for alias in node.names)
    awaits = any(isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith) for node in ast.walk(tree))
    return Module(name, first_line(ast.get_docstring(tree)), frozenset(imports), awaits)


def parse_cython(name: str, source: str, declarations: str) -> Module:
    # Cython's own grammar has no parser here, so imports are found by their form, in code without strings.
    docstring = re.match(r'(?:\s*#[^\n]*\n)*\s*[rR]?"""(.*?)"""', source, re.DOTALL)
    code = STRING_OR_COMMENT.sub('""', f"{source}\n{declarations}")
    imports: set[str] = set()
    for found in CYTHON_IMPORT.finditer(code):
        if found["modules"]:
            imports.update(part.split()[0] for part in found["modules"].split(",") if part.strip())
            continue
        dots = len(found["source"]) - len(found["source"].lstrip("."))
        base = absolute(name, found["source"].lstrip("."), dots, is_package=False)
        names = found["names"].strip("() \t\n").split(",")
        imports.update(f"{base}.{part.split()[0]}" for part in names if part.strip())
    awaits = re.search(r"\bawait\b", code) is not None
    return Module(name, first_line(docstring[1] if docstring else None), frozenset(imports), awaits)


def first_line(docstring: str | None) -> str:
    return (docstring or "").strip().split("\n", 1)[0]


def absolute(name: str, source: str, dots: int, *, is_package: bool) -> str:
    """The absolute name of what `from` names, with `dots` leading dots, inside of module `name`."""
    if dots == 0:
        return source
    package = ["fastchat", *filter(None, name.split("."))]
    steps = dots - 1 if is_package else dots
    package = package[: len(package) - steps]
    return ".".join([*package, source] if source else package)


def own_imports(module: Module, known: frozenset[str]) -> set[str]:
    """The package's modules that `module` imports, without `fastchat.`; the package itself is left out."""
    own = set()
    for imported in module.imports:
        if imported.split(".")[0] != "fastchat":
            continue
        inner = imported.removeprefix("fastchat").removeprefix(".")
        while inner not in known:  # drop the name of what is imported out of a module
            inner = inner.rpartition(".")[0]
        if inner not in ("", module.name):
            own.add(inner)
    return own


def place(name: str) -> tuple[int, str]:
    """The row (0 = the top) and the unit that a module belongs to; KeyError when the table lacks it."""
    rows = {unit: row for row, (units, _) in enumerate(LAYERS) for unit in units}
    unit = name
    while unit not in rows:
        if not unit:
            raise KeyError(f"{name!r} stands in no layer: give it a place in the table of layers")
        unit = unit.rpartition(".")[0]
    return rows[unit], unit


def violations(module: Module, known: frozenset[str]) -> list[str]:
    """Each import of `module` that goes upwards, sideways or around a restriction, in words."""
    if module.name == "":
        # What the package offers to its users may come from anywhere.
        return []
    row, unit = place(module.name)
    wrong = []
    for imported in sorted(own_imports(module, known)):
        target_row, target = place(imported)
        if target == unit or is_package_of(imported, module.name):
            continue
        if target in ONLY_FOR:
            if unit not in ONLY_FOR[target]:
                wrong.append(
                    f"{module.name} imports {imported}, which is only for {sorted(ONLY_FOR[target])}"
                )
        elif target_row <= row:
            wrong.append(f"{module.name} (row {row}) imports {imported} (row {target_row}): not downwards")
    return wrong


def is_package_of(package: str, name: str) -> bool:
    return name.startswith(f"{package}.")


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_point_downwards(name: str) -> None:
    known = frozenset(modules())
    assert violations(modules()[name], known) == []


@pytest.mark.parametrize("name", sorted(modules()))
def test_first_line_of_docstring_is_present(name: str) -> None:
    assert modules()[name].first_line, f"fastchat.{name} needs a docstring whose first line says what it is"


def pure_modules() -> list[str]:
    return sorted(name for name, module in modules().items() if re.search(r"\bPure\b", module.first_line))


def test_there_are_pure_modules() -> None:
    assert pure_modules()


@pytest.mark.parametrize("name", pure_modules())
def test_pure_modules_have_no_io_clock_or_await(name: str) -> None:
    module = modules()[name]
    assert {imported.split(".")[0] for imported in module.imports} & IMPURE == set()
    assert not module.awaits


class TestTheRulesThemselves:
    """A rule that can't fail protects nothing."""

    KNOWN = frozenset(
        {"", "cli", "config", "server", "web", "web.app", "rooms", "messages", "_ring", "protocols.line"}
    )

    def python(self, name: str, source: str) -> list[str]:
        return violations(parse_python(name, source, is_package=False), self.KNOWN)

    def cython(self, name: str, source: str) -> list[str]:
        return violations(parse_cython(name, source, ""), self.KNOWN)

    def test_downwards_is_fine(self) -> None:
        assert self.python("cli", "from fastchat.server import serve\nimport fastchat.config") == []

    def test_upwards_is_found(self) -> None:
        assert len(self.python("rooms", "from fastchat import server")) == 1

    def test_upwards_inside_a_function_is_found(self) -> None:
        assert len(self.python("messages", "def f():\n    import fastchat.rooms as rooms")) == 1

    def test_relative_import_is_resolved(self) -> None:
        assert len(self.python("web.app", "from ..server import serve")) == 1

    def test_sideways_is_found(self) -> None:
        assert len(self.python("web.app", "from fastchat.protocols.line import LineProtocol")) == 1

    def test_settings_are_kept_from_the_layers_in_between(self) -> None:
        assert len(self.python("rooms", "from fastchat.config import Settings")) == 1

    def test_module_without_a_layer_is_refused(self) -> None:
        with pytest.raises(KeyError, match="stands in no layer"):
            self.python("helpers", "import fastchat.rooms")

    def test_cython_imports_are_found(self) -> None:
        source = '"""Ring. Pure."""\nfrom fastchat.rooms cimport (\n    Room,\n    Hub)\nimport time, os\n'
        module = parse_cython("_ring", source, "from libc.stdint cimport uint64_t")
        assert module.first_line == "Ring. Pure."
        assert module.imports == {
            "fastchat.rooms.Room", "fastchat.rooms.Hub", "time", "os", "libc.stdint.uint64_t",
        }  # fmt: skip
        assert len(violations(module, self.KNOWN)) == 1

    def test_words_in_strings_and_comments_are_no_code(self) -> None:
        module = parse_cython(
            "_ring", '"""Never await.\n\nimport time\n"""\nx = "import socket"  # await', ""
        )
        assert module.imports == frozenset()
        assert not module.awaits

    def test_await_is_seen(self) -> None:
        assert parse_python("rooms", "async def f():\n    await g()", is_package=False).awaits
