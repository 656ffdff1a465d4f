"""How names may be spelled, and which of them look alike. Pure: no sockets, clock or await.

Spelling
--------
A name is 1 to 32 letters, digits and marks with ``.``, ``_`` and ``-`` between them. What is not ASCII
follows RFC 8265 (UsernameCasePreserved) after NFKC, is of scripts that UTS #39 lets stand together ("highly
restrictive"), and has digits of one system.

Capitals
--------
Some capitals look like other letters than their small forms do: Greek nu like N, and like v. A name keeps
its capitals only if that is not so; else it is spelled in small letters, and its key tells all that it looks
like.

Keys
----
Two names with one key cannot both be taken. The key is the skeleton of UTS #39, section 4, of the name in
small letters, but ASCII stands for itself: ``paul`` and ``pau1`` are two names, and so are ``bill`` and
``biil``.
"""

import re
import unicodedata
from collections.abc import Mapping

import precis_i18n
from confusable_homoglyphs import categories
from confusable_homoglyphs.utils import load

from fastchat.messages import NAME_LENGTH_MAX, Code, WireError

_ASCII_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_LENGTH_MAX - 1}}}").fullmatch
_BETWEEN = frozenset("._-")
_MARKS_MAX = 4  # UTS #39, section 5.4: more nonspacing marks in a row are no way to write a language
_TOGETHER = (
    frozenset({"LATIN", "HAN", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "HAN", "BOPOMOFO"}),
    frozenset({"LATIN", "HAN", "HANGUL"}),
)
_OF_ANY_SCRIPT = frozenset({"COMMON", "INHERITED"})
_DOT_ABOVE = "\u0307"

_PROFILE = precis_i18n.get_profile("UsernameCasePreserved")


def normalize_name(text: str, field: str = "user") -> str:
    """The name as it is written from now on. Raises WireError (``bad_field``, naming ``field``)."""
    if _ASCII_NAME(text):
        return text
    name = unicodedata.normalize("NFKC", text)
    if not _ASCII_NAME(name):
        if problem := _find_problem(name):
            raise WireError(Code.BAD_FIELD, f"{field} {problem}", field=field)
        name = _PROFILE.enforce(name)
        small = unicodedata.normalize("NFC", name.lower())
        if _skeleton(name) != _skeleton(small):
            name = small
    return name


def name_key(name: str) -> str:
    """What the name has in common with all that look like it. MUST be a normalized name."""
    small = name.lower()
    if not name.isascii():
        return _skeleton(small)
    # The name itself where it can be: thousands of guests need no second string each.
    return name if small == name else small


def _find_problem(name: str) -> str | None:
    if not 0 < len(name) <= NAME_LENGTH_MAX:
        return f"must have 1 to {NAME_LENGTH_MAX} characters"
    if name.isascii() or not _is_start(name[0]) or not all(_is_inside(each) for each in name):
        return "must be letters and digits, with '.', '_' or '-' between them"
    try:
        _PROFILE.enforce(name)
    except UnicodeEncodeError as error:
        return f"must be a name after RFC 8265: {error.reason.removeprefix('DISALLOWED/')}"
    if not _may_stand_together({categories.alias(each) for each in name} - _OF_ANY_SCRIPT):
        return "must not mix scripts whose letters look alike"
    if (
        len({ord(each) - value for each in name if (value := unicodedata.decimal(each, None)) is not None})
        > 1
    ):
        return "must have digits of one kind"
    if _has_heaped_marks(unicodedata.normalize("NFD", name)):
        return f"must not heap marks on a letter: at most {_MARKS_MAX}, no two alike"
    return None


def _is_start(character: str) -> bool:
    return unicodedata.category(character)[0] == "L" or unicodedata.category(character) == "Nd"


def _is_inside(character: str) -> bool:
    return _is_start(character) or character in _BETWEEN or unicodedata.category(character)[0] == "M"


def _may_stand_together(scripts: set[str]) -> bool:
    return len(scripts) < 2 or any(scripts <= together for together in _TOGETHER)


def _has_heaped_marks(decomposed: str) -> bool:
    heap: list[str] = []
    for each in decomposed:
        if unicodedata.category(each) != "Mn":
            heap = []
        elif each in heap or len(heap) == _MARKS_MAX:
            return True
        else:
            heap.append(each)
    return False


# Skeletons


def _skeleton(name: str) -> str:
    decomposed = unicodedata.normalize("NFD", name)
    look = unicodedata.normalize("NFD", decomposed.translate(_PROTOTYPES)).casefold()
    # A dot above a letter that has one is not seen.
    return look.replace("i" + _DOT_ABOVE, "i").replace("j" + _DOT_ABOVE, "j")


def _read_prototypes() -> Mapping[int, str]:
    """What every character that is not ASCII looks like; those that look like themselves are left out.

    The library's table has each pair of confusables.txt in both directions. There no prototype is a source,
    so pairs form stars, and the prototype is the centre; of a star of two either would do.
    """
    alike: Mapping[str, list[Mapping[str, str]]] = load("confusables.json")

    def prototype(source: str) -> str:
        others = alike.get(source, ())
        if len(others) != 1:
            return source
        (other,) = (each["c"] for each in others)
        if len(alike[other]) > 1 or len(other) > 1:
            return _ASCII_PROTOTYPES.get(other, other)
        return min(source, other)

    def closed(source: str) -> str:
        # Folded, and once more: what a capital looks like may have a small form that looks like another.
        look = prototype(source)
        for _ in range(2):
            folded = unicodedata.normalize("NFD", look).casefold()
            look = "".join(each if each.isascii() else prototype(each) for each in folded)
        return look.casefold()

    sources = [source for source in alike if len(source) == 1 and not source.isascii()]
    return {ord(source): look for source in sources if (look := closed(source)) != source}


# confusables.txt says that m looks like rn; here ASCII stands for itself.
_ASCII_PROTOTYPES: Mapping[str, str] = {"rn": "m"}
_PROTOTYPES = _read_prototypes()
