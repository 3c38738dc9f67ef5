"""One HTML page that needs no other file and no network: its frame, its style (light and dark), cards and tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from html import escape

from octavo import __version__
from octavo.errors import IoError
from octavo.report.table import shorten

NAME = 42  # letters of a node's name that a table shows

STYLE = """
:root { color-scheme: light dark; --back: #f5f7f9; --paper: #fff; --ink: #1b2530; --soft: #45525f; --faint: #5b6874;
  --line: #dde3e8; --rule: #eef1f4; --hover: #f0f5fa; --one: #1f77b4; --two: #d9772b; --good: #2e8b57; --bad: #c0392b; }
@media (prefers-color-scheme: dark) { :root { --back: #12171c; --paper: #1b2229; --ink: #e6ebf0; --soft: #b4bfca;
  --faint: #94a1ad; --line: #323c46; --rule: #28313a; --hover: #232c35; --one: #5aa9e0; --two: #f0995a; --good: #58b97f;
  --bad: #e8796c; } }
* { box-sizing: border-box; }
body { font: 14px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--back); margin: 0; }
main { max-width: 1240px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 22px; margin: 0 0 2px; overflow-wrap: anywhere; } h2 { font-size: 16px; margin: 28px 0 8px; }
p { margin: 4px 0; color: var(--soft); max-width: 100ch; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px;
  overflow-x: auto; margin: 8px 0; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 16px 0; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 10px 16px;
  min-width: 120px; flex: 0 1 auto; }
.card b { display: block; font-size: 20px; } .card span { color: var(--faint); font-size: 12px; }
.key { display: inline-block; margin-right: 18px; color: var(--soft); font-size: 13px; }
.key i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr)); gap: 12px; }
.grid.pair { grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); }
.grid section { margin: 0; } figure { margin: 0; }
figcaption { font-size: 12.5px; color: var(--soft); overflow-wrap: anywhere; } figcaption b { color: var(--ink); }
svg { display: block; } svg.wide { width: 100%; min-width: 720px; height: auto; }
svg.small { width: 100%; max-width: 560px; height: auto; }
svg text { font-family: system-ui, sans-serif; font-size: 11.5px; fill: var(--faint); }
svg text.name { fill: var(--ink); paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
svg .rule { stroke: var(--line); } svg .edge { stroke: var(--faint); }
table { border-collapse: collapse; width: 100%; font-size: 12.5px; font-variant-numeric: tabular-nums; }
th { text-align: right; color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line); padding: 4px 8px; }
th { white-space: nowrap; }
td { text-align: right; padding: 2px 8px; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th.left, td.left { text-align: left; }
tr:hover td { background: var(--hover); } li { margin: 2px 0; overflow-wrap: anywhere; } ul { padding-left: 20px; }
li small { display: block; color: var(--soft); font-size: 13px; }
@media (max-width: 600px) { main { padding: 14px 10px 32px; } section { padding: 10px; } .cards { gap: 8px; }
  .card { padding: 8px 12px; min-width: 0; flex: 1 1 40%; } .card b { font-size: 17px; } }
"""


def page(title: str, command: str, lines: Sequence[str], parts: Iterable[str]) -> str:
    """The whole document. title and lines are plain text; parts are HTML."""
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}: octavo {escape(command)}</title><style>{STYLE}</style>"
    )
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head>{head}</head><body><main>',
            f"<h1>{escape(title)}</h1>",
            *(f"<p>{escape(line)}</p>" for line in (f"octavo {__version__} {command}", *lines)),
            *(part for part in parts if part),
            "</main></body></html>\n",
        ]
    )


def write_page(path: str, text: str) -> None:
    """Writes beside `path`, then renames. Raises IoError; an old file stays as it was then."""
    beside = f"{path}.tmp{os.getpid()}"
    try:
        with open(beside, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(beside, path)
    except OSError as e:
        raise IoError(f"cannot write '{path}': {e.strerror or e}") from e
    finally:
        if os.path.exists(beside):
            os.unlink(beside)


def cards(figures: Iterable[tuple[str, str]]) -> str:
    """(figure, what it is) each."""
    inner = "".join(f'<div class="card"><b>{escape(a)}</b><span>{escape(b)}</span></div>' for a, b in figures)
    return f'<div class="cards">{inner}</div>'


def section(title: str, *parts: str) -> str:
    """A heading and a box below it."""
    return f"<h2>{escape(title)}</h2><section>{''.join(parts)}</section>"


def keys(entries: Iterable[tuple[str, str]], note: str = "") -> str:
    """(CSS colour, what it stands for) each."""
    drawn = "".join(f'<span class="key"><i style="background:{c}"></i>{escape(text)}</span>' for c, text in entries)
    return f'<p>{drawn}<span class="key">{escape(note)}</span></p>'


def html_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: Sequence[str] = (), name: str = ""
) -> str:
    """Cells are plain text. left: columns aligned to the left; name: the one that is cut where it is long."""
    heads = "".join(f"<th{' class=left' if c in left else ''}>{escape(c)}</th>" for c in columns)
    lines = []
    for row in rows:
        cells = []
        for column, text in zip(columns, row):
            kind = ' class="left name"' if column == name else " class=left" if column in left else ""
            tip = f' title="{escape(text)}"' if column == name else ""
            cells.append(f"<td{kind}{tip}>{escape(shorten(text, NAME) if column == name else text)}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
