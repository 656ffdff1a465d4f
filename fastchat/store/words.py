"""The words of a text, for the search index. Pure: no sockets, clock or await.

The same words as SQLite's index makes of it (``unicode61 remove_diacritics 2``), so that a search finds the
same in both: letters and digits make words, everything else parts them; case and the accents of Latin letters
make no difference. PostgreSQL's own dictionaries know languages, and would find other things in each.
"""

from collections.abc import Iterable, Sequence
from unicodedata import category, combining, normalize

WORD_MAX = 255
"""Characters of a word that count: an index takes no entry of more than 2 KB."""

POSITIONS_MAX = 256
"""Places of one word in one text that PostgreSQL remembers."""

POSITION_MAX = 16_383
"""The last place that it tells from others."""

INDEX_BYTES = 500_000
"""About as much as is indexed of one text; PostgreSQL takes 1 MB."""

_CACHED = 0x1_0000
_FIRST_MARK, _LAST_MARK = 0x300, 0x36F  # marks that belong to the letter before them


class _Folding(dict[int, str]):
    """What becomes of each character; those of the first plane are remembered."""

    def __missing__(self, code: int) -> str:
        folded = _fold(chr(code))
        if code < _CACHED:
            self[code] = folded
        return folded


def _fold(character: str) -> str:
    if _FIRST_MARK <= ord(character) <= _LAST_MARK:
        return ""
    kind = category(character)
    if kind[0] not in "LN" and kind != "Co":
        return " "
    folded = character.casefold()
    parts = normalize("NFD", folded)
    if parts[0].isascii() and all(map(combining, parts[1:])):
        return parts[0]
    if len(folded) > 1:  # such as the German sharp s, which stays what it is
        folded = character.lower()
    return folded if len(folded) == 1 else character


_FOLDING = _Folding()


def words_of(text: str) -> list[str]:
    """The words in their order, as the index knows them."""
    return [word[:WORD_MAX] for word in text.translate(_FOLDING).split()]


def encode_words(text: str) -> str:
    """A ``tsvector`` of the words and where they stand."""
    places: dict[str, list[str]] = {}
    size = 0
    for place, word in enumerate(words_of(text), 1):
        if (known := places.get(word)) is None:
            size += len(word.encode())
            known = places[word] = []
        if len(known) < POSITIONS_MAX:
            known.append(str(min(place, POSITION_MAX)))
            size += 2
        if size > INDEX_BYTES:
            break
    return " ".join(f"'{word}':{','.join(known)}" for word, known in places.items())


def encode_query(query: Iterable[str]) -> str | None:
    """A ``tsquery`` that finds texts with all of these; None where nothing can be found.

    What a query writes as one word, such as ``don't``, may be several, which stand side by side then.
    """
    phrases = [phrase for one in query if (phrase := words_of(one))]
    return " & ".join(map(_encode_phrase, phrases)) or None


def _encode_phrase(words: Sequence[str]) -> str:
    # Letters and digits alone: there is nothing to escape.
    return "(" + " <-> ".join(f"'{word}'" for word in words) + ")"
