"""Plots as inline SVG: axes with units, lines, dots, areas. Colours are classes of the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

Point = tuple[float, float | None]
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 14, 46
GLYPH = 7.0
"""Width that a letter of a label takes at most, px."""


@dataclass
class Axis:
    """One axis.

    Attributes:
        label: with its unit.
        low, high: its range; None: what the data need (0 is the lowest of a linear axis).
        log: logarithmic.
        names: instead of numbers: what stands at 0, 1, 2, ...
    """

    label: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    names: Sequence[str] = ()

    def fit(self, values: list[float]) -> None:
        """Chooses the ends that were left open."""
        values = [v for v in values if math.isfinite(v) and (v > 0 or not self.log)]
        low, high = min(values, default=0.1), max(values, default=1.0)
        if self.low is None:
            self.low = low / 1.25 if self.log else min(0.0, low)
        if self.high is None:
            self.high = high * (1.25 if self.log else 1.05)
        if self.high <= self.low:
            self.high = self.low * 10 if self.log else self.low + 1

    def at(self, value: float) -> float:
        """Where a value stands, 0 to 1."""
        low, high = self.low or 0.0, self.high or 1.0
        if self.log:
            return math.log(max(value, 1e-12) / low) / math.log(high / low)
        return (value - low) / (high - low)

    def ticks(self, about: int) -> list[float]:
        """Round values within the range, about as many as asked for."""
        low, high = self.low or 0.0, self.high or 1.0
        if self.names:
            return [float(i) for i in range(len(self.names))]
        if self.log:
            decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
            return [v for d in decades for m in (1, 2, 5) if low <= (v := m * 10.0**d) <= high]
        rough = (high - low) / max(1, about)
        scale = 10.0 ** math.floor(math.log10(rough))
        step = next(m * scale for m in (1, 2, 2.5, 5, 10) if m * scale >= rough * 0.999)
        first = math.ceil(low / step - 1e-9)
        return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]

    def text(self, value: float) -> str:
        """How a tick is written."""
        if self.names:
            return self.names[round(value)]
        return f"{value:,.10g}"


@dataclass
class Plot:
    """A plot; add series, then ask for :meth:`svg`.

    Args:
        title: read out to those who do not see it.
        width, height: px of the drawing, which scales with the page.
    """

    title: str
    x: Axis
    y: Axis
    width: int = 860
    height: int = 300
    left: int = LEFT
    marks: list[tuple[str, str, list, dict]] = field(default_factory=list)
    legend: list[tuple[str, str, str]] = field(default_factory=list)

    def name(self, label: str, css: str, kind: str) -> None:
        """Adds a series to the legend once; kind: line, dot or area."""
        if label and (label, css, kind) not in self.legend:
            self.legend.append((label, css, kind))

    def line(self, points: Iterable[Point], css: str, label: str = "", step: bool = False) -> None:
        """A line; a point without a value interrupts it."""
        self.marks.append(("line", css, list(points), {"step": step}))
        self.name(label, css, "line")

    def dots(self, points: Iterable[Point], css: str, label: str = "", radius: float = 2.0) -> None:
        """Dots."""
        self.marks.append(("dots", css, [p for p in points if p[1] is not None], {"radius": radius}))
        self.name(label, css, "dot")

    def area(self, upper: Sequence[Point], lower: Sequence[Point], css: str, label: str = "") -> None:
        """What lies between two step lines."""
        self.marks.append(("area", css, [*steps(upper), *reversed(steps(lower))], {}))
        self.name(label, css, "area")

    def note(self, x: float, y: float, text: str, css: str = "", anchor: str = "start") -> None:
        """Words at a place of the plot."""
        self.marks.append(("note", css, [(x, y)], {"text": text, "anchor": anchor}))

    def svg(self) -> str:
        """The plot with its legend."""
        drawn = [m for m in self.marks if m[0] != "note"]
        self.x.fit([p[0] for _, _, points, _ in drawn for p in points])
        self.y.fit([p[1] for _, _, points, _ in drawn for p in points if p[1] is not None])
        body = [*self._axes(), *(self._mark(*mark) for mark in self.marks)]
        legend = "".join(f'<span><i class="{kind} {css}"></i>{escape(text)}</span>' for text, css, kind in self.legend)
        return (
            f'<div class="plot"><div class="legend">{legend}</div>'
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(self.title)}">'
            f"<title>{escape(self.title)}</title>{''.join(body)}</svg></div>"
        )

    def px(self, value: float) -> float:
        """Horizontal place of a value."""
        return self.left + self.x.at(value) * (self.width - self.left - RIGHT)

    def py(self, value: float) -> float:
        """Vertical place of a value."""
        return TOP + (1 - self.y.at(value)) * (self.height - TOP - BOTTOM)

    def _axes(self) -> Iterable[str]:
        bottom, right = self.height - BOTTOM, self.width - RIGHT
        for value in self.y.ticks(max(2, (self.height - TOP - BOTTOM) // 44)):
            y = self.py(value)
            yield f'<line class="grid" x1="{self.left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield f'<text x="{self.left - 7}" y="{y + 4:.1f}" text-anchor="end">{self.y.text(value)}</text>'
        for value in self.x.ticks(max(2, (self.width - self.left) // 80)):
            x = self.px(value)
            yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>'
            yield f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{self.x.text(value)}</text>'
        yield f'<path class="axis" d="M{self.left} {TOP}V{bottom}H{right}"/>'
        middle = (self.left + right) / 2
        yield (f'<text class="label" x="{middle}" y="{self.height - 8}" text-anchor="middle">'
               f"{escape(self.x.label)}</text>")  # fmt: skip
        yield (f'<text class="label" transform="translate(14 {(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">'
               f"{escape(self.y.label)}</text>")  # fmt: skip

    def _mark(self, kind: str, css: str, points: list, extra: dict) -> str:
        if kind == "note":
            ((x, y),) = points
            return (f'<text class="note {css}" x="{self.px(x):.1f}" y="{self.py(y):.1f}" '
                    f'text-anchor="{extra["anchor"]}">{escape(extra["text"])}</text>')  # fmt: skip
        if kind == "dots":
            # One path of zero-length segments with round caps: far smaller than a circle each.
            d = "".join(f"M{self.px(x):.1f} {self.py(y):.1f}h0" for x, y in points)
            return f'<path class="dots {css}" stroke-width="{2 * extra["radius"]}" d="{d}"/>'
        if kind == "area":
            d = "M" + "L".join(f"{self.px(x):.1f} {self.py(y):.1f}" for x, y in points) + "Z" if points else ""
            return f'<path class="area {css}" d="{d}"/>'
        d, pen = "", "M"
        for x, y in points:
            if y is None:
                pen = "M"
                continue
            if pen == "L" and extra["step"]:
                d += f"H{self.px(x):.1f}V{self.py(y):.1f}"
            else:
                d += f"{pen}{self.px(x):.1f} {self.py(y):.1f}"
            pen = "L"
        return f'<path class="line {css}" d="{d}"/>'


def steps(points: Sequence[Point]) -> list[Point]:
    """The corners of a step line."""
    out: list[Point] = []
    for x, y in points:
        if out:
            out.append((x, out[-1][1]))
        out.append((x, y))
    return out
