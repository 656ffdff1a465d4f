"""The words of texts: the same as SQLite's index makes of them."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastchat.store.words import (
    INDEX_BYTES,
    POSITION_MAX,
    POSITIONS_MAX,
    WORD_MAX,
    encode_query,
    encode_words,
    words_of,
)

TEXTS = (
    "", " ", "!!!", "Red apple", "apple, RED!", "don't", "e-mail: a_b@c.example", "3.14 and 1e9", "a\0b",
    "Él está aquí", "e\u0301te\u0301", "Tiếng Việt", "Łódź", "straße", "ΣΑΣ σας Σ", "Ёлка и йод", "и\u0306",
    "\u0131s\u0131", "山田太郎", "ﬁne", "½ ² Ⅷ", "क", "ß", "naïve café", "日本語 テキスト", "안녕", "שלום",
    "عربى", "\u0301x", "a\nb\tc\u00a0d\u2003e", "'; DROP TABLE texts; --", "\ue000 private", "Ǆ ǅ ǆ",
    "\u017f \u212a \u212b",
)  # fmt: skip

# What both have known for long: Latin, Greek and Cyrillic letters, Hebrew, kana, some of the Han, and signs.
RANGES = (
    (0x20, 0x17F), (0x391, 0x3CE), (0x400, 0x45F), (0x5D0, 0x5EA), (0x3041, 0x3096), (0x4E00, 0x4E20),
    (0x1EA0, 0x1EF9), (0x300, 0x304), (0x2010, 0x2027),
)  # fmt: skip
DOTTED_I = "\u0130"  # one of three letters that SQLite leaves their accents
KNOWN = "".join(
    character
    for first, last in RANGES
    for character in map(chr, range(first, last + 1))
    if category(character) != "Cn" and character != DOTTED_I  # what is no character yet is nobody's word
)


@pytest.fixture(scope="module")
def sqlite_words() -> Iterator[Callable[[str], list[str]]]:
    with closing(sqlite3.connect(":memory:")) as connection:
        tokenizer = "unicode61 remove_diacritics 2"
        connection.execute(f'CREATE VIRTUAL TABLE texts USING fts5(text, tokenize = "{tokenizer}")')
        connection.execute("CREATE VIRTUAL TABLE words USING fts5vocab(texts, instance)")

        def words(text: str) -> list[str]:
            connection.execute("DELETE FROM texts")
            connection.execute("INSERT INTO texts (text) VALUES (?)", (text,))
            return [word for (word,) in connection.execute("SELECT term FROM words ORDER BY offset")]

        yield words


@pytest.mark.parametrize("text", TEXTS)
def test_words_are_those_of_sqlite(sqlite_words: Callable[[str], list[str]], text: str) -> None:
    assert words_of(text) == sqlite_words(text)


@given(text=st.text(st.sampled_from(KNOWN), max_size=40))
def test_any_words_are_those_of_sqlite(sqlite_words: Callable[[str], list[str]], text: str) -> None:
    assert words_of(text) == sqlite_words(text)


@given(text=st.text(max_size=60))
def test_words_are_found_again_however_they_are_written(text: str) -> None:
    words = words_of(text)
    assert words_of(" ".join(words)) == words
    assert all(word and not set(word) & set(" '\\:,&|!()<>*\0") for word in words)


def test_accents_and_case_make_no_difference() -> None:
    assert words_of(f"ÉTÉ été e\u0301te\u0301 ETE {DOTTED_I} i") == ["ete"] * 4 + ["i"] * 2


def test_a_word_of_any_length_is_cut_the_same_everywhere() -> None:
    assert words_of("a" * 60_000) == ["a" * WORD_MAX]
    assert words_of("山" * 60_000) == words_of("山" * WORD_MAX)


def test_what_is_indexed_says_where_words_stand() -> None:
    assert encode_words("the cat, The dog") == "'the':1,3 'cat':2 'dog':4"
    assert encode_words("!!!") == ""


def test_what_is_indexed_has_bounds() -> None:
    many = encode_words("a " * 1000)
    assert len(many.split(":")[1].split(",")) == POSITIONS_MAX
    late = encode_words("a " * 20_000 + "b")
    assert late.endswith(f"'b':{POSITION_MAX}")
    long = encode_words(" ".join(f"{number:020}" for number in range(200_000)))
    assert INDEX_BYTES // 2 < len(long) < 2 * INDEX_BYTES


def test_queries() -> None:
    assert encode_query(["apple", "RED"]) == "('apple') & ('red')"
    assert encode_query(["don't", "!"]) == "('don' <-> 't')"
    assert encode_query(["!", "?"]) is None
