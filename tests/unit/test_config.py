"""Settings: their sources, their checks, and messages that say what to do."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from fastchat import config
from fastchat.config import Address, ConfigError, Settings, load, read
from fastchat.config.address import ADDRESS
from fastchat.config.load import FLAGS

POSTGRESQL = "'postgresql://USER:PASSWORD@HOST/DATABASE'"
KEYS = "pattern, store, ring_bytes, keep_events, keep_age_s, keep_bytes, slow_reader, messages_per_s"


def problems(
    *sets: str,
    environ: dict[str, str] | None = None,
    file: Path | None = None,
    flags: dict[str, str | None] | None = None,
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(file, sets, environ or {}, flags)
    return caught.value.problems


@pytest.fixture
def toml_file(tmp_path: Path) -> Path:
    return tmp_path / "fastchat.toml"


# Defaults


def test_no_source_gives_the_defaults() -> None:
    assert load(None, [], {}) == Settings()


def test_the_process_environment_is_not_looked_at_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCHAT_HTTP__LISTEN", "127.0.0.1:9")
    assert load(None, [], {}) == Settings()
    assert Settings().http.listen == Address("127.0.0.1", 8080)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().limits.burst = 5


# Sources


def test_the_stronger_source_wins(toml_file: Path) -> None:
    toml_file.write_text(
        '[http]\nlisten = "h:1"\n[limits]\nburst = 1\nconnections = 1\n[rooms]\nlobby = "file"\n'
    )
    environ = {
        "FASTCHAT_HTTP__LISTEN": "h:2",
        "FASTCHAT_LIMITS__BURST": "2",
        "FASTCHAT_LIMITS__CONNECTIONS": "2",
        "FASTCHAT_CONFIG": str(toml_file),
    }
    sets = ["http.listen=h:3", "limits.burst=3", "limits.burst=4"]
    loaded = read(None, sets, environ, {"http.listen": "h:5", "line.listen": None})
    assert loaded.settings.http.listen == Address("h", 5)
    assert loaded.settings.limits.burst == 4
    assert loaded.settings.limits.connections == 2
    assert loaded.settings.rooms.lobby == "file"
    assert loaded.origins == {
        "http.listen": "--http",
        "limits.burst": "--set",
        "limits.connections": "FASTCHAT_LIMITS__CONNECTIONS",
        "rooms.lobby": str(toml_file),
    }


def test_sections_within_sections() -> None:
    environ = {"FASTCHAT_FANOUT__LINE__LOW_WATER_BYTES": "1"}
    loaded = load(None, ["fanout.websocket.high_water_bytes=40000"], environ)
    assert loaded.fanout.line.low_water_bytes == 1
    assert loaded.fanout.websocket.high_water_bytes == 40000


def test_config_flag_beats_its_variable(toml_file: Path) -> None:
    toml_file.write_text("[limits]\nburst = 7\n")
    assert load(toml_file, [], {"FASTCHAT_CONFIG": "/does/not/exist"}).limits.burst == 7


def test_an_empty_config_variable_names_no_file() -> None:
    assert load(None, [], {"FASTCHAT_CONFIG": ""}) == Settings()


def test_a_pipe_is_a_config_file() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"[limits]\nburst = 9\n")
    os.close(writer)
    try:
        assert load(Path(f"/dev/fd/{reader}"), [], {}).limits.burst == 9
    finally:
        os.close(reader)


def test_loading_again_reads_the_file_again(toml_file: Path) -> None:
    toml_file.write_text("[fanout]\nslice_ms = 2\n")
    old = load(toml_file, [], {})
    toml_file.write_text("[fanout]\nslice_ms = 2.5\nwebsocket.low_water_bytes = 1\n[log]\nlevel = 'debug'\n")
    new = load(toml_file, [], {})
    assert config.changes(old, new) == ["fanout.slice_ms", "fanout.websocket.low_water_bytes", "log.level"]
    assert [name for name in config.changes(old, new) if not config.is_live(name)] == ["log.level"]
    assert config.changes(new, new) == []


@pytest.mark.parametrize(
    "text", ["https://a.example, HTTPS://b.example:8443", '["https://a.example", "https://b.example:8443"]']
)
def test_lists_as_text(text: str) -> None:
    expected = ("https://a.example", "https://b.example:8443")
    assert load(None, [f"http.allowed_origins={text}"], {}).http.allowed_origins == expected
    assert load(None, [], {"FASTCHAT_HTTP__ALLOWED_ORIGINS": text}).http.allowed_origins == expected


@pytest.mark.parametrize("text", ["", "[]"])
def test_empty_lists_as_text(text: str) -> None:
    assert load(None, [f"http.trusted_proxies={text}"], {}).http.trusted_proxies == ()


def test_lists_in_toml(toml_file: Path) -> None:
    toml_file.write_text('[http]\ntrusted_proxies = ["10.0.0.0/8", "::1"]\n')
    assert load(toml_file, [], {}).http.trusted_proxies == ("10.0.0.0/8", "::1/128")


ROOM_CLASSES = """
[[rooms.classes]]
pattern = "tmp-*"
store = "memory"
[[rooms.classes]]
pattern = "*"
keep_age_s = 86400
slow_reader = "inherit"
"""


def test_tables_in_toml_and_as_text(toml_file: Path) -> None:
    toml_file.write_text(ROOM_CLASSES)
    first, second = load(toml_file, [], {}).rooms.classes
    assert (first.pattern, first.store, first.slow_reader) == ("tmp-*", "memory", None)
    assert (second.pattern, second.store, second.keep_age_s) == ("*", "default", 86400)
    text = '[{"pattern": "tmp-*", "store": "memory"}, {"pattern": "*", "keep_age_s": 86400}]'
    assert load(None, [f"rooms.classes={text}"], {}).rooms.classes == (first, second)
    assert load(None, [], {"FASTCHAT_ROOMS__CLASSES": text}).rooms.classes == (first, second)


# Messages


def test_a_message_names_the_variable_the_setting_the_value_and_what_is_allowed() -> None:
    variable = "FASTCHAT_FANOUT__SLOW_READER"
    assert problems(environ={variable: "drop"}) == [
        f"fanout.slow_reader: 'drop' is not allowed (from {variable}); use 'lag' or 'disconnect'"
    ]


def test_a_message_names_the_file(toml_file: Path) -> None:
    toml_file.write_text("[limits]\nburst = 0\n")
    assert problems(file=toml_file) == [
        f"limits.burst: 0 is not allowed (from {toml_file}); use a whole number from 3 to 1000000"
    ]


@pytest.mark.parametrize(("name", "flag"), FLAGS.items())
def test_a_message_names_the_flag(name: str, flag: str) -> None:
    (problem,) = problems(flags={name: "?"})
    assert problem.startswith(f"{name}: '?' is not allowed (from {flag}); use ")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("limits.burst=many", "use a whole number from 3 to 1000000"),
        ("limits.burst=1.5", "use a whole number from 3 to 1000000"),
        ("limits.burst=", "use a whole number from 3 to 1000000"),
        ("limits.messages_per_s=nan", "use a number from 0 to 1000000"),
        ("limits.messages_per_s=-1", "use a number from 0 to 1000000"),
        ("server.drain_s=inf", "use a number from 0 to 3600"),
        ("websocket.ping_interval_s=0", "use a number above 0, up to 86400"),
        ("fanout.line.low_water_bytes=-1", "use a whole number from 0 to 1073741824, or 'inherit'"),
        ("log.format=xml", "use 'text' or 'json'"),
        ("log.level=INFO", "use 'debug' or 'info' or 'warning' or 'error'"),
        ("store.url=sqlite:chat.db", f"use 'memory:' or 'sqlite:' or 'sqlite:///PATH' or {POSTGRESQL}"),
        ("store.url=sqlite:///", f"use 'memory:' or 'sqlite:' or 'sqlite:///PATH' or {POSTGRESQL}"),
        ("store.durability=none", "use 'full' or 'normal'"),
        ("rooms.classes=tmp-*", "use a JSON array of objects"),
        ("rooms.classes=[1]", f"use tables of {KEYS}"),
        ("rooms.lobby=The Lobby", "use 1 to 64 of a-z 0-9 . _ - that begin with a letter or digit"),
        ("http.allowed_origins=https://a.example/", "use origins without a path, such as https://chat.example.org"),
        ("http.allowed_origins=[", "use values separated by commas, or a JSON array of strings"),
        ("http.allowed_origins=[1]", "use origins without a path, such as https://chat.example.org"),
        ("http.trusted_proxies=10.0.0.1/8", "use IP addresses or networks, such as 127.0.0.1 or 10.0.0.0/8"),
        ("http.trusted_proxies=[1]", "use IP addresses or networks, such as 127.0.0.1 or 10.0.0.0/8"),
        ("http.listen=off", f"use {ADDRESS}"),
        ("line.listen=of", f"use {ADDRESS}, or off"),
        ("line.listen=::1:80", f"an IPv6 address stands in brackets: use {ADDRESS}, or off"),
        ("http.listen=:80", "for every interface write 0.0.0.0:80 or [::]:80"),
    ],
)  # fmt: skip
def test_a_message_says_what_is_allowed(setting: str, expected: str) -> None:
    (problem,) = problems(setting)
    assert problem.startswith(f"{setting.partition('=')[0]}: ")
    assert problem.partition(" is not allowed (from --set); ")[2] == expected


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("[limits]\nburst = true", "limits.burst: true is not allowed"),
        ("[limits]\nburst = [1]", "limits.burst: [1] is not allowed"),
        ("[limits.burst]\nx = 1", "limits.burst: {'x': 1} is not allowed"),
        ("[http]\nlisten = 8080", "http.listen: 8080 is not allowed"),
        ("[http]\ntrusted_proxies = 1", "http.trusted_proxies: 1 is not allowed"),
        ("[rooms]\nlobby = 1", "rooms.lobby: 1 is not allowed"),
        ("[store]\nurl = []", "store.url: [] is not allowed"),
        ("http = 1", "http: 1 is not allowed"),
        ("[fanout]\nline = 'x'", "fanout.line: 'x' is not allowed"),
    ],
)
def test_wrong_types_in_toml(toml: str, expected: str, toml_file: Path) -> None:
    toml_file.write_text(toml)
    (problem,) = problems(file=toml_file)
    assert problem.startswith(f"{expected} (from {toml_file}); ")


A_PATTERN = "a room's name in which * and ? stand for other characters"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("pattern = 'The Lobby'", f"pattern: 'The Lobby' is not allowed; use {A_PATTERN}"),
        ("store = 'memory'", f"pattern is missing; use {A_PATTERN}"),
        ("pattern = '*'\nkeep = 1", f"keep: no such key; use {KEYS}"),
        ("pattern = '*'\nstore = 'sqlite:'", "store: 'sqlite:' is not allowed; use 'default' or 'memory'"),
        ("pattern = '*'\nkeep_events = -1", "keep_events: -1 is not allowed; use a whole number from 0 to "),
        ("pattern = '*'\nkeep_age_s = true", "keep_age_s: true is not allowed; use a number from 0 to "),
        ("pattern = '*'\nring_bytes = 1", "ring_bytes: 1 is not allowed; use a whole number from 1024 to "),
        ("pattern = '*'\nslow_reader = ''", "slow_reader: '' is not allowed; use 'lag' or 'disconnect' or "),
    ],
)
def test_a_message_names_the_table_and_its_key(table: str, expected: str, toml_file: Path) -> None:
    toml_file.write_text(f"[[rooms.classes]]\npattern = 'first'\n[[rooms.classes]]\n{table}\n")
    (problem,) = problems(file=toml_file)
    assert problem.startswith(f"rooms.classes: table 2 (from {toml_file}): {expected}")


def test_every_problem_is_told_at_once(toml_file: Path) -> None:
    toml_file.write_text("[limits]\nburst = 0\n[rumours]\n")
    found = problems(
        "log.level=x", "nothing", environ={"FASTCHAT_X": "", "FASTCHAT_ROOMS__LOBBY": ""}, file=toml_file
    )
    assert len(found) == 6
    assert all("\n" not in problem and "pydantic" not in problem for problem in found)


def test_a_password_is_not_shown() -> None:
    (problem,) = problems("store.url=mysql://user:secret@db/chat")
    assert "secret" not in problem
    assert "mysql://user:***@db/chat" in problem


# Unknown names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http.lisen=x", "http.lisen: no such setting (from --set); did you mean http.listen?"),
        ("limits.drain_s=1", "limits.drain_s: no such setting (from --set); did you mean server.drain_s?"),
        ("burst=1", "burst: no such setting (from --set); did you mean limits.burst?"),
        ("http=1", "http: no such setting (from --set); "),
        ("zzz=1", "zzz: no such setting (from --set); 'fastchat config show' lists them all"),
        ("limits.burst", "--set: 'limits.burst' is not allowed; use section.key=value"),
    ],
)
def test_unknown_names_given_by_flag(text: str, expected: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("[limit]\nburst = 1", "limit: no such section (from {}); did you mean limits?"),
        ("[limits]\nbrust = 1", "limits.brust: no such setting (from {}); did you mean limits.burst?"),
        ("[fanout.web]\nx = 1", "fanout.web: no such section (from {}); did you mean fanout.websocket?"),
        ("ring_bytes = 1", "ring_bytes: no such setting (from {}); did you mean fanout.ring_bytes?"),
    ],
)
def test_unknown_names_in_toml(toml: str, expected: str, toml_file: Path) -> None:
    toml_file.write_text(toml)
    assert problems(file=toml_file) == [expected.format(toml_file)]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("FASTCHAT_HTTP_LISTEN", "FASTCHAT_HTTP__LISTEN"),
        ("FASTCHAT_http__listen", "FASTCHAT_HTTP__LISTEN"),
        ("FASTCHAT_CONFG", "FASTCHAT_CONFIG"),
        ("FASTCHAT_FANOUT__WEBSOCKET_HIGH_WATER_BYTES", "FASTCHAT_FANOUT__WEBSOCKET__HIGH_WATER_BYTES"),
    ],
)
def test_unknown_names_in_the_environment(name: str, nearest: str) -> None:
    assert problems(environ={name: "x"}) == [
        f"{name}: no such setting (from the environment); did you mean {nearest}?"
    ]


def test_what_kubernetes_adds_for_a_service_of_our_name_is_not_ours() -> None:
    environ = {
        "FASTCHAT_SERVICE_HOST": "10.0.0.1",
        "FASTCHAT_SERVICE_PORT_HTTP": "80",
        "FASTCHAT_PORT": "tcp://10.0.0.1:80",
        "FASTCHAT_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert load(None, [], environ | {"KUBERNETES_SERVICE_HOST": "10.0.0.2"}) == Settings()
    assert len(problems(environ=environ)) == 4
    assert len(problems(environ={"FASTCHAT_X": "1", "KUBERNETES_SERVICE_HOST": "10.0.0.2"})) == 1


# Files that cannot be used


def test_missing_config_file() -> None:
    expected = "cannot read /does/not/exist (from {}): no such file or directory"
    assert problems(file=Path("/does/not/exist")) == [expected.format("--config")]
    assert problems(environ={"FASTCHAT_CONFIG": "/does/not/exist"}) == [expected.format("FASTCHAT_CONFIG")]


def test_directory_as_config_file(tmp_path: Path) -> None:
    assert problems(file=tmp_path) == [f"cannot read {tmp_path} (from --config): is a directory"]


def test_invalid_toml_names_line_and_column(toml_file: Path) -> None:
    toml_file.write_text("[http]\nlisten = 127.0.0.1:8080\n")
    (problem,) = problems(file=toml_file)
    assert problem.startswith(f"{toml_file}: not valid TOML: ")
    assert problem.endswith("(at line 2, column 15)")


def test_binary_config_file(toml_file: Path) -> None:
    toml_file.write_bytes(b"[http]\n\xff")
    assert problems(file=toml_file) == [f"{toml_file}: not UTF-8 text (at byte 7)"]


# Settings that have to fit each other


@pytest.mark.parametrize(
    ("setting", "wrong", "needed"),
    [
        (
            "fanout.high_water_bytes=32768",
            "fanout.low_water_bytes: 32768 (the default)",
            "less than fanout.high_water_bytes, which is 32768 (from --set)",
        ),
        (
            "fanout.ring_bytes=65535",
            "fanout.ring_bytes: 65535 (from --set)",
            "at least fanout.high_water_bytes, which is 65536 (the default)",
        ),
        (
            "fanout.line.high_water_bytes=2000000",
            "fanout.ring_bytes: 1048576 (the default)",
            "at least fanout.line.high_water_bytes, which is 2000000 (from --set)",
        ),
        (
            "fanout.websocket.low_water_bytes=65536",
            "fanout.websocket.low_water_bytes: 65536 (from --set)",
            "less than fanout.high_water_bytes, which is 65536 (the default)",
        ),
        (
            "fanout.websocket.high_water_bytes=1024",
            "fanout.low_water_bytes: 32768 (the default)",
            "less than fanout.websocket.high_water_bytes, which is 1024 (from --set)",
        ),
        (
            "limits.text_bytes=65536",
            "limits.command_bytes: 65536 (the default)",
            "more than limits.text_bytes, which is 65536 (from --set)",
        ),
    ],
)
def test_settings_that_do_not_fit(setting: str, wrong: str, needed: str) -> None:
    assert problems(setting) == [f"{wrong} does not fit; it must be {needed}"]


@pytest.mark.parametrize(
    "sets",
    [
        ["fanout.low_water_bytes=65535"],
        ["fanout.low_water_bytes=0"],
        ["fanout.ring_bytes=65536"],
        ["limits.text_bytes=65535"],
        ["limits.text_bytes=0"],
    ],
)
def test_settings_that_just_fit(sets: list[str]) -> None:
    load(None, sets, {})


def test_watermarks_are_the_listeners_own_or_inherited() -> None:
    fanout = load(
        None, ["fanout.line.high_water_bytes=40000", "fanout.websocket.low_water_bytes=0"], {}
    ).fanout
    assert fanout.watermarks("line") == (40000, 32768)
    assert fanout.watermarks("websocket") == (65536, 0)


def test_inherit_takes_a_weaker_sources_watermark_back() -> None:
    environ = {"FASTCHAT_FANOUT__LINE__HIGH_WATER_BYTES": "40000"}
    assert load(None, ["fanout.line.high_water_bytes=inherit"], environ) == Settings()


def test_line_listener_off() -> None:
    assert load(None, [], {}, {"line.listen": "off"}).line.listen is None
