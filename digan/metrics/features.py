"""Mergeable float64 statistics of features: count, mean and a factor of the scatter matrix.

Legend: N samples, D features, R rows of the factor. The scatter sum((x - mean)(x - mean)^T) is stored as F [R, D] with
F^T F = scatter, which takes N x D instead of D x D numbers if N < D and is numerically more accurate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from digan.errors import UserError

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FeatureStatistics:
    """Statistics for the Frechet distance: ``count`` N, ``mean`` [D] and ``factor`` [R, D], R <= 2 D."""

    count: int
    mean: Array
    factor: Array

    @property
    def scatter(self) -> Array:
        """Sum of the outer products of the centered features, [D, D]."""
        return self.factor.T @ self.factor

    @property
    def covariance_factor(self) -> Array:
        """F / sqrt(N - 1), so that its F^T F is the unbiased covariance."""
        if self.count < 2:
            raise UserError(f"{self.count} clips: a covariance needs 2 or more; give more videos")
        return self.factor / np.sqrt(self.count - 1)

    def merge(self, other: FeatureStatistics) -> FeatureStatistics:
        """Statistics of both sets (Chan, Golub and LeVeque, 1979); independent of grouping up to rounding."""
        if self.mean.shape != other.mean.shape:
            raise UserError(f"features of widths {self.mean.size} and {other.mean.size}: use one detector for both")
        if self.count == 0 or other.count == 0:
            return other if self.count == 0 else self
        count = self.count + other.count
        delta = other.mean - self.mean
        between = delta * np.sqrt(self.count * other.count / count)
        factor = np.concatenate([self.factor, other.factor, between[None]])
        return FeatureStatistics(count=count, mean=self.mean + delta * (other.count / count), factor=_shorten(factor))


def from_features(features: NDArray[np.floating]) -> FeatureStatistics:
    """Statistics of ``features`` [N, D]; raises ``UserError`` if some are not finite."""
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] == 0:
        raise UserError(f"features of shape {tuple(values.shape)}: expected [clips, features] with 1 clip or more")
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise UserError(
            f"features of {int((~finite).sum())} of {len(values)} clips are not finite (first: clip"
            f" {int(np.argmin(finite))}); the videos or the detector's weights are damaged"
        )
    mean = values.mean(axis=0)
    return FeatureStatistics(count=len(values), mean=mean, factor=_shorten(values - mean))


def _shorten(factor: Array) -> Array:
    """A factor with the same F^T F and D rows (QR decomposition), if there are more than 2 D rows."""
    rows, width = factor.shape
    return factor if rows <= 2 * width else np.asarray(np.linalg.qr(factor, mode="r"))
