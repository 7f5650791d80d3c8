"""Coverage of intervals, bias of the extrapolation, and comparisons of values."""

from __future__ import annotations

import numpy as np
import pytest

from digan.errors import UserError
from digan.metrics.feature_metrics import FRECHET
from digan.metrics.uncertainty import bootstrap, compare, extrapolate


def draw(seed: int, count: int, width: int = 4, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, width)) + shift


def test_bootstrap_has_the_spread_of_repeated_experiments() -> None:
    figures = [FRECHET.of(draw(2 * i, 200), draw(2 * i + 1, 200, shift=0.5)) for i in range(60)]
    intervals = [bootstrap(FRECHET, draw(2 * i, 200), draw(2 * i + 1, 200, shift=0.5), seed=i) for i in range(12)]
    ratio = np.mean([interval.std for interval in intervals]) / np.std(figures, ddof=1)
    assert 0.8 < ratio < 1.25
    covered = [interval.low < np.mean(figures) < interval.high for interval in intervals]
    assert sum(covered) >= 9


def test_bootstrap_is_seeded() -> None:
    a, b = draw(0, 30), draw(1, 30)
    assert bootstrap(FRECHET, a, b, seed=3) == bootstrap(FRECHET, a, b, seed=3)
    assert bootstrap(FRECHET, a, b, seed=3) != bootstrap(FRECHET, a, b, seed=4)
    with pytest.raises(UserError, match="needs 2 or more"):
        bootstrap(FRECHET, a[:1], b, seed=0)


def test_extrapolation_removes_the_bias_of_few_samples() -> None:
    # equal distributions: the true distance is 0, and at 400 samples of 16 features far above it
    found, plain = [], []
    for i in range(6):
        a, b = draw(2 * i, 400, 16), draw(2 * i + 1, 400, 16)
        fit = extrapolate(FRECHET, a, b, seed=i, repeats=4)
        found.append(fit.infinite)
        plain.append(FRECHET.of(a, b))
        assert fit.trusted and fit.slope > 0 and fit.r2 > 0.9
        assert fit.counts[0] == 100 and fit.counts[-1] == 400
    assert abs(np.mean(found)) < 0.15 * np.mean(plain)


def test_extrapolation_from_few_clips_is_not_trusted() -> None:
    assert not extrapolate(FRECHET, draw(0, 100, 64), draw(1, 100, 64), seed=0).trusted
    with pytest.raises(UserError, match="needs 16 or more"):
        extrapolate(FRECHET, draw(0, 15), draw(1, 15), seed=0)


def test_comparison() -> None:
    assert compare(5.0, 5.3, spreads=(0.1, 0.1), margin=1.0).is_significant
    close = compare(5.0, 5.1, spreads=(0.1, 0.1), margin=1.0)
    assert not close.is_significant and "0.1 is not more than 1 times its spread of 0.14" in close.text
    assert not compare(5.0, 5.3, spreads=(0.1, 0.1), margin=3.0).is_significant
    assert compare(5.0, 5.3, spreads=(float("nan"), float("nan")), margin=1.0).spread == 0
