"""Features in blocks: resumed, cached, shared between counts, and the same on Ray."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from digan.errors import UserError
from digan.types import Clip
from pipelines.detectors import Detector
from pipelines.evaluation import embedding
from pipelines.evaluation.embedding import Embedder, LocalExecutor, Snapshot
from pipelines.evaluation.feature_cache import BLOCK, FeatureBlock
from tests.conftest import evaluation_config

KEY = {"kind": "test"}


DETECTOR = Detector(
    network="means",
    metric_name="frechet_means",
    digest="d",
    weights_sha256="",
    min_frames=1,
    embed=lambda videos: videos.float().mean(dim=(1, 3, 4)),  # a value that Ray's workers can take without this file
)


class Source:
    """Invented clips; counts those that were asked for, and is interrupted at block ``fuse``."""

    def __init__(self, fuse: int = 10**9) -> None:
        self.made = 0
        self.fuse = fuse

    def read(self, blocks: list[range]) -> Iterator[Clip]:
        for position in (position for block in blocks for position in block):
            if position == self.fuse * BLOCK:
                raise KeyboardInterrupt
            self.made += 1
            frames = torch.full((2, 3, 4, 4), position % 251, dtype=torch.uint8)
            yield Clip(frames=frames, label=None, name=f"v{position}@0")


def embedder(folder: Path | str, executor: embedding.Executor | None = None) -> Embedder:
    return Embedder(config=evaluation_config(cache=str(folder), batch_size=10), executor=executor or LocalExecutor())


def run(source: Source, count: int, folder: Path | str, executor: embedding.Executor | None = None) -> FeatureBlock:
    return embedder(folder, executor).clips(KEY, count, source.read, DETECTOR)


def test_second_pass_reads_the_cache(tmp_path: Path) -> None:
    first, second = Source(), Source()
    made = run(first, 3 * BLOCK - 5, tmp_path).features
    assert first.made == 3 * BLOCK - 5 and made.shape == (3 * BLOCK - 5, 3)
    np.testing.assert_array_equal(made[:, 0], np.arange(3 * BLOCK - 5) % 251)
    blocks = run(second, 3 * BLOCK - 5, tmp_path)
    assert second.made == 0
    np.testing.assert_array_equal(blocks.features, made)
    assert blocks.names[BLOCK] == f"v{BLOCK}@0"


def test_fewer_and_more_clips_share_blocks(tmp_path: Path) -> None:
    run(Source(), 2 * BLOCK, tmp_path)
    fewer, more = Source(), Source()
    assert len(run(fewer, BLOCK + 7, tmp_path).features) == BLOCK + 7
    run(more, 3 * BLOCK, tmp_path)
    assert (fewer.made, more.made) == (0, BLOCK)


def test_resumes_after_an_interruption(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Source(fuse=2), 4 * BLOCK, tmp_path)
    rest = Source()
    found = run(rest, 4 * BLOCK, tmp_path).features
    assert rest.made == 2 * BLOCK
    np.testing.assert_array_equal(found, run(Source(), 4 * BLOCK, tmp_path / "other").features)


@pytest.mark.parametrize("damage", [b"", b"half", None])
def test_damaged_blocks_are_made_again(tmp_path: Path, damage: bytes | None) -> None:
    whole = run(Source(), 2 * BLOCK, tmp_path).features
    path = next(iter(tmp_path.rglob("000001.npz")))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data) if damage is None else damage)
    again = Source()
    np.testing.assert_array_equal(run(again, 2 * BLOCK, tmp_path).features, whole)
    assert again.made == BLOCK


def test_features_that_are_not_finite_are_rejected(tmp_path: Path) -> None:
    broken = Detector(
        network="nans",
        metric_name="x",
        digest="d",
        weights_sha256="",
        min_frames=1,
        embed=lambda videos: torch.full((len(videos), 3), float("nan")),
    )
    with pytest.raises(UserError, match="nans: features of 10 of 10 clips are not finite"):
        embedder(tmp_path).clips(KEY, 20, Source().read, broken)
    assert not list(tmp_path.rglob("*.npz"))


def test_on_s3(s3_bucket: str) -> None:
    address = f"{s3_bucket}/features"
    first = run(Source(), BLOCK + 3, address).features
    again = Source()
    np.testing.assert_array_equal(run(again, BLOCK + 3, address).features, first)
    assert again.made == 0


@pytest.mark.slow
def test_on_ray(tmp_path: Path, tiny_generator: Path) -> None:
    """Ray's workers make the features that this process makes, of real and of generated clips, and pass errors on."""
    from pipelines.cluster.ray_cluster import ClusterConfig

    cluster = ClusterConfig(**{**cluster_values(), "address": "", "workers": 2})
    config = evaluation_config(runs_on="ray", batch_size=16)
    snapshot = Snapshot.of(tiny_generator)
    here = run(Source(), 3 * BLOCK, tmp_path / "here").features
    with embedding.open_executor(config, cluster) as executor:
        assert isinstance(executor, embedding.RayExecutor)
        found = run(Source(), 3 * BLOCK, tmp_path / "ray", executor).features
        np.testing.assert_array_equal(found, here)
        made = []
        for name, one in (("there", executor), ("here", LocalExecutor())):
            maker = Embedder(config=replace(config, cache=str(tmp_path / f"fake-{name}")), executor=one)
            made.append(maker.generated(snapshot, DETECTOR, draw=1, videos=BLOCK + 9, available=4).features)
        np.testing.assert_allclose(made[0], made[1], atol=1.0)  # gray levels; pixels round by the number of threads
        short = Detector(**{**vars(DETECTOR), "min_frames": 99})
        with pytest.raises(UserError, match=r"clips\.frames=2: means needs 99 or more"):
            embedder(tmp_path, executor).clips({"kind": "other"}, 5, Source().read, short)


def cluster_values() -> dict[str, object]:
    """The section ``cluster`` of params.yaml."""
    from ruamel.yaml import YAML

    from tests.conftest import ROOT

    values: dict[str, object] = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["cluster"]
    return values
