"""Stage `ingest`: convert raw videos to train and val shards with an index."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from digan import atomic
from digan.data.clips import ClipsConfig
from pipelines.arguments import stage_parser
from pipelines.cluster import ray_tasks
from pipelines.dataset import class_coverage, ingest_tasks
from pipelines.dataset.ingest_run import Results, Run, make_shards
from pipelines.dataset.ingest_tasks import IngestRequest, IngestTask
from pipelines.dataset.shard_writer import ShardsConfig
from pipelines.report.progress_display import ProgressDisplay
from pipelines.sources import SourceConfig, open_source
from pipelines.storage import file_io
from pipelines.video.raw_video import RawVideo

READS = "params.yaml (source, clips, shards, cluster), the source's videos"
WRITES = "outputs/shards, the shards at shards.address if it is set, reports/data.html"
OUT = Path("outputs/shards")


def ingest(
    source: SourceConfig, clips: ClipsConfig, shards: ShardsConfig, out: Path, *, jobs: int = 2, run: Run | None = None
) -> str:
    """Make the shards of a source (see ``make_shards``), by default ``jobs`` tasks at once in threads of this process."""
    videos = [_anywhere(video) for video in open_source(source)]
    usable = sum(not video.rejected for video in videos)
    request = IngestRequest(source=asdict(source), clips=clips, shards=shards, out=out.absolute())

    def run_in_threads(tasks: Sequence[IngestTask]) -> Results:
        return ray_tasks.run_in_threads(ingest_tasks.task_runner, tasks, threads=jobs)

    return make_shards(videos, request, lambda tasks: _displayed(run or run_in_threads, tasks, usable))


def _anywhere(video: RawVideo) -> RawVideo:
    """The video with an absolute path, since tasks on a cluster run in other folders."""
    return video if file_io.is_remote(video.path) else replace(video, path=Path(video.path).absolute())


def _displayed(run: Run, tasks: Sequence[IngestTask], videos: int) -> Results:
    """Run the tasks and show how many of all videos are done."""
    display = ProgressDisplay("ingest", videos)
    if known := videos - sum(len(task.videos) for task in tasks):
        display.skip(known)
        display.message(f"resuming after {known} videos of an earlier start")
    frames = rejected = 0
    with closing(display):
        for ended in run(tasks):
            records = ended[1].records if ended else ()
            frames += sum(record["frames"] for record in records)
            rejected += sum(bool(record["rejected"]) for record in records)
            details = f"{frames / display.seconds:.0f} frames/s, {rejected} rejected" if ended else ""
            display.advance(len(records), details)
            yield ended


def main(argv: Sequence[str] = ()) -> None:
    """Make the shards on Ray and write the data page."""
    stage_parser("ingest", __doc__, reads=READS, writes=WRITES).parse_args(argv)
    from pipelines.cluster import preflight, ray_cluster
    from pipelines.params import load
    from pipelines.report import data_page
    from pipelines.training_run import run_fingerprint

    params = load()
    atomic.check_writable(OUT)
    atomic.check_files_writable(data_page.PAGE)
    began = time.monotonic()

    def on_ray(tasks: Sequence[IngestTask]) -> Results:
        if tasks:
            with ray_cluster.connect(params.cluster):
                first = str(tasks[0].videos[0].path)
                preflight.check_nodes(
                    {f"the video {first}": first}, tasks[0].request.address, run_fingerprint.code_digest()
                )
                yield from ray_tasks.run(ingest_tasks.run_ingest_task, tasks)

    line = ingest(params.source, params.clips, params.shards, OUT, run=on_ray)
    page = data_page.write(OUT)
    print(f"{line}; {time.monotonic() - began:.1f} s; see {page}", flush=True)
    if note := class_coverage.note(class_coverage.recorded(OUT)):
        print(f"ingest: {note}", flush=True)


if __name__ == "__main__":
    from pipelines.exit_status import run_stage

    run_stage(main, sys.argv[1:])
