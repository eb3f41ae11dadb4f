"""Curves: options for ECharts that look right on light and dark."""

from __future__ import annotations

from typing import Any

BLUE, ORANGE, GREEN, PURPLE, RED, GREY = "#3d8bfd", "#e0812e", "#2fa36b", "#9b6fe0", "#e05260", "#8b95a1"
FAINT = "rgba(128,140,152,.18)"


def scaled(unit: str) -> str:
    """A JavaScript function that writes a value with three figures and a prefix."""
    return (
        "v => { for (const p of ['', 'k', 'M', 'G']) { if (Math.abs(v) < 999.5 || p == 'G') "
        f"return +v.toPrecision(3) + ' ' + p + '{unit}'; v /= 1000; }} }}"
    )


BIT_S, BYTES, NUMBER = scaled("bit/s"), scaled("B"), scaled("")
MS, PERCENT, SECONDS = (f"v => +v.toPrecision(3) + ' {unit}'" for unit in ("ms", "%", "s"))
"""Units: JavaScript functions that write a value."""

Points = list[list[float | None]]


def lines(series: list[tuple[str, str, bool]], unit: str) -> dict[str, Any]:
    """Curves over time.

    Args:
        series: name, colour, filled; points come later, by :func:`fill`.
        unit: a JavaScript function that writes a value.
    """
    return {
        "animation": False,
        "textStyle": {"fontFamily": "system-ui, sans-serif"},
        "grid": {"left": 8, "right": 20, "top": 14, "bottom": 8, "containLabel": True},
        "tooltip": {
            "trigger": "axis", "className": "tip", "axisPointer": {"lineStyle": {"color": GREY, "width": 1}},
            ":valueFormatter": f"v => v == null ? '-' : ({unit})(v)", "confine": True,
        },
        "xAxis": {
            "type": "time", "axisLine": {"lineStyle": {"color": FAINT}}, "axisTick": {"show": False},
            "axisLabel": {
                "color": GREY, "hideOverlap": True, "fontSize": 11.5, "alignMaxLabel": "right", "showMinLabel": False,
                "rich": {"primary": {"fontWeight": "normal"}},
            },
            "splitLine": {"show": False},
        },
        "yAxis": {
            "type": "value", "min": 0, "splitNumber": 4,
            "axisLabel": {"color": GREY, ":formatter": unit, "fontSize": 11.5},
            "splitLine": {"lineStyle": {"color": FAINT}},
        },
        "series": [
            {
                "name": name, "type": "line", "showSymbol": False, "data": [], "color": colour,
                "lineStyle": {"width": 1.8}, "connectNulls": False, "sampling": "lttb",
                **({"areaStyle": {"opacity": 0.13}} if filled else {}),
            }
            for name, colour, filled in series
        ],
    }  # fmt: skip


def fill(
    options: dict[str, Any], times: list[float], curves: list[list[float | None]], since: float, until: float
) -> None:
    """Puts points into curves; times in unix s."""
    options["xAxis"]["min"], options["xAxis"]["max"] = since * 1000, until * 1000
    for one, values in zip(options["series"], curves, strict=True):
        one["data"] = [[at * 1000, v] for at, v in zip(times, values, strict=True)]


def sequence(parts: list[tuple[str, str, str, list[Any]]]) -> dict[str, Any]:
    """A time-sequence graph.

    Args:
        parts: name, colour, line or dots, points in s and bytes.
    """
    series: list[dict[str, Any]] = []
    for name, colour, kind, points in parts:
        one: dict[str, Any] = {"name": name, "data": points, "color": colour, "large": True, "animation": False}
        if kind == "line":
            one |= {"type": "line", "step": "end", "showSymbol": False, "lineStyle": {"width": 1.4}}
        else:
            one |= {"type": "scatter", "symbolSize": 6 if kind == "marks" else 3.2}
        series.append(one)
    axis = {"axisLabel": {"color": GREY, "fontSize": 11.5}, "splitLine": {"lineStyle": {"color": FAINT}}}
    return {
        "animation": False,
        "textStyle": {"fontFamily": "system-ui, sans-serif"},
        "grid": {"left": 4, "right": 14, "top": 14, "bottom": 34, "containLabel": True},
        "tooltip": {"trigger": "item", "className": "tip", "confine": True, ":formatter":
                    f"p => p.seriesName + '<br>' + ({SECONDS})(p.value[0]) + ', ' + ({BYTES})(p.value[1])"},
        "xAxis": {"type": "value", "min": 0, "max": "dataMax", **axis,
                  "axisLine": {"onZero": False, "lineStyle": {"color": FAINT}},
                  "axisLabel": {**axis["axisLabel"], ":formatter": "v => v + ' s'", "showMaxLabel": False}},
        "yAxis": {"type": "value", "min": 0, **axis, "axisLabel": {**axis["axisLabel"], ":formatter": BYTES}},
        "dataZoom": [{"type": "inside"}, {"type": "inside", "yAxisIndex": 0, "zoomOnMouseWheel": "shift"},
                     {"type": "slider", "height": 16, "bottom": 6, "borderColor": "transparent",
                      "showDetail": False, "fillerColor": FAINT}],
        "series": series,
    }  # fmt: skip
