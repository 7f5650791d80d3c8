"""Frechet and kernel distance against the fixtures, plain formulas and closed forms."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from digan.errors import UserError
from digan.metrics.features import from_features
from digan.metrics.frechet import frechet_distance, frechet_from_features
from digan.metrics.kernel import kernel_distance

FIXTURE = Path(__file__).parents[2] / "fixtures" / "metrics_parity.npz"


def seeded(name: str, shape: tuple[int, ...], scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape) * scale + shift
    return values.astype(np.float32).astype(np.float64)


A = seeded("fvd/a", (300, 40))
B = seeded("fvd/b", (260, 40), 1.3, 0.2)


def test_fixtures() -> None:
    with np.load(FIXTURE) as parity:
        np.testing.assert_allclose(frechet_from_features(A, B), parity["fvd/frechet"], rtol=1e-8)
        np.testing.assert_allclose(kernel_distance(A, B), parity["fvd/kvd"], rtol=1e-8)


def test_many_samples_through_the_shortened_factor() -> None:
    few = frechet_from_features(A, B)
    halves = [from_features(A[:100]).merge(from_features(A[100:])), from_features(B[:30]).merge(from_features(B[30:]))]
    np.testing.assert_allclose(frechet_distance(*halves), few, rtol=1e-9)


def test_agrees_with_a_matrix_square_root() -> None:
    sqrtm = pytest.importorskip("scipy.linalg").sqrtm
    covariances = np.cov(A.T), np.cov(B.T)
    root = sqrtm(covariances[0] @ covariances[1])
    means = ((A.mean(0) - B.mean(0)) ** 2).sum()
    expected = means + np.trace(covariances[0] + covariances[1] - 2 * root.real)
    np.testing.assert_allclose(frechet_from_features(A, B), expected, rtol=1e-8)


def test_rank_deficient_covariances_have_a_closed_form() -> None:
    # covariances of 12 samples in 500 dimensions that commute: squared difference of the spreads along shared axes
    random = np.random.default_rng(0)
    axes = np.linalg.qr(random.standard_normal((500, 11)))[0].T
    white = np.linalg.qr(np.concatenate([np.ones((12, 1)), random.standard_normal((12, 11))], 1))[0][:, 1:] * np.sqrt(
        11
    )
    first, second = np.linspace(1, 3, 11), np.linspace(4, 0, 11)
    shift = random.standard_normal(500)
    a, b = white * first @ axes, white * second @ axes + shift
    np.testing.assert_allclose(
        frechet_from_features(a, b), ((first - second) ** 2).sum() + (shift**2).sum(), rtol=1e-10
    )


def test_same_features_are_at_distance_zero() -> None:
    wide = np.random.default_rng(0).standard_normal((20, 300))
    for features in (A, wide, np.ones((5, 8))):
        distance = frechet_from_features(features, features)
        assert 0 <= distance <= 1e-10 * max(1.0, float((features**2).sum()))


def test_kernel_distance_is_the_plain_double_sum() -> None:
    a, b = A[:9], B[:7]
    k = lambda x, y: (x @ y / 40 + 1) ** 3  # noqa: E731
    same = [np.mean([k(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]) for s in (a, b)]
    cross = np.mean([k(x, y) for x in a for y in b])
    np.testing.assert_allclose(kernel_distance(a, b), same[0] + same[1] - 2 * cross, rtol=1e-10)


def test_kernel_distance_is_unbiased() -> None:
    random = np.random.default_rng(0)
    draws = [kernel_distance(random.standard_normal((30, 4)), random.standard_normal((30, 4))) for _ in range(300)]
    assert abs(np.mean(draws)) < 4 * np.std(draws) / np.sqrt(300)
    assert min(draws) < 0


def test_too_few_clips() -> None:
    with pytest.raises(UserError, match="2 or more"):
        frechet_from_features(A[:1], B)
    with pytest.raises(UserError, match="2 or more"):
        kernel_distance(A[:1], B)
    with pytest.raises(UserError, match="widths 40 and 39"):
        frechet_from_features(A, B[:, :39])
