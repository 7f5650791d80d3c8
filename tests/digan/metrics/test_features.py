"""Merged statistics are those of all features together, in any grouping."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from digan.errors import UserError
from digan.metrics.features import FeatureStatistics, from_features
from digan.metrics.frechet import frechet_distance


@pytest.mark.parametrize(("count", "width"), [(200, 7), (40, 60)])
def test_merge_in_any_grouping(count: int, width: int) -> None:
    random = np.random.default_rng(0)
    features = random.standard_normal((count, width)) @ random.standard_normal((width, width)) + 100
    other = from_features(features[: count // 2] * 1.1)
    whole = from_features(features)
    centred = features - features.mean(0)
    np.testing.assert_allclose(whole.scatter, centred.T @ centred, rtol=1e-9, atol=1e-7)
    for seed in range(4):
        random = np.random.default_rng(seed)
        order = random.permutation(count)
        cuts = np.sort(random.choice(np.arange(1, count), 9, replace=False))
        parts = [from_features(part) for part in np.split(features[order], cuts)]
        left = functools.reduce(FeatureStatistics.merge, parts)
        right = functools.reduce(lambda a, b: b.merge(a), reversed(parts))
        for merged in (left, right):
            assert merged.count == count
            np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
            np.testing.assert_allclose(
                merged.scatter, whole.scatter, rtol=1e-9, atol=1e-9 * np.abs(whole.scatter).max()
            )
            np.testing.assert_allclose(frechet_distance(merged, other), frechet_distance(whole, other), rtol=1e-9)


def test_merged_factor_does_not_grow() -> None:
    random = np.random.default_rng(0)
    parts = [from_features(random.standard_normal((16, 5))) for _ in range(40)]
    statistics = functools.reduce(FeatureStatistics.merge, parts)
    assert statistics.count == 640
    assert len(statistics.factor) <= 10


def test_bad_features() -> None:
    features = np.ones((4, 3))
    features[2, 1] = np.nan
    with pytest.raises(UserError, match=r"1 of 4 clips are not finite \(first: clip 2\)"):
        from_features(features)
    with pytest.raises(UserError, match="widths 3 and 2"):
        from_features(np.ones((2, 3))).merge(from_features(np.ones((2, 2))))
