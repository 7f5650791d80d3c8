"""HTML pages that need nothing else: text, tables, plots, pictures and videos in one file, by one template."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    """Text in the style ``""``, ``soft`` or ``note``; ``big`` comes before it in large letters."""

    text: str
    style: str = ""
    big: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plot, as an SVG element by matplotlib, which is not escaped, or an mp4 that plays in a loop, as a data address."""

    title: str = ""
    caption: str = ""
    svg: str = ""
    video: str = ""


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Pictures, as data addresses, below each other under one heading."""

    title: str
    addresses: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Counts by name, each with a bar; ``more`` says what is left out."""

    title: str
    counts: Mapping[str, int]
    more: str = ""

    def percent(self, count: int) -> float:
        """The length of a bar relative to the longest."""
        return 100 * count / max(self.counts.values())


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A table's row for a trial of a sweep; pointing at it marks the trial in the page's plots."""

    cells: Sequence[str]
    number: int
    color: str
    tip: str
    best: bool


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells; without a ``head``, the first cell of a row names it. ``more`` says what is left out."""

    rows: Sequence[Sequence[str] | TrialRow]
    head: Sequence[str] = ()
    title: str = ""
    more: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with, in this order, paragraphs, tables, pictures, bars, and figures side by side where there is room."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Pictures] = ()
    bars: Sequence[Bars] = ()
    figures: Sequence[Figure] = ()


def page(title: str, lead: Sequence[Paragraph], sections: Sequence[Section], *, marks_trials: bool = False) -> str:
    """The whole document. ``marks_trials``: plots have elements with ids ``trial-NUMBER-...`` that rows and pointer mark."""
    return _template().render(title=title, lead=lead, sections=sections, marks_trials=marks_trials)


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("pipelines.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.jinja")


def data_address(kind: str, content: bytes) -> str:
    """``content`` of the MIME type ``kind`` as a data address."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def flat_rows(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Dotted name and value of nested settings."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat_rows(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
