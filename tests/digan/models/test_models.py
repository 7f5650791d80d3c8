"""Sizes, the abilities that the structure gives, and the plain synthesis as an independent check."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch

from digan.errors import UserError
from digan.models import generator as generator_module
from digan.models.config import NetworkConfig
from digan.models.discriminator import PairDiscriminator, minibatch_deviation, split_pair
from digan.models.generator import VideoGenerator
from digan.ops.resample import blur
from digan.sampling import draw_latents, render, sample, to_bytes
from digan.seeding import generator_for
from digan.times import frame_times
from tests.digan.models.plain_synthesis import plain_synthesis


def make(resolution: int, channel_max: int = 6, classes: int = 0, drift: int = 0) -> VideoGenerator:
    config = NetworkConfig(
        resolution=resolution,
        channel_base=32768,
        channel_max=channel_max,
        mapping_layers=2,
        modulation_rank=3,
        classes=classes,
        drift=drift,
    )
    return VideoGenerator(config).reset(generator=generator_for(0, "test")).eval().requires_grad_(False)


@pytest.mark.parametrize(("resolution", "drift"), [(32, 0), (64, 0), (128, 0), (256, 0), (32, 1), (128, 3)])
def test_agrees_with_the_plain_synthesis_at_any_resolution(resolution: int, drift: int) -> None:
    generator = make(resolution, drift=drift)
    for name, value in generator.named_parameters():
        if name.endswith(".share"):  # any values, not the initial ones
            value.copy_(torch.rand(value.shape, generator=generator_for(6)))
    latents = draw_latents([1, 2])
    times = torch.tensor([[-0.7, 0.0, 1.4], [0.2, 0.5, 1.0]])
    # a different w for every layer, so that each w's place is held too
    ws = torch.randn(2, generator.synthesis.w_count, 512, generator=generator_for(5))
    ours = generator.synthesis.synthesize(generator.synthesis.prepare(ws, latents.motion), times)
    plain = plain_synthesis(generator.state_dict(), ws, latents.motion, times, resolution=resolution, rank=3)
    assert torch.allclose(ours, plain, atol=1e-4 * plain.abs().max().item())


def test_drift_moves_the_whole_picture_if_nothing_else_moves() -> None:
    """With one velocity and without the motion network, the frame at t is the first one, moved by t times the velocity."""
    generator = make(32, drift=1)
    features = generator.synthesis.blocks["4"].features
    features.motion.weight.zero_()
    latents = draw_latents([1])
    velocity = generator.synthesis.velocities(latents.motion)[0, 0]
    t = 2 / 32 / velocity[0].item()  # a column: the picture is 2 wide
    features.content.weight[1:256:2] = 0  # no frequency in the direction v, so that only columns move
    features.content.bias[1:256:2] = 0
    first, moved = render(generator, latents, torch.tensor([0.0, t]))[0].int()
    assert (moved[..., 1:] - first[..., :-1]).abs().max() <= 1
    assert (moved - first).abs().max() > 20


def test_drift_of_opposite_motion_codes_is_opposite_and_a_share_of_zero_stands_still() -> None:
    generator = make(64, drift=2)
    latents = draw_latents([1, 2])
    velocities = generator.synthesis.velocities
    assert torch.equal(velocities(-latents.motion), -velocities(latents.motion))
    plain = make(64)
    plain.load_state_dict(generator.state_dict(), strict=False)
    for block in generator.synthesis.blocks.values():
        if block.features is not None:
            block.features.share.zero_()
    times = torch.tensor([-1.0, 0.0, 0.3, 2.0])
    assert torch.equal(render(generator, latents, times), render(plain, latents, times))


def test_published_size() -> None:
    config = NetworkConfig(
        resolution=128, channel_base=32768, channel_max=512, mapping_layers=2, modulation_rank=10, classes=0
    )
    with torch.device("meta"):
        generator = VideoGenerator(config)
    assert round(sum(p.numel() for p in generator.parameters()) / 1e6, 1) == 63.5


def test_frames_depend_only_on_their_own_time() -> None:
    """Any order, any subset, any tiling: a frame depends on its own time alone, up to rounding in the last bit of a sum."""
    generator = make(64, drift=1)
    latents = draw_latents([3])
    times = torch.linspace(-1, 2, 7)
    video = render(generator, latents, times)
    for other, same in (
        (render(generator, latents, times.flip(0)).flip(1), video),
        (render(generator, latents, times[2:5]), video[:, 2:5]),
    ):
        off = (other.int() - same.int()).abs()
        assert off.max() <= 1 and (off > 0).float().mean() < 1e-3


def test_tiling_does_not_change_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = make(64, drift=1)
    latents = draw_latents([3, 4])
    whole = render(generator, latents, frame_times(5))
    monkeypatch.setattr(generator_module, "TILE", 1)
    assert (render(generator, latents, frame_times(5)).int() - whole.int()).abs().max() <= 1


def test_a_finer_grid_passes_through_the_same_points() -> None:
    generator = make(32, drift=1)
    latents = draw_latents([5])
    times = frame_times(2)
    coarse, fine = render(generator, latents, times), render(generator, latents, times, grid_factor=2)
    assert fine.shape[-2:] == (64, 64)
    # u = 2j/n - 1 across: every second column is shared; rows run the other way, so every second from the bottom
    assert (fine[..., 1::2, ::2].int() - coarse.int()).abs().max() <= 1


def test_samples_of_a_seed_do_not_depend_on_other_seeds() -> None:
    generator = make(32)
    three = sample(generator, seeds=[7, 8, 9], times=frame_times(4))
    assert torch.equal(sample(generator, seeds=[7, 8, 9], times=frame_times(4)), three)
    alone = sample(generator, seeds=[8], times=frame_times(4))[0]
    assert (alone.int() - three[1].int()).abs().max() <= 1  # another batch sums in another order: one level at most
    assert not torch.equal(three[0], three[1])


def test_motion_code_has_no_effect_at_time_zero() -> None:
    generator = make(32, drift=1)
    moved = render(generator, draw_latents([1, 1], motion_seeds=[1, 2]), torch.tensor([0.0, 1.0]))
    # at t = 0 the motion code has no say (h = m t): equal first frames, different later ones
    assert torch.equal(moved[0, 0], moved[1, 0]) and not torch.equal(moved[0, 1], moved[1, 1])


def test_classes_change_the_video() -> None:
    generator = make(32, classes=3)
    a, b = (sample(generator, seeds=[1], times=frame_times(2), labels=[label]) for label in (0, 2))
    assert not torch.equal(a, b)


def test_to_bytes_floors() -> None:
    x = torch.tensor([-2.0, -1.0, -0.999, 0.0, 0.5, 1.0, 3.0])
    assert to_bytes(x).tolist() == [0, 0, 0, 127, 191, 255, 255]


def test_blur_is_the_outer_product() -> None:
    x = torch.zeros(1, 2, 9, 9)
    x[0, 1, 4, 4] = 64.0
    y = blur(x, padding=2)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    assert torch.allclose(y[0, 1, 3:7, 3:7], torch.outer(taps, taps)) and y[0, 0].abs().max() == 0
    assert torch.equal(blur(x, padding=1, stride=2), blur(x, padding=1)[..., ::2, ::2])


def test_minibatch_deviation_groups() -> None:
    x = torch.randn(8, 3, 4, 4, generator=generator_for(9))
    y = minibatch_deviation(x)
    for first in range(2):
        group = x[[first, first + 2, first + 4, first + 6]].double()
        expected = (group.var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        assert torch.allclose(y[first::2].double(), expected.expand(4, 1, 4, 4), atol=1e-6)


def test_split_pair_gives_images_and_motions() -> None:
    config = make(32).config
    discriminator = PairDiscriminator(config).reset(generator=generator_for(1))
    frames = torch.rand(4, 2, 3, 32, 32)
    images, motions = split_pair(frames, torch.full((4,), 0.25))
    assert torch.equal(images[5], frames[2, 1]) and torch.equal(motions[2, 3:6], frames[2, 1])
    assert (motions[:, 6] == 0.25).all()
    scores = discriminator(images, motions)
    assert scores.image.shape == (8, 1) and scores.motion.shape == (4, 1)


@pytest.mark.parametrize(
    ("key", "value"), [("resolution", 48), ("resolution", 16), ("channel_max", 0), ("drift", -1), ("drift", 17)]
)
def test_invalid_network_sizes_are_errors(key: str, value: int) -> None:
    sizes = asdict(make(64).config)
    with pytest.raises(UserError, match=f"{key}={value}"):
        NetworkConfig(**(sizes | {key: value}))


@pytest.mark.parametrize("classes", [0, 3])
def test_stacked_batches_keep_separate_statistics(classes: int) -> None:
    discriminator = PairDiscriminator(make(32, classes=classes).config).reset(generator=generator_for(2))
    labels = torch.tensor([0, 2, 1, 1]) if classes else None
    frames = torch.rand(8, 2, 3, 32, 32, generator=generator_for(3))
    images, motions = split_pair(frames, torch.rand(8, generator=generator_for(4)))
    both = discriminator(images, motions, None if labels is None else labels.repeat(2), batches=2)
    first, second = discriminator(images[:8], motions[:4], labels), discriminator(images[8:], motions[4:], labels)
    assert torch.allclose(both.image, torch.cat([first.image, second.image]), atol=1e-5)
    assert torch.allclose(both.motion, torch.cat([first.motion, second.motion]), atol=1e-5)
