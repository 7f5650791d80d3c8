"""The model agrees with the numbers of the published one (tests/fixtures/model_parity.*, made from ../shared/fixtures)."""

from __future__ import annotations

import json
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from digan.models.config import NetworkConfig
from digan.models.discriminator import PairDiscriminator, split_pair
from digan.models.generator import VideoGenerator
from digan.published import our_name
from digan.training import augment
from digan.training.losses import discriminator_loss_real, generator_loss, gradient_penalty

FIXTURES = Path(__file__).parents[1].parent / "fixtures"
CASES = ("plain64", "cond128", "deepmap64")
FORWARD = 1e-4
GRADIENT = 1e-3
PROBE = 3  # the copied videos hold every third pixel


@cache
def configurations() -> dict[str, Any]:
    return json.loads((FIXTURES / "model_parity.json").read_text())


@cache
def outputs() -> dict[str, np.ndarray]:
    with np.load(FIXTURES / "model_parity.npz") as file:
        return dict(file)


def seeded(name: str, shape: list[int], seed: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    stream = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)
    return torch.from_numpy((stream.standard_normal(shape) * scale + shift).astype(np.float32))


def assert_close(ours: torch.Tensor, name: str, tolerance: float = FORWARD) -> None:
    theirs = torch.from_numpy(np.asarray(outputs()[name]))
    assert ours.shape == theirs.shape
    error = (ours.detach().double() - theirs.double()).abs().max() / theirs.double().abs().max()
    assert error < tolerance, f"{name}: {error:.1e}"


class Case:
    def __init__(self, name: str) -> None:
        self.name = name
        self.c = c = configurations()[name]
        config = NetworkConfig(
            resolution=c["resolution"],
            channel_base=c["channel_base"],
            channel_max=c["channel_max"],
            mapping_layers=c["mapping_layers"],
            modulation_rank=10,
            classes=c["c_dim"],
        )
        self.generator, self.discriminator = VideoGenerator(config), PairDiscriminator(config)
        self.both = nn.ModuleDict({"generator": self.generator, "discriminator": self.discriminator})
        shapes = self.both.state_dict()
        weights = {}
        for published, shape, scale, shift in c["parameters"]:
            ours = our_name(published, resolution=c["resolution"])
            weights[ours] = seeded(published, shape, c["seed"], scale, shift).reshape(shapes[ours].shape)
        self.both.load_state_dict(weights)  # strict: the map reaches every parameter, each once
        batch = c["batch"]
        self.z = seeded(f"{name}/z", [batch, 512], c["seed"])
        self.z_motion = seeded(f"{name}/z_motion", [batch, 512], c["seed"])

    def labels(self, count: int) -> torch.Tensor | None:
        return torch.arange(count) % self.c["c_dim"] if self.c["c_dim"] else None

    def check_gradients(self, table: dict[str, list[float]]) -> None:
        parameters = dict(self.both.named_parameters())
        assert table
        for published, (norm, total) in table.items():
            gradient = parameters[our_name(published, resolution=self.c["resolution"])].grad
            assert gradient is not None
            assert gradient.double().norm().item() == pytest.approx(norm, rel=GRADIENT), published
            # a sum over many signs cancels: judged against the norm's share of it
            slack = GRADIENT * norm * gradient.numel() ** 0.5
            assert gradient.double().sum().item() == pytest.approx(total, abs=slack), published


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_mapping_and_truncation(case: Case) -> None:
    w = case.generator.mapping(case.z, case.labels(len(case.z)))
    assert_close(w, f"{case.name}/w")
    assert_close(case.generator.mapping.truncate(w, 0.7), f"{case.name}/w_psi0.7")


def test_video(case: Case) -> None:
    times = torch.tensor(case.c["times"]).expand(len(case.z), -1)
    video = case.generator(case.z, case.z_motion, times, case.labels(len(case.z)))
    assert_close(video[..., ::PROBE, ::PROBE], f"{case.name}/video")
    with torch.no_grad():
        tiled = case.generator(case.z, case.z_motion, times, case.labels(len(case.z)))
    assert torch.allclose(tiled, video, atol=1e-5 * video.abs().max().item())


def test_whole_video_with_shared_fixtures(case: Case) -> None:
    path = Path(__file__).parents[4] / "shared" / "fixtures" / "parity.npz"
    if not path.exists():
        pytest.skip("../shared/fixtures is not there")
    times = torch.tensor(case.c["times"]).expand(len(case.z), -1)
    with torch.no_grad():
        video = case.generator(case.z, case.z_motion, times, case.labels(len(case.z))).numpy()
    theirs = np.load(path)[f"{case.name}/video"]
    assert np.abs(video - theirs).max() / np.abs(theirs).max() < FORWARD


def test_discriminators_and_r1(case: Case) -> None:
    count, size, seed = case.c["pair_batch"], case.c["resolution"], case.c["seed"]
    frames = seeded(f"{case.name}/pair", [count, 6, size, size], seed, 0.5).view(count, 2, 3, size, size)
    dt = seeded(f"{case.name}/dt", [count, 1, 1, 1], seed).abs() % 1
    images, motions = (x.requires_grad_() for x in split_pair(frames, dt.view(count)))
    scores = case.discriminator(images, motions, case.labels(count))
    assert_close(scores.motion, f"{case.name}/motion_logits")
    assert_close(scores.image, f"{case.name}/image_logits")
    of_motion, of_image = gradient_penalty(scores.motion, motions), gradient_penalty(scores.image, images)
    assert_close(of_motion, f"{case.name}/r1_motion", GRADIENT)
    assert_close(of_image, f"{case.name}/r1_image", GRADIENT)
    loss = discriminator_loss_real(scores) + 0.5 * of_motion.mean() + 0.5 * of_image.mean()
    assert_close(loss, f"{case.name}/d_real_r1_loss")
    case.both.zero_grad()
    loss.backward()
    case.check_gradients(case.c["grad_norm_and_sum_d_real_r1"])


def test_generator_loss_and_its_gradients(case: Case) -> None:
    batch = len(case.z)
    times = torch.tensor([[0.2, 0.9]]).expand(batch, -1)
    frames = case.generator(case.z, case.z_motion, times, case.labels(batch))
    scores = case.discriminator(*split_pair(frames, times[:, 1] - times[:, 0]), case.labels(batch))
    loss = generator_loss(scores)
    assert_close(loss, f"{case.name}/g_loss")
    case.both.zero_grad()
    loss.backward()
    case.check_gradients(case.c["grad_norm_and_sum_g"])


@pytest.mark.parametrize("step", ["brightness", "saturation", "contrast", "translation", "cutout"])
def test_augmentation(step: str) -> None:
    function = {
        "brightness": augment.brighten,
        "saturation": augment.saturate,
        "contrast": augment.contrast,
        "translation": augment.translate,
        "cutout": augment.cut_out,
    }[step]
    frames = seeded("aug/pair", [3, 6, 32, 32], 0, 0.5).view(3, 2, 3, 32, 32)
    draws = [torch.tensor(row) for row in configurations()[f"aug/rand_{step}"]["draws"]]
    assert_close(function(frames, *draws).view(3, 6, 32, 32), f"aug/rand_{step}", 1e-6)


def test_unknown_parameter_name_raises() -> None:
    with pytest.raises(KeyError):
        our_name("G.synthesis_other.weight", resolution=64)
