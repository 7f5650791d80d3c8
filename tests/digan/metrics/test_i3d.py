"""I3D agrees with the published network on seeded weights, and its state dict has the published names."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from digan.metrics.networks import i3d

FIXTURE = Path(__file__).parents[2] / "fixtures" / "metrics_parity.npz"


def seeded(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)


@pytest.fixture(scope="module")
def parity() -> dict[str, np.ndarray]:
    with np.load(FIXTURE) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def network(parity: dict[str, np.ndarray]) -> i3d.I3D:
    rows = json.loads(str(parity["rows"]))
    state = {n: torch.from_numpy((seeded("I3D." + n, tuple(s)) * k + m).astype(np.float32)) for n, s, k, m in rows}
    network = i3d.I3D()
    own = {name for name in network.state_dict() if not name.endswith("num_batches_tracked")}
    assert own == set(state)
    network.load_state_dict(state)
    return network.eval()


@pytest.fixture(scope="module")
def prepared() -> torch.Tensor:
    video = np.clip(np.abs(seeded("i3d/video", (2, 16, 72, 96, 3))) * 80, 0, 255).astype(np.uint8)
    return i3d.preprocess(torch.from_numpy(video).permute(0, 1, 4, 2, 3))


def test_preprocessing(prepared: torch.Tensor, parity: dict[str, np.ndarray]) -> None:
    assert prepared.shape == (2, 3, 16, 224, 224)
    np.testing.assert_allclose([prepared.mean(), prepared.std()], parity["i3d/preprocessed_mean_std"], rtol=1e-5)
    np.testing.assert_allclose(prepared[:, :, ::5, ::37, ::41], parity["i3d/preprocessed_probe"], atol=1e-6)


def test_portrait_preprocessing_equals_transposed_landscape() -> None:
    video = torch.randint(0, 256, (1, 2, 3, 40, 56), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    turned = i3d.preprocess(video.transpose(3, 4)).transpose(3, 4)
    torch.testing.assert_close(i3d.preprocess(video), turned)


def test_logits(network: i3d.I3D, prepared: torch.Tensor, parity: dict[str, np.ndarray]) -> None:
    with torch.inference_mode():
        logits = network(prepared).numpy()
        fewer = network(prepared[:1, :, :10]).numpy()
    for ours, published in ((logits, parity["i3d/logits"]), (fewer, parity["i3d/logits_10_frames"])):
        assert ours.shape == published.shape
        assert np.abs(ours - published).max() <= 1e-4 * np.abs(published).max()
    with pytest.raises(AssertionError, match="10 frames"):
        network(prepared[:1, :, :9])


def test_untrained_is_seeded() -> None:
    one, two, other = (i3d.untrained(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["logits.conv3d.weight"], other["logits.conv3d.weight"])
