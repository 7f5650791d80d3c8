"""Self-contained HTML pages from ``templates/``: text, tables, plots, images and videos in a single file."""

from __future__ import annotations

import base64
from functools import cache
from typing import TYPE_CHECKING

from digan.redaction import redacted
from pipelines.report.text_format import duration, grouped

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: object) -> str:
    """Render a template of a page, all of which extend ``page.html.jinja``. Text in ``values`` is escaped, credentials are hidden."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pipelines.report"),
        undefined=StrictUndefined,
        finalize=_finalized,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(grouped=grouped, duration=duration)
    return environment


def _finalized(value: object) -> object:
    """Hide credentials in plain text; SVG and files within the page are left as they are."""
    return redacted(value) if type(value) is str and not value.startswith("data:") else value


def data_address(mime_type: str, content: bytes) -> str:
    """Return ``content`` as a data URL."""
    return f"data:{mime_type};base64,{base64.b64encode(content).decode()}"
