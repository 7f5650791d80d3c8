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

from digan.errors import UserError
from pipelines.arguments import stage_parser
from pipelines.dataset.ingest_plan import with_content_tag
from pipelines.sources import SourceConfig, open_source
from pipelines.storage import file_io

READS = "params.yaml (source), the names and sizes of the source's videos"
WRITES = "outputs/listing.json"
OUT = Path("outputs/listing.json")
logger = logging.getLogger(__name__)


def describe(source: SourceConfig) -> str:
    """Return the listing as JSON; only the name for a source that generates its videos."""
    if source.chosen.makes_videos:
        return json.dumps({"source": source.name}) + "\n"
    videos = [with_content_tag(video) for video in open_source(source)]
    lines = "".join(json.dumps([each.name, each.class_name, each.split, each.kind, each.bytes]) for each in videos)
    total, digest = sum(max(each.bytes, 0) for each in videos), hashlib.sha256(lines.encode()).hexdigest()
    return json.dumps({"source": source.name, "videos": len(videos), "bytes": total, "digest": digest}, indent=1) + "\n"


def main(argv: Sequence[str] = ()) -> None:
    """Write the listing. If the source cannot be read, keep an earlier one, so that pulled shards need no videos."""
    stage_parser("listing", __doc__, reads=READS, writes=WRITES).parse_args(argv)
    from pipelines.params import load

    source = load().source
    try:
        text = describe(source)
    except UserError as error:
        if not OUT.is_file():
            raise
        logger.warning("%s; keeping the earlier listing", error)
        return
    file_io.write_bytes(OUT, text.encode())
    found = json.loads(text)
    size = f", {found['videos']} videos, {found['bytes'] / 1e6:.1f} MB" if "videos" in found else ""
    print(f"listing: {source.name}{size}", flush=True)


if __name__ == "__main__":
    from pipelines.exit_status import run_stage

    run_stage(main, sys.argv[1:])
