"""Settings as text: rules, the table, the TOML file that documents itself."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from fastchat.config import ConfigError, Settings, describe, load, read
from fastchat.config.names import SECTIONS, SETTINGS, unit_of, value_of
from fastchat.config.rooms import RoomClass

LONG = ("rooms.classes ", "broker.events ")
CHANGED = [
    "http.listen=[::1]:0",
    "http.allowed_origins=https://a.example,https://b.example",
    "line.listen=off",
    "fanout.slice_ms=0.5",
    "fanout.websocket.low_water_bytes=7",
    "limits.messages_per_s=1000000",
    "log.format=json",
    'rooms.classes=[{"pattern": "tmp-*", "store": "memory"}, {"pattern": "x", "keep_age_s": 0.5}]',
]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_has_a_reason_that_fits_a_line_and_a_rule(name: str) -> None:
    description = SETTINGS[name].description
    assert description is not None
    assert 20 <= len(description) <= 96
    assert description.endswith(".")
    assert describe.allowed(SETTINGS[name])


@pytest.mark.parametrize("field", RoomClass.model_fields.values(), ids=list(RoomClass.model_fields))
def test_a_key_of_a_room_class_has_its_reason_and_rule(field: FieldInfo) -> None:
    assert field.description is not None
    assert field.description.endswith(".")
    assert describe.allowed(field)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_default_is_accepted_as_text(name: str) -> None:
    default = SETTINGS[name].get_default()
    assert value_of(load(None, [f"{name}={describe.as_text(default, name)}"], {}), name) == default


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("fanout.ring_bytes", "bytes"),
        ("fanout.slice_ms", "ms"),
        ("server.drain_s", "s"),
        ("limits.messages_per_s", "per s"),
        ("limits.burst", ""),
    ],
)
def test_the_unit_is_in_the_name(name: str, unit: str) -> None:
    assert unit_of(name) == unit


def test_the_toml_file_gives_the_same_settings(tmp_path: Path) -> None:
    file = tmp_path / "fastchat.toml"
    for settings in (Settings(), load(None, CHANGED, {})):
        file.write_text(describe.toml(settings))
        loaded = read(file, [], {})
        assert loaded.settings == settings
        assert list(loaded.origins) == list(SETTINGS)


def test_the_toml_file_documents_each_section_and_setting() -> None:
    text = describe.toml(Settings())
    sections = [section for section in SECTIONS if f"\n[{section}]\n" in text]
    assert sections == list(SECTIONS)
    assert max(map(len, text.splitlines())) <= 100
    joined = re.sub(r"\n# ", " ", text)
    for field in SETTINGS.values():
        assert f"{field.description} Use {describe.allowed(field)}. Default: " in joined
    assert tomllib.loads(text)["line"] == {"listen": "127.0.0.1:8081", "banner_after_ms": 1000}


def test_the_table_is_aligned_and_names_origins() -> None:
    loaded = read(None, CHANGED, {"FASTCHAT_LIMITS__BURST": "5"})
    lines = describe.table(loaded.settings, loaded.origins).splitlines()
    assert max(len(line) for line in lines if not line.startswith(LONG)) <= 100
    rows = [line for line in lines if not line.startswith(" ")]
    assert [row.split()[0] for row in rows] == ["SETTING", *SETTINGS]
    value, unit, default = (rows[0].index(title) for title in ("VALUE", "UNIT", "DEFAULT"))
    row = next(row for row in rows if row.startswith("fanout.slice_ms "))
    assert [row[value:unit].strip(), row[unit:default].strip(), row[default:]] == ["0.5", "ms", "5"]
    burst = next(index for index, line in enumerate(lines) if line.startswith("limits.burst "))
    assert lines[burst + 1 : burst + 3] == [
        "    from FASTCHAT_LIMITS__BURST",
        f"    {SETTINGS['limits.burst'].description}",
    ]
    assert sum(line.startswith("    from ") for line in lines) == len(CHANGED) + 1


def test_a_secret_is_never_shown() -> None:
    secret = "a secret of thirty-two bytes or more"
    loaded = read(None, [f"auth.secret={secret}"], {})
    assert loaded.settings.auth.secret == secret
    assert secret not in describe.table(loaded.settings, loaded.origins)
    assert secret not in describe.toml(loaded.settings)
    row = next(
        row for row in describe.table(loaded.settings, loaded.origins).splitlines() if "auth.secret " in row
    )
    assert row.split() == ["auth.secret", "***"]
    with pytest.raises(ConfigError) as caught:
        read(None, [f"auth.secret={secret}", "auth.secret_file=x"], {})
    assert caught.value.problems == [
        (
            "auth.secret: *** (from --set) does not fit; "
            "it must be left out beside auth.secret_file, which is x (from --set)"
        )
    ]
    with pytest.raises(ConfigError) as caught:
        read(None, [], {"FASTCHAT_AUTH__SECRET": secret + "\n"})
    assert secret not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ("", True),
        ("https://login.example/jwks", True),
        ("http://127.0.0.1:80/jwks", True),
        ("http://localhost/jwks", True),
        ("http://[::1]:8000/jwks", True),
        ("http://login.example/jwks", False),
        ("ftp://login.example/jwks", False),
        ("file:///etc/passwd", False),
        ("https://", False),
        ("https://user:password@login.example/", False),
        ("login.example", False),
    ],
)
def test_keys_come_over_tls_or_from_this_machine(value: str, right: bool) -> None:
    if right:
        assert load(None, [f"auth.jwks_url={value}"], {}).auth.jwks_url == value
    else:
        with pytest.raises(ConfigError):
            load(None, [f"auth.jwks_url={value}"], {})
