"""Names: what may be one, how it is written, and which look alike."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat.auth.names import name_key, normalize_name
from fastchat.messages import Code, WireError

CYRILLIC_A, CYRILLIC_O, GREEK_NU = "\u0430", "\u043e", "\u039d"


def key_of(text: str) -> str:
    return name_key(normalize_name(text))


@pytest.mark.parametrize("name", ["a", "Alice", "0", "a.b_c-D", "a" * 32, "guest-1f", "m_rn"])
def test_ascii_is_as_it_is(name: str) -> None:
    assert normalize_name(name) == name
    assert name_key(name) == name.lower()


@pytest.mark.parametrize(
    "name",
    [
        "", "a" * 33, "-a", ".a", "_a", "a b", " a", "a ", "a\n", "a,b", "@a", "~a", "a:b", "a/b",  # shape
        "a\x00", "a\x1b[31m", "a\x7f", "a\x85",  # control
        "a\u200b", "a\u200d", "a\u200c", "a\u2060", "a\ufeff", "a\u00ad",  # zero width
        "a\u034f", "\u3164", "a\u115f",  # letters and marks that are not seen
        "a\ufe0f", "\u6f22\U000e0100", "a\u180b",  # variation selectors
        "a\u202e", "a\u2066", "a\u061c", "a\u200f",  # bidi
        "a\u00a0b", "a\u2028", "a\u3000b",  # spaces
        "\U0001f600", "a\u20ac", "\u2160\u2014", "a\u2019s",  # symbols and punctuation
        "\u0301a", "\u0e31",  # a mark has nothing to stand on
        "\ud800", "\ue000", "\uffff", "\U0003ffff",  # no characters
        "\u00e9" * 33, "\ufdfa", "\u05d0a", "a\u0661", "\u0661",  # too long; bidi rule
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(WireError) as caught:
        normalize_name(name, "to")
    assert (caught.value.code, caught.value.field) == (Code.BAD_FIELD, "to")
    assert caught.value.message.startswith("to must ")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("\uff42\uff4f\uff42", "bob"),  # full-width
        ("\U0001d41b\u24de\u1d47", "bob"),  # mathematical, circled, superscript
        ("\ufb01n", "fin"),  # a ligature
        ("u\u0308ber", "\u00fcber"),  # composed
        ("\u212bngstr\u00f6m", "\u00c5ngstr\u00f6m"),
        ("M\u00dcLLER", "M\u00dcLLER"),  # capitals that look like their small letters' capitals stay
        ("\u0141ukasz", "\u0141ukasz"),
        ("\u0130stanbul", "\u0130stanbul"),
        ("\u0417\u043e\u044f", "\u0437\u043e\u044f"),  # Cyrillic Ze looks like 3, its small form does not
        (GREEK_NU + "\u0399\u039a\u039f", "\u03bd\u03b9\u03ba\u03bf"),
        ("\u5c71\u7530Taro", "\u5c71\u7530Taro"),
        ("\u3072\u3089\u30ab\u30ca", "\u3072\u3089\u30ab\u30ca"),
        ("\uae40Kim", "\uae40Kim"),
        ("\u0639\u0645\u0631", "\u0639\u0645\u0631"),
        ("\u05e2\u05de\u05e8-1", "\u05e2\u05de\u05e8-1"),
        ("\u0915\u093f\u0930\u0923", "\u0915\u093f\u0930\u0923"),  # a vowel sign is a mark
        ("\u1ec7\u0301", "\u1ec7\u0301"),
    ],
)
def test_other_scripts_are_written_in_one_way(text: str, name: str) -> None:
    assert normalize_name(text) == name
    assert normalize_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        CYRILLIC_A + "lice",
        "p" + CYRILLIC_A + "ul",
        "\u03a9mega",
        "\u0431\u03bf\u0431",  # Cyrillic and Greek
        "\u05d0\u0431",
        "\u30ab\uae40",  # Katakana and Hangul
        "\u0915\u0995",  # two Indian scripts
    ],
)
def test_scripts_whose_letters_look_alike_do_not_mix(name: str) -> None:
    with pytest.raises(WireError, match=r"mix scripts|RFC 8265"):
        normalize_name(name)


def test_digits_are_of_one_kind() -> None:
    assert normalize_name("\u0930\u0967\u0968") == "\u0930\u0967\u0968"
    with pytest.raises(WireError, match="digits of one kind"):
        normalize_name("\u0930\u09671")


@pytest.mark.parametrize("name", ["a\u0300\u0301\u0302\u0303\u0304", "\u0430\u0300\u0300"])
def test_marks_are_not_heaped(name: str) -> None:
    with pytest.raises(WireError, match="heap marks"):
        normalize_name(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("alice", "ALICE"),
        ("alice", "\uff41\uff2c\uff29\uff23\uff25"),
        ("cope", "\u0441\u043e\u0440\u0435"),  # Cyrillic throughout
        ("COPE", "\u0421\u041e\u0420\u0415"),
        ("m\u00fcller", "M\u00dcLLER"),
        ("gro\u00df", "GROSS"),
        ("istanbul", "\u0130stanbul"),
        ("\u0437\u043e\u044f", "\u0417\u041e\u042f"),
        (
            "\u03c3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2",
            "\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3",
        ),  # final sigma
        ("\u0440" * 3, "ppp"),
    ],
)
def test_names_that_look_alike_have_one_key(one: str, other: str) -> None:
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(
    ("one", "other"), [("paul", "pau1"), ("bill", "bi11"), ("bob", "b0b"), ("corn", "com"), ("a.b", "a-b")]
)
def test_ascii_stands_for_itself(one: str, other: str) -> None:
    assert key_of(one) != key_of(other)


@pytest.mark.parametrize("letter", [chr(code) for code in range(0x400, 0x460)])
def test_a_cyrillic_letter_has_its_small_forms_key(letter: str) -> None:
    assert key_of(letter.upper()) == key_of(letter.lower())


LETTERS = st.characters(categories=("Ll", "Lu", "Lo", "Lm", "Mn", "Mc", "Nd"))


@given(st.text(min_size=1, max_size=32) | st.text(LETTERS, min_size=1, max_size=5))
def test_a_name_stays_as_it_is_once_it_is_written(text: str) -> None:
    name = written(text)
    if name is None:
        return
    assert normalize_name(name) == name
    assert 1 <= len(name) <= 32
    assert not set(name) & set(" ,@~/:\0")
    for form in (name.upper(), name.lower()):
        # Some capitals have no way back: those of one letter may be two.
        if form.lower() == name.lower() and (other := written(form)) is not None:
            assert name_key(other) == name_key(name)


def written(text: str) -> str | None:
    with contextlib.suppress(WireError):
        return normalize_name(text)
    return None
