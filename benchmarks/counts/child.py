"""The process in which is counted: `python -m benchmarks.counts.child PROBE [WORKLOAD ...]`.

Prints one JSON list, an entry for each call that was counted, in their order: {"workload", "n",
"allocations", "sends"}; references come first. Under callgrind each call is a dump, and both numbers are 0.
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from .workloads import BYTE, VISIT, WORKLOADS

REFERENCES = {VISIT: (1000, 2000), BYTE: (1 << 16, 1 << 17)}


class Probe:
    """The library that counts."""

    def __init__(self, path: str) -> None:
        # PyDLL: the GIL stays held, as it must be where Python is called back.
        self._library = ctypes.PyDLL(path)
        self._library.probe_call.argtypes = [ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p]
        self._library.probe_visit.restype = self._library.probe_unmask.restype = ctypes.py_object
        self._library.probe_visit.argtypes = [ctypes.c_ssize_t, ctypes.c_void_p]
        self._library.probe_unmask.argtypes = [ctypes.c_ssize_t]
        self._give = ctypes.cast(self._library.probe_give, ctypes.c_void_p)

    def call(self, function: Callable[[], Any]) -> tuple[int, int]:
        """Allocations and sends during one call."""
        allocations, sends = ctypes.c_longlong(), ctypes.c_longlong()
        self._library.probe_call(function, ctypes.byref(allocations), ctypes.byref(sends))
        return allocations.value, sends.value

    def reference(self, name: str, n: int) -> Callable[[], Any]:
        if name == VISIT:
            return partial(self._library.probe_visit, n, self._give)
        return partial(self._library.probe_unmask, n)


def main() -> None:
    probe = Probe(sys.argv[1])
    wanted = set(sys.argv[2:])
    calls: list[tuple[str, int, Callable[[], Any]]] = [
        (name, n, probe.reference(name, n)) for name, sizes in REFERENCES.items() for n in sizes
    ]
    for workload in WORKLOADS:
        if not wanted or workload.name in wanted:
            calls += [(workload.name, n, workload.prepare(n)) for n in (workload.small, workload.large)]
    # Free lists are as full then as they will be: an object that comes from there is not allocated.
    for _, _, function in calls:
        function()
    # A collection in the middle would be counted with whoever happens to trigger it.
    gc.collect()
    gc.disable()
    counted = []
    for name, n, function in calls:
        function()
        allocations, sends = probe.call(function)
        counted.append({"workload": name, "n": n, "allocations": allocations, "sends": sends})
    print(json.dumps(counted))


if __name__ == "__main__":
    main()
