from __future__ import annotations

import numpy as np
import torch

from digan.data.pairs import PairDraw, draw_pairs, make_pair


def test_frames_times_and_order() -> None:
    frames = np.zeros((2, 2, 4, 4, 3), np.uint8)
    frames[:, 1] = 255
    draw = PairDraw(frame_indices=torch.tensor([[0, 15], [3, 3]]), flips=torch.tensor([False, False]))
    pair = make_pair(frames, draw, 16, [5, 2])
    assert pair.frames.shape == (2, 2, 3, 4, 4)
    assert (pair.frames[:, 0] == -1).all() and (pair.frames[:, 1] == 1).all()
    assert torch.equal(pair.times, torch.tensor([[0.0, 1.0], [0.2, 0.2]]))
    assert pair.labels is not None and pair.labels.tolist() == [5, 2] and pair.labels.dtype == torch.int64


def test_flip_applies_to_both_frames_of_a_clip() -> None:
    frames = np.zeros((2, 2, 4, 4, 3), np.uint8)
    frames[:, :, :, 0] = 255
    draw = PairDraw(frame_indices=torch.tensor([[0, 1], [0, 1]]), flips=torch.tensor([True, False]))
    columns = make_pair(frames, draw, 2, None).frames[:, :, 0, 0].argmax(-1)
    assert columns.tolist() == [[3, 3], [0, 0]]


def test_draws_depend_on_seed_reader_and_clips_seen_alone() -> None:
    where = {"seed": 1, "reader_index": 0, "clips_seen": 640}
    first = draw_pairs(512, 16, **where, horizontal_flip=True)
    assert torch.equal(first.frame_indices, draw_pairs(512, 16, **where, horizontal_flip=False).frame_indices)
    assert not draw_pairs(512, 16, **where, horizontal_flip=False).flips.any()
    assert 0.4 < first.flips.float().mean() < 0.6
    for other in ({"seed": 2}, {"reader_index": 1}, {"clips_seen": 656}):
        assert not torch.equal(
            first.frame_indices, draw_pairs(512, 16, **{**where, **other}, horizontal_flip=True).frame_indices
        )
    assert (first.frame_indices[:, 0] <= first.frame_indices[:, 1]).all()
    assert first.frame_indices.min() == 0 and first.frame_indices.max() == 15
