"""The frame of a report: one HTML file with its style, legible in light and dark, on paper and on a phone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--soft:#59636e;--rule:#d8dee4;--panel:#f6f8fa;
--s-with:#0b62d6;--s-without:#c2500a;--s-idle:#6e7781;--s-a:#7d3ac1;--s-b:#1a7f37;--bad:#b4232c;--good:#1a7f37}
@media(prefers-color-scheme:dark){:root{--bg:#0f1318;--fg:#e4e8ee;--soft:#9aa5b1;--rule:#2c343e;--panel:#171d24;
--s-with:#5aa9ff;--s-without:#ff9b52;--s-idle:#8b96a2;--s-a:#c79bff;--s-b:#57cc76;--bad:#ff7b81;--good:#57cc76}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg)}
body{font:16px/1.55 system-ui,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
main{max-width:940px;margin:0 auto;padding:36px 24px 64px}
h1{font-size:30px;line-height:1.2;margin:0 0 6px}h2{font-size:20px;margin:44px 0 6px}
p{margin:8px 0;max-width:72ch}.soft{color:var(--soft)}.bad{color:var(--bad)}.good{color:var(--good)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(205px,1fr));gap:14px;margin:24px 0}
.card{background:var(--panel);border:1px solid var(--rule);border-radius:10px;padding:14px 16px}
.card b{display:block;font-size:21px;line-height:1.5;white-space:nowrap;font-variant-numeric:tabular-nums}
.card .from{color:var(--s-without)}.card .to{color:var(--s-with)}.card small{color:var(--soft);font-size:13.5px}
table{border-collapse:collapse;margin:12px 0;font-variant-numeric:tabular-nums;width:100%}
th,td{text-align:right;padding:7px 12px;border-bottom:1px solid var(--rule)}
th{font-weight:600;color:var(--soft)}th:first-child,td:first-child{text-align:left}
.scroll{overflow-x:auto}
.plot{background:var(--panel);border:1px solid var(--rule);border-radius:10px;padding:10px 12px 4px;margin:12px 0}
.plot svg{display:block;width:100%;height:auto}
.legend{display:flex;flex-wrap:wrap;gap:2px 20px;padding:2px 6px;font-size:14px}
.legend i{display:inline-block;width:18px;height:0;border-top:3px solid;margin-right:7px;vertical-align:middle}
.legend i.dot{width:9px;height:9px;border:0;border-radius:50%;background:currentColor}
.legend i.area{height:12px;border:0;background:currentColor;opacity:.28}
.with{color:var(--s-with)}.without{color:var(--s-without)}.idle{color:var(--s-idle)}
.a{color:var(--s-a)}.b{color:var(--s-b)}
svg .line{fill:none;stroke:currentColor;stroke-width:1.8;stroke-linejoin:round}
svg .dots{fill:none;stroke:currentColor;stroke-linecap:round}
svg .area{fill:currentColor;opacity:.2;stroke:none}
svg .grid{stroke:var(--rule);stroke-width:1}svg .axis{fill:none;stroke:var(--soft);stroke-width:1.2}
svg text{font-size:12.5px;fill:var(--soft);font-family:inherit}svg .label{fill:var(--fg);font-size:13px}
svg .note{fill:currentColor;font-size:13px}svg .box{fill:var(--bg);stroke:var(--soft);stroke-width:1.3}
svg .strong{fill:var(--fg);font-weight:600;font-size:14px}svg .wire{stroke:var(--soft);stroke-width:2}
svg .hot{stroke:var(--s-with);stroke-width:2}
code,pre{font:13.5px/1.5 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace}
pre{background:var(--panel);border:1px solid var(--rule);border-radius:8px;padding:10px 14px;overflow-x:auto}
details{margin:18px 0}summary{cursor:pointer;color:var(--soft)}
@media print{body{background:#fff}.plot,.card{break-inside:avoid}}
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole HTML document."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body><main>\n" + "\n".join(parts) + "\n</main></body></html>\n"
    )


def paragraph(text: str, css: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{css}">{escape(text)}</p>' if css else f"<p>{escape(text)}</p>"


def heading(text: str) -> str:
    """The heading of a section."""
    return f"<h2>{escape(text)}</h2>"


def card(what: str, before: str, after: str, small: str) -> str:
    """One figure, before and after."""
    return (f'<div class="card"><small>{escape(what)}</small><b><span class="from">{escape(before)}</span> → '
            f'<span class="to">{escape(after)}</span></b><small>{escape(small)}</small></div>')  # fmt: skip


def cards(items: Iterable[str]) -> str:
    """A row of cards."""
    return f'<div class="cards">{"".join(items)}</div>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column is text, the others are figures."""
    head = "".join(f"<th>{escape(c)}</th>" for c in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
