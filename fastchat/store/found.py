"""What was asked for and found: the words of a query, and pages of messages. Pure."""

from collections.abc import Sequence

import orjson

from fastchat.messages import Code, WireError
from fastchat.store.interface import PAGE_BYTES, Page

WORDS_MAX = 32
PAGE_MAX = PAGE_BYTES // 64  # messages, of which none is smaller than that

Found = tuple[int, bytes]
"""When a message came in, in milliseconds since 1970, and its JSON."""


def parse_query(query: str) -> list[str]:
    """The words of a query. Raises WireError where there is none, or too many."""
    # SQLite's index takes a zero character for the end of the query.
    words = query.replace('"', " ").replace("\0", " ").split()
    if not words:
        raise WireError(Code.BAD_FIELD, "query must contain a word", field="query")
    if len(words) > WORDS_MAX:
        raise WireError(
            Code.BAD_FIELD, f"query has {len(words)} words; {WORDS_MAX} are allowed", field="query"
        )
    return words


def cut_range(bodies: Sequence[bytes], limit: int, *, newest: bool) -> Page:
    """The oldest (or ``newest``) of a room's messages, which are in order, as a page.

    Whoever reads them reads one more than ``limit``, which tells whether there are more.
    """
    more = len(bodies) > limit
    if more:
        bodies = bodies[1:] if newest else bodies[:-1]
    size = 0
    for count, body in enumerate(reversed(bodies) if newest else bodies):
        size += len(body)
        if count and size > PAGE_BYTES:
            return Page(bodies[-count:] if newest else bodies[:count], more=True)
    return Page(bodies, more)


def cut_page(found: Sequence[Found], limit: int) -> Page:
    """The first ones as a page, of messages that are sorted by time, the newest first.

    The next page is asked for by time: where it can, a page ends between two messages of different times.
    """
    end = size = 0
    for _, body in found[:limit]:
        size += len(body)
        if end and size > PAGE_BYTES:
            break
        end += 1
    whole = end
    while 0 < whole < len(found) and found[whole - 1][0] == found[whole][0]:
        whole -= 1
    end = whole or end
    return Page([body for _, body in found[:end]], end < len(found))


def merge_pages(pages: Sequence[Page], limit: int) -> Page:
    """Several stores' pages as one."""
    by_time = [[(int(orjson.loads(body)["at"]), body) for body in page.bodies] for page in pages]
    # Below the end of a page that has a next one, messages are missing: the next page has them.
    ends = [found[-1][0] for found, page in zip(by_time, pages, strict=True) if page.more and found]
    known = [one for found in by_time for one in found if not ends or one[0] >= max(ends)]
    known.sort(key=lambda one: one[0], reverse=True)
    page = cut_page(known, limit)
    return Page(page.bodies, page.more or bool(ends))
