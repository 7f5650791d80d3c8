"""Addresses of SQLite stores, ``sqlite:////absolute/path``, and the paths in them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote

from digan.errors import UserError
from pipelines.storage.file_io import local

PREFIX = "sqlite:///"
FILE = "file:"  # begins a path in the form that SQLite decodes itself


def address_of(path: Path) -> str:
    """Return the address of the database at the absolute ``path``.

    In an address ``?`` begins options, and SQLAlchemy decodes ``%`` from version 2.1 on. A path with either is passed to
    SQLite in its own form ``file:``, and with the driver's name: MLflow makes the folder of whatever follows ``sqlite:///``.
    """
    if not re.search(r"[%?]", str(path)):
        return f"{PREFIX}{path}"
    from sqlalchemy import URL

    return URL.create("sqlite+pysqlite", database=FILE + quote(str(path)), query={"uri": "true"}).render_as_string()


def database_of(uri: str) -> Path | None:
    """Return the path of the database in ``uri``; ``None`` if this is no SQLite file."""
    if not uri.startswith("sqlite"):
        return None
    if uri.startswith(PREFIX) and not re.search(r"[%?]", uri):
        text = uri.removeprefix(PREFIX)
    else:
        from sqlalchemy.engine import make_url

        text = make_url(uri).database or ""
    if text.startswith(FILE):
        text = unquote(text.removeprefix(FILE))
    return local(text) if text and text != ":memory:" else None


def absolute(uri: str) -> str:
    """Return the address of a SQLite file with an absolute path; other addresses as they are."""
    database = database_of(uri)
    if database is None or (database.is_absolute() and "~" not in uri):
        return uri
    if "?" in uri:
        raise UserError(
            f"tracking.uri={uri}: an address with options needs an absolute path; try {address_of(database.resolve())}"
        )
    return address_of(database.resolve())


def check_folder(database: Path, here: Path) -> None:
    """Reject a new database where MLflow cannot make one: it puts the working directory ``here`` into SQL by itself."""
    text = str(here)
    problem = "both ' and \"" if "'" in text and '"' in text else "/:" if "/:" in text else ""
    if problem and not database.exists():
        raise UserError(
            f"{here}: MLflow cannot make a SQLite store from a folder with {problem} in its path; rename the folder"
        )
