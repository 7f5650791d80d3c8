"""Frechet distance of two Gaussians (Heusel et al., 2017), by singular values instead of a matrix square root.

|m_a - m_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2). The last trace is the sum of the roots of the eigenvalues of
the symmetrized product S_a^(1/2) S_b S_a^(1/2). With S_a = A^T A and S_b = B^T B (A, B the factors of ``features.py``)
these are the eigenvalues of (A B^T)(A B^T)^T, so their roots are the singular values of A B^T: real and nonnegative by
construction, exact for rank-deficient covariances, and of a matrix no larger than the number of samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from digan.errors import UserError
from digan.metrics import features
from digan.metrics.features import FeatureStatistics


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Squared Frechet (2-Wasserstein) distance of the Gaussians with these means and covariances; never negative."""
    if a.mean.shape != b.mean.shape:
        raise UserError(f"features of widths {a.mean.size} and {b.mean.size}: use one detector for both")
    factor_a, factor_b = a.covariance_factor, b.covariance_factor
    means = float(np.sum((a.mean - b.mean) ** 2))
    traces = float(np.sum(factor_a**2) + np.sum(factor_b**2))
    overlap = float(np.linalg.svd(factor_a @ factor_b.T, compute_uv=False).sum())
    return max(means + traces - 2 * overlap, 0.0)


def frechet_from_features(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """``frechet_distance`` of two sets of features [N, D] and [M, D]."""
    return frechet_distance(features.from_features(a), features.from_features(b))
