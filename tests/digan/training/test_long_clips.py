"""Clips of 128 frames: a training step holds two frames of each, and sampling paints a few at a time with the same result."""

from __future__ import annotations

import pytest
import torch

from digan import sampling
from digan.data.pairs import draw_pairs
from digan.generator_io import load_generator
from digan.times import frame_times


def test_sampling_128_frames_synthesizes_a_few_at_a_time(
    tiny_generator: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load_generator(tiny_generator)  # type: ignore[arg-type]
    painted: list[int] = []
    synthesize = generator.synthesis.synthesize

    def counting(prepared: object, times: torch.Tensor, **options: object) -> torch.Tensor:
        painted.append(times.shape[1])
        return synthesize(prepared, times, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(generator.synthesis, "synthesize", counting)
    long = sampling.sample(generator, seeds=[3], times=frame_times(128))
    assert sum(painted) == 128 and max(painted) == sampling.FRAMES_AT_ONCE
    monkeypatch.setattr(sampling, "FRAMES_AT_ONCE", 128)
    whole = sampling.sample(generator, seeds=[3], times=frame_times(128))
    assert (long.int() - whole.int()).abs().max() <= 1  # a rounding of the last bit at most
    assert (long != whole).float().mean() < 1e-3


@pytest.mark.parametrize("frames", [16, 128])
def test_pair_has_two_frames_for_any_clip_length(frames: int) -> None:
    draw = draw_pairs(64, frames, seed=0, reader_index=0, clips_seen=0, horizontal_flip=False)
    assert draw.frame_indices.shape == (64, 2) and int(draw.frame_indices.max()) < frames
    assert int(draw.frame_indices.max()) > frames // 2
