"""A flame graph as SVG: what was sampled, each function as wide as its share. Pure: stacks in, text out.

What the event loop and the threads call is at the bottom, what that calls above it; from left to right there
is only the alphabet. A browser shows a frame's name and shares in a tooltip.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from xml.sax.saxutils import escape

from .stacks import C_LIBRARIES, COMPILED, KERNEL, OTHER_PYTHON, PYTHON, UVLOOP, Frame, Stack, share_by_part

_COLOURS = {
    KERNEL: "#c9ccd1",
    UVLOOP: "#a9c7e8",
    COMPILED: "#8fd0a8",
    PYTHON: "#f4d35e",
    OTHER_PYTHON: "#f3b27a",
    C_LIBRARIES: "#d5b8e0",
}
_WIDTH, _MARGIN, _ROW, _LETTER = 1200.0, 10.0, 17.0, 6.65
_HEADER, _FOOTER = 62.0, 10.0
_NARROWEST = 1.0  # what is narrower cannot be seen

_STYLE = (
    "text{font:11px ui-monospace,DejaVu Sans Mono,monospace;fill:#1b1b1b}"
    ".t{font:bold 14px sans-serif}.l{font:12px sans-serif}"
    "rect{stroke:#fff;stroke-width:.6}g:hover>rect{stroke:#000}"
)


@dataclasses.dataclass
class _Node:
    frame: Frame
    samples: int = 0
    own: int = 0
    callees: dict[Frame, _Node] = dataclasses.field(default_factory=dict)

    def add(self, stack: Stack, samples: int) -> None:
        self.samples += samples
        if not stack:
            self.own += samples
            return
        self.callees.setdefault(stack[0], _Node(stack[0])).add(stack[1:], samples)

    def depth(self, per_sample: float) -> int:
        """How many rows can be seen."""
        if self.samples * per_sample < _NARROWEST:
            return 0
        return 1 + max((callee.depth(per_sample) for callee in self.callees.values()), default=0)


def draw_flame(title: str, stacks: Counter[Stack]) -> str:
    """The flame graph of these stacks, with each part's own share in its legend."""
    root = _Node(Frame("the server", "", UVLOOP))
    for stack, samples in stacks.items():
        root.add(stack, samples)
    per_sample = (_WIDTH - 2 * _MARGIN) / max(root.samples, 1)
    height = _HEADER + root.depth(per_sample) * _ROW + _FOOTER
    colours = "".join(f".p{i}{{fill:{colour}}}" for i, colour in enumerate(_COLOURS.values()))
    size = f'viewBox="0 0 {_WIDTH:.0f} {height:.0f}" width="{_WIDTH:.0f}" height="{height:.0f}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{_STYLE}{colours}</style>',
        f'<rect width="{_WIDTH:.0f}" height="{height:.0f}" fill="#fff"/>',
        f'<text class="t" x="{_MARGIN:.0f}" y="22">{escape(title)}</text>',
        *_draw_legend(share_by_part(stacks)),
        *_draw_node(root, root.samples, _MARGIN, height - _FOOTER - _ROW, per_sample),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _draw_legend(shares: dict[str, float]) -> Iterator[str]:
    x = _MARGIN
    for index, part in enumerate(_COLOURS):
        label = f"{part} {shares[part]:.0%}"
        yield f'<rect class="p{index}" x="{x:.0f}" y="34" width="14" height="14"/>'
        yield f'<text class="l" x="{x + 19:.0f}" y="45">{escape(label)}</text>'
        x += 19 + 7.2 * len(label) + 20


def _draw_node(node: _Node, total: int, x: float, y: float, per_sample: float) -> Iterator[str]:
    width = node.samples * per_sample
    if width < _NARROWEST:
        return
    frame = node.frame
    where = f" ({frame.file})" if frame.file else ""
    tip = f"{frame.name}{where}: {node.samples / total:.1%}, itself {node.own / total:.1%}"
    part = list(_COLOURS).index(frame.part)
    text = _fit(frame.name, width)
    label = f'<text x="{x + 3:.1f}" y="{y + 12.5:.1f}">{escape(text)}</text>' if text else ""
    yield (
        f'<g><title>{escape(tip)}</title><rect class="p{part}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}"'
        f' height="{_ROW:.0f}"/>{label}</g>'
    )
    for callee in sorted(node.callees.values(), key=lambda callee: (callee.frame.name, callee.frame.file)):
        yield from _draw_node(callee, total, x, y - _ROW, per_sample)
        x += callee.samples * per_sample


def _fit(name: str, width: float) -> str:
    """As much of the name as there is room for; nothing where that is too little to be read."""
    letters = int((width - 5) / _LETTER)
    if letters < 3:
        return ""
    return name if len(name) <= letters else name[: letters - 1] + "…"
