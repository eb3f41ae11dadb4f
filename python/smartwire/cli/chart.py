"""Curves in characters, for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

LEVELS = " ▁▂▃▄▅▆▇█"
GAP = "·"

Values = Sequence[float | None]


def shrink(values: Values, width: int) -> list[float | None]:
    """At most `width` values: the mean of those that fall together; None where nothing is known."""
    if len(values) <= width:
        return list(values)
    out: list[float | None] = []
    for i in range(width):
        part = [v for v in values[i * len(values) // width : (i + 1) * len(values) // width] if v is not None]
        out.append(sum(part) / len(part) if part else None)
    return out


def spark(values: Values, width: int) -> str:
    """One line, from 0 to the greatest value."""
    found = shrink(values, width)
    top = max((v for v in found if v is not None), default=0.0) or 1.0
    return "".join(GAP if v is None else LEVELS[1 + min(7, int(max(v, 0.0) / top * 7.999))] for v in found)


def plot(values: Values, width: int, height: int, label: Callable[[float], str]) -> list[str]:
    """Lines of a filled curve from 0 to the greatest value, with a scale at its left.

    Args:
        values: by time, None where nothing is known.
        width, height: of the curve, in characters.
        label: writes a value of the scale.
    """
    found = shrink(values, width)
    top = max((v for v in found if v is not None), default=0.0) or 1.0
    marks = {row: label(top * row / height) for row in {height, (height + 1) // 2}} | {0: label(0)}
    wide = max(len(mark) for mark in marks.values())
    lines = []
    for row in range(height, 0, -1):
        cells = [cell(v, top, row, height) for v in found]
        lines.append(f"{marks.get(row, ''):>{wide}} ┤{''.join(cells)}".rstrip())
    lines.append(f"{marks[0]:>{wide}} ┼{'─' * len(found)}")
    return lines


def cell(value: float | None, top: float, row: int, height: int) -> str:
    """One character of a curve: how much of its row (1 is the lowest) the value fills."""
    if value is None:
        return GAP if row == 1 else " "
    eighths = round(max(value, 0.0) / top * height * 8) - (row - 1) * 8
    return LEVELS[max(0, min(8, eighths))]
