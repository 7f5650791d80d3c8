"""A training of seconds for tests: its params.yaml and shards, what a worker reports of it, and what it leaves."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from ruamel.yaml import YAML

from digan.training.running_metrics import TrainingProgress
from pipelines.dataset.shard_index import Shard, ShardIndex, digest_of, index_to_json
from pipelines.params import Params, load
from tests.conftest import ROOT

FRAMES, RESOLUTION, CLIPS, BATCH = 4, 32, 240, 4


def write_params(folder: Path, **training: int) -> Params:
    """A params.yaml for a run of seconds, its store in ``folder``; ``training`` has other values for that section."""
    yaml = YAML()
    values = yaml.load((ROOT / "params.yaml").read_text())
    values["clips"].update(resolution=RESOLUTION, frames=FRAMES)
    values["model"].update(channel_max=4)
    values["training"].update(
        clips=CLIPS,
        batch_size=BATCH,
        micro_batch=BATCH // 2,
        r1_interval=4,
        checkpoint_interval=40,
        sample_interval=120,
        horizontal_flip=True,
    )
    values["training"].update(training)
    values["cluster"].update(workers=2, cpus_per_worker=1)
    values["evaluation"].update(detector="transnetv2")
    values["tracking"].update(uri=f"sqlite:///{folder / 'mlflow.db'}")
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(values, file)
    return load(folder / "params.yaml")


def write_shards(folder: Path, *, shards: int = 4, videos: int = 3, classes: tuple[str, ...] = ()) -> None:
    """Moving squares, straight into tars and an index; a video's class goes by its number."""
    rng = np.random.default_rng(0)
    listed = []
    (folder / "train").mkdir(parents=True)
    for number in range(shards):
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode="w") as tar:
            for video in range(videos):
                color, name = rng.integers(0, 256, 3), f"v{number}{video}"
                members: dict[str, bytes] = {}
                for t in range(FRAMES + 2):
                    frame = np.full((RESOLUTION, RESOLUTION, 3), 200, np.uint8)
                    frame[8:16, 2 * t + 4 : 2 * t + 12] = color
                    png = io.BytesIO()
                    Image.fromarray(frame).save(png, "png")
                    members[f"{t:04d}.png"] = png.getvalue()
                label = video % len(classes) if classes else None
                meta = {
                    "name": name,
                    "category": None if label is None else classes[label],
                    "label": label,
                    "fps": 8.0,
                    "frame_numbers": list(range(FRAMES + 2)),
                }
                members["json"] = json.dumps(meta).encode()
                for suffix, data in members.items():
                    info = tarfile.TarInfo(f"{name}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
        path = f"train/{number:06d}.tar"
        (folder / path).write_bytes(memory.getvalue())
        listed.append(
            Shard(
                path=path,
                bytes=len(memory.getvalue()),
                sha256=hashlib.sha256(memory.getvalue()).hexdigest(),
                videos=videos,
                windows=(3,) * videos,
            )
        )
    splits = {"train": tuple(listed)}
    index = ShardIndex(
        address=str(folder),
        resolution=RESOLUTION,
        frames=FRAMES,
        frame_stride=1,
        encoding="png",
        classes=classes,
        splits=splits,
        source={},
        software={},
        counts={},
        statistics={},
        digest=digest_of(splits),
    )
    (folder / "index.json").write_text(index_to_json(index))


def weights(output: Path) -> dict[str, torch.Tensor]:
    return torch.load(output / "generator/weights.pt", weights_only=True)


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def log_of(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def report(clips: int) -> TrainingProgress:
    return TrainingProgress(
        clips_seen=clips,
        clips_total=100,
        clips_per_second=10.0,
        seconds_left=9.0,
        waiting=0.0,
        metrics={"loss/generator": 0.5},
    )
