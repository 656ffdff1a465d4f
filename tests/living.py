"""How many objects of a kind live: what a test that forbids the collector compares."""

import gc


def living(*kinds: type) -> int:
    """Those that the collector knows of. Asked by their type: proxies are not what they say they are."""
    return sum(issubclass(type(thing), kinds) for thing in gc.get_objects())
