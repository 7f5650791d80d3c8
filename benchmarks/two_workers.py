"""Claim: two workers with one core each train at least 1.8 times as many clips a second as one worker with one core.

Run: python -m benchmarks.two_workers [--resolution 64] [--channels 64] [--precision fp32] [--updates 24] [--runs 2].
Equal work: batch 16 in two micro-batches of 8, the same data and draws; figures from each run's own log.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from benchmarks.line import seconds_a_clip, stage, write_params

BATCH, SKIPPED = 16, 4


def main() -> None:
    """Prints a line a pair, and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--updates", type=int, default=24)
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    clips = options.updates * BATCH
    ratios = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        changes = {
            "source.toy_videos": 24,
            "clips.resolution": options.resolution,
            "model.channel_max": options.channels,
            "training.clips": clips,
            "training.batch_size": BATCH,
            "training.micro_batch": BATCH // 2,
            "training.precision": options.precision,
            "training.checkpoint_interval": clips,
            "training.sample_interval": clips,
            "training.snapshot_interval": clips,
        }
        write_params(folder, changes)
        stage("ingest", folder)
        for run in range(options.runs):
            rates = {}
            for workers in (1, 2):
                write_params(folder, changes | {"cluster.workers": workers})
                stage("train", folder)
                rates[workers] = 1 / seconds_a_clip(folder, (SKIPPED * BATCH, clips - BATCH))
                (folder / "outputs/train").rename(folder / f"outputs/train{run}{workers}")
            ratios.append(rates[2] / rates[1])
            print(f"one worker {rates[1]:.2f} clips/s, two {rates[2]:.2f} clips/s, ratio {ratios[-1]:.2f}", flush=True)
    print(
        f"{options.resolution}x{options.resolution}/{options.channels} {options.precision}, batch {BATCH}, one thread a worker, "
        f"{options.updates} updates: median ratio {statistics.median(ratios):.2f}"
    )


if __name__ == "__main__":
    main()
