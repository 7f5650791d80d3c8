"""One self-contained HTML page: text, tables, SVG plots and videos as data addresses; nothing is fetched from anywhere."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

STYLE = """
:root { color-scheme: light; --ink: #24292f; --soft: #57606a; --line: #d8dee4; --paper: #fff; --blue: #2f6fde; }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; color: var(--ink); background: var(--paper); }
main { max-width: 1080px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.6rem; margin: .6em 0 .2em; } h2 { font-size: 1.2rem; margin: 2em 0 .4em; } h3 { font-size: 1rem; margin: .2em 0; }
p, figcaption { margin: .3em 0 .8em; } figcaption, .soft { color: var(--soft); font-size: .9rem; }
.note { border-left: 4px solid #d4a72c; background: #fff8e5; padding: .5em .8em; }
.big { font-size: 2rem; font-weight: 600; }
.row { display: grid; gap: 20px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); align-items: start; }
figure { margin: 0; min-width: 0; }
video, img, svg { display: block; width: 100%; height: auto; }
video { image-rendering: pixelated; background: #eef1f4; border: 1px solid var(--line); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; } td, th { text-align: left; padding: .25em .8em .25em 0; vertical-align: top; }
th { font-weight: 600; } tr + tr td { border-top: 1px solid var(--line); }
td:first-child { min-width: 9em; } code { font-size: .85em; overflow-wrap: anywhere; }
.in { color: #2d8a4e; } .out { color: #c4570f; }
"""


@dataclass(frozen=True, kw_only=True)
class Video:
    """An mp4 that plays by itself, without end and without sound."""

    title: str
    caption: str
    mp4: bytes

    def html(self) -> str:
        """The figure."""
        address = f"data:video/mp4;base64,{base64.b64encode(self.mp4).decode()}"
        return (
            f"<figure><h3>{html.escape(self.title)}</h3>"
            f'<video src="{address}" autoplay loop muted playsinline preload="auto"></video>'
            f"<figcaption>{self.caption}</figcaption></figure>"
        )


@dataclass(frozen=True, kw_only=True)
class Plot:
    """An SVG drawing."""

    title: str
    caption: str
    svg: str

    def html(self) -> str:
        """The figure."""
        return (
            f"<figure><h3>{html.escape(self.title)}</h3>{self.svg}<figcaption>{html.escape(self.caption)}</figcaption>"
            "</figure>"
        )


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under a heading; text is escaped."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def html(self) -> str:
        """The table, in a box that scrolls by itself where a screen is narrow."""
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in self.head)
        rows = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        return f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, a paragraph of HTML, and figures side by side where there is room."""

    title: str
    text: str = ""
    figures: Sequence[Video | Plot] = field(default_factory=tuple)
    tables: Sequence[Table] = field(default_factory=tuple)

    def html(self) -> str:
        """The section."""
        parts = [f"<section><h2>{html.escape(self.title)}</h2>"]
        if self.text:
            parts.append(f"<p>{self.text}</p>")
        parts += [table.html() for table in self.tables]
        if self.figures:
            parts.append('<div class="row">' + "".join(figure.html() for figure in self.figures) + "</div>")
        return "".join(parts) + "</section>"


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """The whole document; ``lead`` is HTML."""
    body = "".join(section.html() for section in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{html.escape(title)}</h1>{lead}{body}</main></body></html>\n"
    )


def flat_rows(values: Mapping[str, object]) -> list[tuple[str, str]]:
    """Name and value of nested settings, as in params.yaml."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += [(f"{key}.{name}", text) for name, text in flat_rows(value)]
        else:
            rows.append((str(key), str(value)))
    return rows
