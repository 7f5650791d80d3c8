"""Time pairs, EMA, training state, generator files and the training loop."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from digan.errors import UserError
from digan.generator_io import load_generator, save_generator
from digan.models.config import NetworkConfig
from digan.seeding import generator_for
from digan.times import draw_time_pairs, frame_indices, frame_times
from digan.training import checkpoint, loop
from digan.training.augment import STEPS, augment
from digan.training.config import TrainingConfig
from digan.training.ema import ema_decay
from digan.training.loop import train_step
from digan.training.state import TrainingState, initial_generator
from digan.types import FramePair

MODEL = NetworkConfig(resolution=32, channel_base=32768, channel_max=4, mapping_layers=2, modulation_rank=2, classes=0)
TRAINING = TrainingConfig(
    seed=3,
    start_from="",
    clips=32,
    batch_size=4,
    micro_batch=4,
    generator_lr=0.004,
    discriminator_lr=0.004,
    r1_gamma=0.5,
    r1_interval=4,
    generator_interval=4,
    augment="color,translation",
    horizontal_flip=False,
    ema_half_life=20000,
    ema_ramp=0.05,
    style_mixing=0.5,
    path_length_weight=0.1,
    mismatch_weight=0.5,
    precision="fp32",
    compile=False,
    deterministic=True,
    on_divergence="stop",
    collapse_loss=0.0,
    collapse_clips=8,
    checkpoint_interval=8,
    checkpoints_kept=2,
    sample_interval=16,
    snapshot_interval=8,
    snapshots_kept=3,
)
CPU = torch.device("cpu")


def batch(k: int, *, classes: int = 0) -> FramePair:
    generator = generator_for(11, "data", k)
    return FramePair(
        frames=torch.rand(4, 2, 3, 32, 32, generator=generator) * 2 - 1,
        times=draw_time_pairs(4, generator=generator),
        labels=torch.arange(4) % classes if classes else None,
    )


def reader(start: int, seed: int) -> Iterator[list[FramePair]]:
    while True:
        yield [batch(start)]
        start += 1


def snapshot_folder(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-snapshots")


def run(
    folder: Path,
    training: TrainingConfig = TRAINING,
    *,
    reader: loop.Reader = reader,
    reports: list[loop.TrainingProgress] | None = None,
    notices: list[str] | None = None,
) -> torch.Tensor:
    generator = loop.train(
        loop.TrainingSpec(training=training, model=MODEL, reader=reader),
        loop.TrainingPlacement(
            rank=0,
            world_size=1,
            device=CPU,
            checkpoints=checkpoint.FolderStore(folder),
            snapshots=checkpoint.FolderStore(snapshot_folder(folder)),
        ),
        loop.TrainingHooks(
            on_progress=lambda progress: reports.append(progress) if reports is not None else None,
            on_samples=lambda clips, videos: None,
            on_notice=lambda text: notices.append(text) if notices is not None else None,
        ),
    )
    return torch.cat([value.flatten() for value in generator.state_dict().values()])


def test_finished_run_reports_progress_when_restarted(tmp_path: Path) -> None:
    run(tmp_path)
    reports: list[loop.TrainingProgress] = []
    run(tmp_path, reports=reports)
    assert [progress.clips_seen for progress in reports] == [TRAINING.clips] and reports[0].seconds_left == 0


def test_time_pairs_follow_their_distribution() -> None:
    pairs = draw_time_pairs(200_000, generator=generator_for(0, "law")).double()
    assert (pairs[:, 0] <= pairs[:, 1]).all() and pairs.min() >= 0 and pairs.max() < 1
    # E a = 2/3, E b = 1/3 for Beta(2, 1), Beta(1, 2); E |a - b| by integrating the densities 2a and 2(1 - b): 2/5
    assert pairs.sum(dim=1).mean().item() == pytest.approx(1.0, abs=0.005)
    assert (pairs[:, 1] - pairs[:, 0]).mean().item() == pytest.approx(0.4, abs=0.005)
    frames = frame_indices(pairs, 16)
    assert frames.min() == 0 and frames.max() == 15
    assert frame_times(5).tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_ema_decay_halves_at_the_half_life() -> None:
    decay = ema_decay(batch=64, clips_seen=10**9, half_life=20_000, ramp=0.05)
    assert decay ** (20_000 / 64) == pytest.approx(0.5)
    small = ema_decay(batch=16, clips_seen=10**9, half_life=20_000, ramp=0.05)
    assert small ** (5_000 / 16) == pytest.approx(0.5)  # batch * 10 / 32 thousand images
    ramped = ema_decay(batch=64, clips_seen=6_400, half_life=20_000, ramp=0.05)
    assert ramped ** (320 / 64) == pytest.approx(0.5)
    assert ema_decay(batch=64, clips_seen=0, half_life=20_000, ramp=0.05) == 0.0


def test_adam_is_corrected_for_lazy_penalties() -> None:
    group = TrainingState(TRAINING, MODEL, CPU).discriminator_optimizer.param_groups[0]
    assert group["lr"] == pytest.approx(0.004 * 4 / 5)
    assert group["betas"] == pytest.approx((0.0, 0.99 ** (4 / 5)))
    assert group["eps"] == 1e-8


def test_mismatched_pairs_count_as_fake_for_the_motion_discriminator() -> None:
    plain = replace(TRAINING, augment="", r1_gamma=0.0, path_length_weight=0.0, mismatch_weight=0.0)
    gradients = []
    for weight in (0.0, 0.7):
        state = TrainingState(replace(plain, mismatch_weight=weight), MODEL, CPU)
        train_step(state, [batch(0)])
        gradients.append(state.discriminator_buffer.gradients.clone())
    state, pair = TrainingState(plain, MODEL, CPU), batch(0)
    dt = (pair.times[:, 1] - pair.times[:, 0])[[3, 0, 1, 2]].view(4, 1, 1, 1).expand(4, 1, 32, 32)
    logits = state.discriminator.motion(torch.cat([pair.frames[:, 0], pair.frames[:, 1], dt], dim=1), None)
    (0.7 * torch.log1p(logits.exp()).mean()).backward()
    expected = state.discriminator_buffer.gradients
    assert expected.norm() > 0
    torch.testing.assert_close(gradients[1] - gradients[0], expected, rtol=1e-4, atol=1e-6)


def test_step_updates_every_network_and_inference_updates_none() -> None:
    state = TrainingState(TRAINING, MODEL, CPU)
    before = {name: value.clone() for name, value in state.generator.state_dict().items()}
    metrics = train_step(state, [batch(0)]).values
    assert {"loss/generator", "loss/discriminator", "loss/r1", "loss/path_length"} <= set(metrics)
    assert all(math.isfinite(float(value)) for value in metrics.values())
    after = state.generator.state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    state.generator_ema.eval()
    held = state.generator_ema_buffer.values.clone()
    state.generator_ema(torch.randn(2, 512), torch.randn(2, 512), torch.rand(2, 3))
    assert torch.equal(held, state.generator_ema_buffer.values)


def test_flat_adam_equals_adam_per_parameter() -> None:
    """The flat buffers are a layout, not another optimizer: a plain Adam over separate tensors ends at the same weights."""
    state = TrainingState(replace(TRAINING, path_length_weight=0.0), MODEL, CPU)
    plain = [p.detach().clone() for p in state.discriminator.parameters()]
    group = state.discriminator_optimizer.param_groups[0]
    optimizer = torch.optim.Adam(plain, lr=group["lr"], betas=group["betas"], eps=group["eps"])
    step = state.discriminator_optimizer.step

    def both() -> None:
        for parameter, copied in zip(state.discriminator.parameters(), plain, strict=True):
            assert parameter.grad is not None
            copied.grad = parameter.grad.clone()
        optimizer.step()
        step()

    state.discriminator_optimizer.step = both  # type: ignore[method-assign,assignment]
    for k in range(3):
        train_step(state, [batch(k)])
    for parameter, copied in zip(state.discriminator.parameters(), plain, strict=True):
        assert torch.allclose(parameter, copied, atol=1e-5)


def test_bf16_follows_fp32() -> None:
    losses = {}
    for precision in ("fp32", "bf16"):
        state = TrainingState(replace(TRAINING, precision=precision), MODEL, CPU)
        losses[precision] = float(train_step(state, [batch(0)]).values["loss/discriminator"])
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)


def test_class_conditional_step() -> None:
    state = TrainingState(TRAINING, replace(MODEL, classes=3), CPU)
    assert all(math.isfinite(float(v)) for v in train_step(state, [batch(0, classes=3)]).values.values())


def test_augmentation_gives_both_frames_the_same_draw() -> None:
    one = torch.rand(3, 1, 3, 32, 32).repeat(1, 2, 1, 1, 1)
    changed = augment(one, STEPS, generator=generator_for(1))
    assert torch.equal(changed[:, 0], changed[:, 1]) and not torch.equal(changed, one)


@pytest.mark.parametrize("stop", [8, 20, 28])
def test_resumed_run_ends_with_equal_bits(tmp_path: Path, stop: int) -> None:
    unbroken = run(tmp_path / "unbroken")
    run(tmp_path / "broken", replace(TRAINING, clips=stop))
    assert torch.equal(run(tmp_path / "broken"), unbroken)


def test_saved_generator_loads_unchanged(tmp_path: Path) -> None:
    generator = initial_generator(TRAINING, MODEL)
    save_generator(generator, tmp_path / "generator")
    save_generator(generator, tmp_path / "generator")  # replaces the first
    back = load_generator(tmp_path / "generator")
    assert all(torch.equal(value, back.state_dict()[name]) for name, value in generator.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["generator"]


def test_damaged_generator_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no generator there"):
        load_generator(tmp_path)
    save_generator(initial_generator(TRAINING, MODEL), tmp_path / "g")
    (tmp_path / "g" / "weights.pt").write_bytes(b"not a file of tensors")
    with pytest.raises(UserError, match="damaged"):
        load_generator(tmp_path / "g")
    save_generator(initial_generator(TRAINING, MODEL), tmp_path / "g")
    config = json.loads((tmp_path / "g" / "config.json").read_text())
    (tmp_path / "g" / "config.json").write_text(json.dumps(config | {"channel_max": 8}))
    with pytest.raises(UserError, match="damaged"):
        load_generator(tmp_path / "g")


def test_loading_runs_no_pickled_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    save_generator(initial_generator(TRAINING, MODEL), tmp_path / "g")
    torch.save({"weights": Trap()}, tmp_path / "g" / "weights.pt")
    with pytest.raises(UserError):
        load_generator(tmp_path / "g")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("clips", 0),
        ("generator_lr", -1.0),
        ("precision", "fp8"),
        ("augment", "colour"),
        ("on_divergence", "go"),
        ("batch_size", 6),
        ("micro_batch", 0),
    ],
)
def test_invalid_settings_name_their_key(key: str, value: object) -> None:
    with pytest.raises(UserError, match=f"training.{key}"):
        replace(TRAINING, **{key: value})
