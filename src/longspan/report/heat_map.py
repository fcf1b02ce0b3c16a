"""Heat maps as small SVG elements: a row per length, with fields from the start of the document to its end."""

import itertools
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

# Viridis (Smith and van der Walt), which keeps its order in grey and for colour-blind readers, at equal steps.
_STOPS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
_WIDTH, _LEFT, _RIGHT, _TOP, _ROW, _GAP = 360, 52, 8, 20, 24, 1
_FOOT = 34
_LEAST_WIDTH_WITH_NUMBER = 22


class Field(NamedTuple):
    """A field of a row: its ends (0 to 1), its colour (0, dark, to 1), its number and a tooltip."""

    left: float
    right: float
    share: float
    number: str
    words: str


class Row(NamedTuple):
    """Fields of one length, from left to right."""

    label: str
    fields: Sequence[Field]


def edges(depths: Sequence[float]) -> list[tuple[float, float]]:
    """Edges of the fields around ascending depths: halfway between neighbours, and 0 and 1 at the ends."""
    inner = [(a + b) / 2 for a, b in itertools.pairwise(depths)]
    bounds = [0.0, *inner, 1.0]
    return list(itertools.pairwise(bounds))


def heat_map(rows: Sequence[Row], *, x_label: str, y_label: str) -> str:
    """Return an SVG element with a row for each length; fields that are wide enough show their numbers."""
    height = _TOP + len(rows) * _ROW + _FOOT
    inner = _WIDTH - _LEFT - _RIGHT
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" font-size="11" xmlns="http://www.w3.org/2000/svg">',
        _text(0, 12, y_label, "start"),
    ]
    for index, row in enumerate(rows):
        y = _TOP + index * _ROW
        parts.append(_text(_LEFT - 6, y + _ROW / 2 + 4, row.label, "end"))
        for field in row.fields:
            x, width = _LEFT + inner * field.left, inner * (field.right - field.left)
            red, green, blue = shade(field.share)
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{max(width - _GAP, 0.5):.1f}" height="{_ROW - _GAP}" '
                f'fill="#{red:02x}{green:02x}{blue:02x}"><title>{escape(field.words)}</title></rect>'
            )
            if width >= _LEAST_WIDTH_WITH_NUMBER:
                middle = x + (width - _GAP) / 2
                ink = _ink_on(red, green, blue)
                parts.append(_text(middle, y + _ROW / 2 + 4, field.number, "middle", fill=ink))
    y = _TOP + len(rows) * _ROW + 12
    for place, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        parts.append(_text(_LEFT + inner * place, y, f"{100 * place:.0f} %", anchor))
    parts.append(_text(_LEFT + inner / 2, y + 16, x_label, "middle"))
    return "".join([*parts, "</svg>"])


def scale(dark: str, bright: str, label: str) -> str:
    """Return the colour scale from `dark` to `bright` as an SVG element with labels."""
    n_steps, inner = 40, _WIDTH - _LEFT - _RIGHT
    parts = [f'<svg viewBox="0 0 {_WIDTH} 44" font-size="11" xmlns="http://www.w3.org/2000/svg">']
    parts.append(_text(_LEFT, 11, label, "start"))
    for step in range(n_steps):
        red, green, blue = shade((step + 0.5) / n_steps)
        parts.append(
            f'<rect x="{_LEFT + inner * step / n_steps:.2f}" y="17" width="{inner / n_steps + 0.3:.2f}" height="10" '
            f'fill="#{red:02x}{green:02x}{blue:02x}"/>'
        )
    middle = f"{(float(dark) + float(bright)) / 2:g}"
    for place, text, anchor in ((0.0, dark, "start"), (0.5, middle, "middle"), (1.0, bright, "end")):
        parts.append(_text(_LEFT + inner * place, 40, text, anchor))
    return "".join([*parts, "</svg>"])


def shade(share: float) -> tuple[int, int, int]:
    """Red, green and blue (0 to 255) of a value from 0 to 1 on the scale."""
    place = min(max(share, 0.0), 1.0) * (len(_STOPS) - 1)
    index = min(int(place), len(_STOPS) - 2)
    low, high, part = _STOPS[index], _STOPS[index + 1], place - index
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(low, high, strict=True))
    return red, green, blue


def _ink_on(red: int, green: int, blue: int) -> str:
    """Black or white, whichever contrasts more (relative luminance of WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red / 255, green / 255, blue / 255)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#fff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.05 else "#000"


def _text(x: float, y: float, text: str, anchor: str, fill: str = "var(--ink)") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}">{escape(text)}</text>'
