"""Protocols choose the clips that they say, out of real shards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from digan.errors import UserError
from digan.metrics.networks import i3d
from digan.types import Clip
from pipelines.evaluation.protocols import PROTOCOLS
from tests.conftest import evaluation_config


def test_names_and_counts() -> None:
    assert {"digan", "digan-128", "stylegan-v", "stylegan-v-128", "tats", "quick", "digan-test"} <= set(PROTOCOLS)
    paper = PROTOCOLS["digan"]
    assert (paper.videos, paper.draws, paper.frames, paper.reference, paper.resize) == (2048, 10, 16, "train", "crop")
    config = evaluation_config(protocol="digan", videos=0, draws=0)
    assert config.measured_by() == paper
    other = evaluation_config(protocol="digan", videos=100, draws=2).measured_by()
    assert other.text(16) != paper.text(16) and other.text(16).startswith("digan: 100 videos of 16 frames, 2 draws")
    texts = [protocol.text(16) for protocol in PROTOCOLS.values()]
    assert len(set(texts)) == len(texts)


def test_frames() -> None:
    clip = Clip(
        frames=torch.arange(20, dtype=torch.uint8).reshape(20, 1, 1, 1).repeat(1, 3, 4, 4), label=None, name="v@0"
    )
    assert PROTOCOLS["digan"].cut(clip).frames[:, 0, 0, 0].tolist() == list(range(16))
    assert PROTOCOLS["quick"].cut(clip) is clip
    with pytest.raises(UserError, match=r"measures 128 frames, the clips have 20; set clips\.frames=128"):
        PROTOCOLS["digan-128"].cut(clip)


def test_squash_shows_all_of_a_wide_picture() -> None:
    videos = torch.zeros(1, 1, 3, 20, 60, dtype=torch.uint8)
    videos[..., :10] = 255  # cut away by the centre crop
    assert i3d.preprocess(videos, 32).max() == -1
    squashed = i3d.preprocess(videos, 32, squash=True)
    assert squashed.shape == (1, 3, 1, 32, 32) and squashed[..., 0].min() == 1
    assert i3d.preprocessing(squash=True) != i3d.preprocessing(squash=False)


def test_one_clip_a_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from pipelines.dataset import loader
    from pipelines.evaluation import reference_features

    by_video = {f"v{i}": [(f"v{i}", start) for start in range(1 + 50 * (i == 0))] for i in range(12)}
    index = SimpleNamespace(frames=16, splits={"train": (SimpleNamespace(clips=62, videos=12),)})
    monkeypatch.setattr(loader, "read_index", lambda folder: index)
    monkeypatch.setattr(loader, "windows_by_video", lambda index, split: by_video)
    frames = torch.zeros(16, 3, 4, 4, dtype=torch.uint8)

    def clips_at(index: object, windows: list[tuple[str, int]]) -> list[Clip]:
        return [Clip(frames=frames, label=None, name=f"{name}@{start}") for name, start in windows]

    monkeypatch.setattr(loader, "clips_at", clips_at)
    config = evaluation_config(protocol="stylegan-v", videos=4, curve_videos=4)
    protocol = config.measured_by()
    part, real_vs_real = reference_features.parts_of(index, config).values()
    assert (part.start, part.count, real_vs_real.start, real_vs_real.count) == (0, 4, 4, 4)
    blocks = [range(3), range(3, 4)]
    names = [clip.name for clip in reference_features.clips(tmp_path, protocol, part, 0, blocks)]
    others = [clip.name for clip in reference_features.clips(tmp_path, protocol, real_vs_real, 0, blocks)]
    videos = {name.split("@")[0] for name in names + others}
    assert len(names) == 4 and len(videos) == 8  # no video twice, however many clips it has
    assert names == [clip.name for clip in reference_features.clips(tmp_path, protocol, part, 0, blocks)]
    many = reference_features.parts_of(index, replace(config, videos=2048))
    assert many["reference"].count == many["real_vs_real"].count == 6  # half of all videos
    with pytest.raises(UserError, match="takes its reals from what was held out, and nothing was"):
        reference_features.parts_of(index, evaluation_config(protocol="digan-test", videos=8))
