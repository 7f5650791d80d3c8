"""Self-contained HTML pages from one template: text, tables, plots, images and videos in a single file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Text in the style ``""``, ``soft`` or ``note``, with ``big`` in large letters before it."""

    text: str
    style: str = ""
    big: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plot (an SVG element, which is not escaped) or a looping video (an mp4 as a data URL)."""

    title: str = ""
    caption: str = ""
    svg: str = ""
    video: str = ""


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Counts by name, each with a bar; ``more`` describes what is left out."""

    title: str
    counts: Mapping[str, int]
    more: str = ""


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """Table row of a sweep's trial; hovering over it highlights the trial in the page's plots."""

    cells: Sequence[str]
    number: int
    color: str
    tip: str
    best: bool


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells. Without ``head``, the first cell of each row is its header; ``more`` describes what is left out."""

    rows: Sequence[Sequence[str] | TrialRow]
    head: Sequence[str] = ()
    title: str = ""
    more: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading followed by paragraphs, tables, pictures (data URLs by subheading), bars and figures, in this order."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Mapping[str, Sequence[str]] = field(default_factory=dict)
    bars: Sequence[Bars] = ()
    figures: Sequence[Figure] = ()


def page(title: str, lead: Sequence[Paragraph], sections: Sequence[Section], *, marks_trials: bool = False) -> str:
    """Render the document. ``marks_trials`` adds a script that highlights the plot elements ``trial-NUMBER-...``."""
    return _template().render(title=title, lead=lead, sections=sections, marks_trials=marks_trials)


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader, strict = PackageLoader("pipelines.report"), StrictUndefined
    environment = Environment(loader=loader, undefined=strict, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("page.html.jinja")


def data_address(mime_type: str, content: bytes) -> str:
    """Return ``content`` as a data URL."""
    return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"
