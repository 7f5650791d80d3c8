"""Whether shards were made with the sections source, clips and shards of params.yaml: a stage that is run alone may find older ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from digan.errors import UserError
from pipelines.dataset.shard_index import INDEX, ShardIndex, read_index
from pipelines.params_file import flatten, shown
from pipelines.sources import SOURCES, SourceConfig
from pipelines.sources.base import split_names
from pipelines.storage import file_io

SECTIONS = ("source", "clips", "shards")
PATHS = ("source.path", "source.folder.labels", "shards.address")


def check_made_with(index: ShardIndex, params: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare what the index records with ``params``, by section; a key that it does not record (yet) is not compared.

    Errors: ``UserError`` with the first key that has another value, both values, and the other such keys.
    """
    sizes = {"resolution": index.resolution, "frames": index.frames, "frame_stride": index.frame_stride}
    before = flatten({"clips": sizes}) | flatten({"source": index.source, **index.settings})
    now = flatten({section: params[section] for section in SECTIONS})
    used = [key for key in now if key in before and _is_used(key, now)]
    changed = [key for key in used if _comparable(key, before) != _comparable(key, now)]
    if changed:
        first = changed[0]
        also = f" (also changed: {', '.join(changed[1:])})" if changed[1:] else ""
        problem = (
            f"{first}={shown(now[first])}: the shards at {index.address} were made with {shown(before[first])}{also}"
        )
        raise UserError(f"{problem}; run python -m pipelines.ingest again, or set it back")


def check_shards_if_present(folder: Path, params: Mapping[str, Mapping[str, Any]]) -> None:
    """The same for the shards in ``folder``, if there are any: where only results were pulled, there are none."""
    if (folder / INDEX).is_file():
        check_made_with(read_index(folder), params)


def _is_used(key: str, values: Mapping[str, Any]) -> bool:
    """Whether the key has an effect: not a section of another source, nor what the comments in params.yaml call unused."""
    name = values["source.name"]
    section = key.split(".")[1]
    if key.startswith("source.") and section in SOURCES:
        return bool(section == name)
    if key == "source.path":
        return not get_type_hints(SourceConfig)[name].makes_videos
    return key != "shards.jpeg_quality" or bool(values["shards.encoding"] == "jpeg")


def _comparable(key: str, values: Mapping[str, Any]) -> Any:
    """The value in the one way of writing it: absolute paths, classes in order."""
    value = values[key]
    if key == "source.only_classes":
        return sorted(set(split_names(value)))
    if key not in PATHS or not value:
        return value
    if file_io.is_remote(value):
        return value.rstrip("/")
    path = file_io.local(value)
    inside = file_io.local(values.get("source.path", "")) / path
    is_inside = key == "source.folder.labels" and not path.is_file() and inside.is_file()
    return (inside if is_inside else path).resolve()
