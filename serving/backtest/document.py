"""A page as one HTML file, which needs nothing else: no script, no font, no picture."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2430; --dim: #68748a; --paper: #fff; --line: #d9dee7;
  --page: #c62828; --ticket: #e08a00; --info: #3572b0; --curve: #24507d;
  --good: #1b7f3b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ef; --dim: #97a3b6; --paper: #14181f;
  --line: #333b49; --page: #ff6b63; --ticket: #f5b041; --info: #7ab3ec; --curve: #8fc1f5;
  --good: #6fcf8b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1000px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; } h3 { font-size: 1em; }
svg { width: 100%; overflow: visible; font: 11px system-ui, sans-serif; }
svg text { fill: var(--dim); } svg .lane { fill: var(--ink); }
svg .tick { stroke: var(--line); } svg .since { stroke: var(--dim); stroke-dasharray: 3 3; }
svg polyline { fill: none; stroke: var(--curve); stroke-width: 1.4; }
svg .band { fill: var(--curve); opacity: .15; }
svg line.limit { stroke: var(--ticket); stroke-dasharray: 5 4; }
svg text.limit { fill: var(--ticket); }
svg circle { fill: var(--page); }
rect.page, b.page { fill: var(--page); color: var(--page); }
rect.ticket, b.ticket { fill: var(--ticket); color: var(--ticket); }
rect.info, b.info { fill: var(--info); color: var(--info); }
article { border-left: 4px solid var(--line); padding-left: 1em; margin: 1em 0; }
article.page { border-color: var(--page); } article.ticket { border-color: var(--ticket); }
article.info { border-color: var(--info); }
.dim { color: var(--dim); } article p { margin: .2em 0; }
table { border-collapse: collapse; margin: .8em 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25em .7em; border-bottom: 1px solid var(--line); text-align: right; }
th { color: var(--dim); font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
.wide { overflow-x: auto; }
.bad { color: var(--page); font-weight: 600; } .unsure { color: var(--ticket); }
.good { color: var(--good); }
td { white-space: nowrap; } td.text { white-space: normal; }
svg rect.bar { fill: var(--curve); }
svg line.even { stroke: var(--dim); stroke-dasharray: 3 3; }
svg line.whisker { stroke: var(--curve); } svg circle.dot { fill: var(--curve); }
body.wide { max-width: 1240px; } body.wide th, body.wide td { padding: .25em .5em; }
td.bad, td.good, td.unsure, td.dim { min-width: 13em; }
svg.square { max-width: 420px; }
summary { color: var(--dim); cursor: pointer; margin: .8em 0; }
"""


def document(title: str, parts: Iterable[str], *, wide: bool = False) -> str:
    """Return the page.

    Args:
        title: plain text.
        parts: of the body, as HTML.
        wide: whether there are tables with many columns.
    """
    body = '<body class="wide">' if wide else "<body>"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
        f"{body}{''.join(parts)}</body></html>\n"
    )
