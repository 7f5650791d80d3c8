"""Stage ``ingest``: raw videos -> train and val shards and an index. ``python -m pipelines.ingest``"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from digan.data.clips import ClipsConfig
from pipelines.media import chunks
from pipelines.media.chunks import ChunkMaker, ChunkTask
from pipelines.media.ingest_records import ChunkDone
from pipelines.media.ingest_run import IngestRequest, Run, make_shards
from pipelines.media.shard_writer import ShardsConfig
from pipelines.report.progress_display import ProgressDisplay
from pipelines.services import tasks
from pipelines.sources import SourceConfig, open_source

OUT = Path("outputs/shards")


def ingest(
    source: SourceConfig,
    clips: ClipsConfig,
    shards: ShardsConfig,
    out: Path,
    *,
    processes: int = 2,
    run: Run | None = None,
) -> str:
    """Make the shards of a source (see ``make_shards``); without ``run``, by ``processes`` threads of this process."""
    request = IngestRequest(
        source=asdict(source),
        classes=source.classes,
        max_refused=source.max_refused,
        clips=clips,
        shards=shards,
        out=out,
    )
    videos = open_source(source)
    work = run or (lambda wanted: tasks.run_here(ChunkMaker, wanted, processes=processes))
    return make_shards(videos, request, lambda wanted: _displayed(work, wanted, len(videos)))


def _displayed(run: Run, wanted: Sequence[ChunkTask], videos: int) -> Iterator[tuple[int, ChunkDone] | None]:
    """``run``, and show how many of all videos are done."""
    display = ProgressDisplay("ingest", videos)
    known = videos - sum(len(task.videos) for task in wanted)
    display.skip(known)
    if known:
        display.message(f"resuming after {known} videos of an earlier start")
    frames = refused = 0
    with closing(display):
        for ended in run(wanted):
            records = ended[1].records if ended else ()
            frames += sum(record["frames"] for record in records)
            refused += sum(bool(record["refused"]) for record in records)
            display.advance(
                len(records), f"{frames / display.seconds:.0f} frames/s, {refused} refused" if ended else ""
            )
            yield ended


def main(argv: list[str] | None = None) -> None:
    """Read params.yaml, make the shards on Ray, and the page that shows them."""
    from pipelines.params import load
    from pipelines.report import data_page
    from pipelines.services import cluster

    params = load()
    began = time.monotonic()

    def on_ray(wanted: Sequence[ChunkTask]) -> Iterator[tuple[int, ChunkDone] | None]:
        if wanted:
            with cluster.connect(params.cluster):
                yield from tasks.run(chunks.make_chunk, wanted)

    line = ingest(params.source, params.clips, params.shards, OUT, run=on_ray)
    page = data_page.write(OUT)
    print(f"{line}; {time.monotonic() - began:.1f} s; look at {page}", flush=True)


if __name__ == "__main__":
    from pipelines.errors import run_stage

    run_stage(lambda: main(sys.argv[1:]))
