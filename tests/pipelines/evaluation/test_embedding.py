"""Features in chunks: resumed, cached, shared between counts, and the same on Ray."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from digan.errors import UserError
from pipelines.detectors import Detector
from pipelines.evaluation import embedding
from pipelines.evaluation.embedding import EmbeddingTask, LocalExecutor, RealBlock, Span
from pipelines.evaluation.feature_cache import CHUNK, FeatureBlock, FeatureCache

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
    """Invented clips; counts those that were asked for, and dies after ``fuse`` chunks."""

    def __init__(self, fuse: int = 10**9) -> None:
        self.made = 0
        self.fuse = fuse

    def works(self, spans: list[Span]) -> Iterator[EmbeddingTask]:
        for number, start, count in spans:
            if number == self.fuse:
                raise KeyboardInterrupt
            self.made += count
            videos = torch.stack([torch.full((2, 3, 4, 4), (start + i) % 251, dtype=torch.uint8) for i in range(count)])
            names = tuple(f"v{start + i}@0" for i in range(count))
            yield EmbeddingTask(number=number, make=RealBlock(videos=videos, names=names, batch_size=10))


def run(source: Source, videos: int, folder: Path | str, runner: embedding.Executor | None = None) -> FeatureBlock:
    cache = FeatureCache(str(folder))
    return embedding.embed(KEY, videos, source.works, cache=cache, runner=runner or LocalExecutor(), detector=DETECTOR)


def test_a_second_pass_costs_nothing(tmp_path: Path) -> None:
    first, second = Source(), Source()
    made = run(first, 3 * CHUNK - 5, tmp_path).features
    assert first.made == 3 * CHUNK - 5 and made.shape == (3 * CHUNK - 5, 3)
    np.testing.assert_array_equal(made[:, 0], np.arange(3 * CHUNK - 5) % 251)
    chunks = run(second, 3 * CHUNK - 5, tmp_path)
    assert second.made == 0
    np.testing.assert_array_equal(chunks.features, made)
    assert chunks.names[CHUNK] == f"v{CHUNK}@0"


def test_fewer_and_more_clips_share_chunks(tmp_path: Path) -> None:
    run(Source(), 2 * CHUNK, tmp_path)
    fewer, more = Source(), Source()
    assert len(run(fewer, CHUNK + 7, tmp_path).features) == CHUNK + 7
    run(more, 3 * CHUNK, tmp_path)
    assert (fewer.made, more.made) == (0, CHUNK)


def test_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(Source(fuse=2), 4 * CHUNK, tmp_path)
    rest = Source()
    found = run(rest, 4 * CHUNK, tmp_path).features
    assert rest.made == 2 * CHUNK
    np.testing.assert_array_equal(found, run(Source(), 4 * CHUNK, tmp_path / "other").features)


@pytest.mark.parametrize("damage", [b"", b"half", None])
def test_damaged_chunks_are_made_again(tmp_path: Path, damage: bytes | None) -> None:
    whole = run(Source(), 2 * CHUNK, tmp_path).features
    path = next(iter(tmp_path.rglob("000001.npz")))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data) if damage is None else damage)
    again = Source()
    np.testing.assert_array_equal(run(again, 2 * CHUNK, tmp_path).features, whole)
    assert again.made == CHUNK


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    broken = Detector(
        network="nans",
        metric_name="x",
        digest="d",
        weights_sha256="",
        min_frames=1,
        embed=lambda videos: torch.full((len(videos), 3), float("nan")),
    )
    with pytest.raises(UserError, match="nans: features of 10 of 10 clips are not finite"):
        embedding.embed(
            KEY, 20, Source().works, cache=FeatureCache(str(tmp_path)), runner=LocalExecutor(), detector=broken
        )
    assert not list(tmp_path.rglob("*.npz"))


def test_on_s3(s3_bucket: str) -> None:
    address = f"{s3_bucket}/features"
    first = run(Source(), CHUNK + 3, address).features
    again = Source()
    np.testing.assert_array_equal(run(again, CHUNK + 3, address).features, first)
    assert again.made == 0


@pytest.mark.slow
def test_on_ray(tmp_path: Path, tiny_generator: Path) -> None:
    """Ray's workers make the features that this process makes, of real and of generated clips, and pass mistakes on."""
    from pipelines.cluster.ray_cluster import ClusterConfig
    from pipelines.evaluation.snapshot_curve import Embedder, Snapshot
    from tests.conftest import evaluation_config

    cluster = ClusterConfig(**{**cluster_values(), "address": "", "workers": 2})
    config = evaluation_config(runs_on="ray", batch_size=16)
    snapshot = Snapshot(folder=tiny_generator, clips_seen=0, digest=embedding.generator_digest(tiny_generator))
    here = run(Source(), 3 * CHUNK, tmp_path / "here").features
    with embedding.open_executor(config, cluster) as runner:
        assert isinstance(runner, embedding.RayExecutor)
        found = run(Source(), 3 * CHUNK, tmp_path / "ray", runner).features
        np.testing.assert_array_equal(found, here)
        made = []
        for name, one in (("there", runner), ("here", LocalExecutor())):
            maker = Embedder(
                config=config, frames=4, available=4, cache=FeatureCache(str(tmp_path / f"fake-{name}")), runner=one
            )
            made.append(maker.features(snapshot, DETECTOR, draw=1, videos=CHUNK + 9, progress=None))
        np.testing.assert_allclose(made[0], made[1], atol=1.0)  # grey levels; pixels round by the number of threads
        short = Detector(**{**vars(DETECTOR), "min_frames": 99})
        with pytest.raises(UserError, match=r"clips\.frames=2: means needs 99 or more"):
            embedding.embed(
                {"kind": "other"}, 5, Source().works, cache=FeatureCache(str(tmp_path)), runner=runner, detector=short
            )


def cluster_values() -> dict[str, object]:
    """The section ``cluster`` of params.yaml."""
    from ruamel.yaml import YAML

    from tests.conftest import ROOT

    values: dict[str, object] = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")["cluster"]
    return values
