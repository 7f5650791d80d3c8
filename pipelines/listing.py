"""Stage `listing`: write a digest of the source's videos, so that DVC notices added, removed and replaced ones.

``source.path`` may be any folder or bucket, so DVC cannot track it. This stage runs at every `dvc repro` and digests
names, classes, splits and sizes without opening files; a change that keeps a file's size is not noticed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from digan import atomic
from digan.data.clips import ClipsConfig
from digan.errors import UserError, listed
from pipelines.arguments import stage_parser
from pipelines.dataset import class_coverage
from pipelines.dataset.ingest_plan import split_of_video, with_content_tag
from pipelines.sources import RawVideo, SourceConfig, open_source
from pipelines.storage import file_io

READS = "params.yaml (source), the names and sizes of the source's videos"
WRITES = "outputs/listing.json"
OUT = Path("outputs/listing.json")
logger = logging.getLogger(__name__)


def videos_of(source: SourceConfig) -> list[RawVideo]:
    """The videos of the source; none for one that generates its videos, which would begin now."""
    return [] if source.chosen.makes_videos else open_source(source)


def describe(source: SourceConfig, videos: Sequence[RawVideo]) -> str:
    """Return the listing of the source's ``videos`` as JSON; only the name for a source that generates its videos."""
    if source.chosen.makes_videos:
        return json.dumps({"source": source.name}) + "\n"
    tagged = [with_content_tag(video) for video in videos]
    lines = "".join(json.dumps([each.name, each.class_name, each.split, each.kind, each.bytes]) for each in tagged)
    total, digest = sum(max(each.bytes, 0) for each in tagged), hashlib.sha256(lines.encode()).hexdigest()
    counts = {"videos": len(tagged), "bytes": total}
    if rejected := [f"{each.name} ({each.rejected})" for each in videos if each.rejected]:
        counts["rejected"] = len(rejected)
        logger.warning("%d of %d videos are not used: %s", len(rejected), len(videos), listed(rejected))
    return json.dumps({"source": source.name, **counts, "digest": digest}, indent=1) + "\n"


def class_note(videos: Sequence[RawVideo], clips: ClipsConfig) -> str:
    """Name the classes that have no video in train; empty if all have one."""
    found = [(video.class_name or "", split_of_video(video, clips), False) for video in videos if not video.rejected]
    return class_coverage.note(class_coverage.classes_without_train_clips(found))


def main(argv: Sequence[str] = ()) -> None:
    """Write the listing. If the source cannot be read, keep an earlier one, so that pulled shards need no videos."""
    stage_parser("listing", __doc__, reads=READS, writes=WRITES).parse_args(argv)
    from pipelines.params import load

    params = load()
    source = params.source
    atomic.check_files_writable(OUT)
    try:
        videos = videos_of(source)
    except UserError as error:
        if not OUT.is_file():
            raise
        logger.warning("%s; keeping the earlier listing", error)
        return
    text = describe(source, videos)
    file_io.write_bytes(OUT, text.encode())
    found = json.loads(text)
    size = f", {found['videos']} videos, {found['bytes'] / 1e6:.1f} MB" if "videos" in found else ""
    print(f"listing: {source.name}{size}", flush=True)
    if source.classes and (note := class_note(videos, params.clips)):
        print(f"listing: {note}", flush=True)


if __name__ == "__main__":
    from pipelines.exit_status import run_stage

    run_stage(main, sys.argv[1:])
