"""Mergeable float64 statistics of features: count, mean and scatter, the last kept as a factor.

Legend: N samples, D features, R rows of the factor. The scatter sum((x - mean)(x - mean)^T) is stored as F^T F with
F [R, D]: fewer samples than features cost N x D instead of D x D, and nothing is squared that need not be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from digan.errors import UserError

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FeatureStatistics:
    """What a Frechet distance needs to know of features: ``count`` N, ``mean`` [D] and ``factor`` [R, D], R <= 2 D."""

    count: int
    mean: Array
    factor: Array

    @property
    def scatter(self) -> Array:
        """Sum of the outer products of the centred features, [D, D]; a large matrix where D is large."""
        return self.factor.T @ self.factor

    @property
    def covariance_factor(self) -> Array:
        """F / sqrt(N - 1), so that its F^T F is the unbiased covariance."""
        if self.count < 2:
            raise UserError(f"{self.count} clips: a covariance needs 2 or more; give more videos")
        return self.factor / np.sqrt(self.count - 1)

    def merge(self, other: FeatureStatistics) -> FeatureStatistics:
        """Statistics of both sets together (Chan, Golub and LeVeque 1979); any grouping gives the same to rounding."""
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
    """Statistics of ``features`` [N, D]; not-a-number and infinity are refused with the number of the first bad row."""
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
    """The same F^T F with D rows, once there are more than 2 D (R of the QR decomposition)."""
    rows, width = factor.shape
    return factor if rows <= 2 * width else np.asarray(np.linalg.qr(factor, mode="r"))
