"""Kernel distance (KVD): unbiased squared maximum mean discrepancy with a cubic kernel (Binkowski et al. 2018)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from digan.errors import UserError


def kernel_distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Unbiased MMD^2 of features [N, D] and [M, D] with k(x, y) = (<x, y> / D + 1)^3; can be slightly below 0."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise UserError(f"features of shapes {x.shape} and {y.shape}: use one detector for both")
    if min(len(x), len(y)) < 2:
        raise UserError(f"{min(len(x), len(y))} clips: the kernel distance needs 2 or more; give more videos")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise UserError("features are not finite; the videos or the detector's weights are damaged")
    within = _mean_kernel(x, x, distinct=True) + _mean_kernel(y, y, distinct=True)
    return within - 2 * _mean_kernel(x, y, distinct=False)


def _mean_kernel(x: NDArray[np.float64], y: NDArray[np.float64], *, distinct: bool, rows: int = 1024) -> float:
    """Mean kernel over all pairs, or with ``distinct`` over those of different samples; ``rows`` bounds the memory."""
    total = 0.0
    for start in range(0, len(x), rows):
        total += float(((x[start : start + rows] @ y.T / x.shape[1] + 1) ** 3).sum())
    if not distinct:
        return total / (len(x) * len(y))
    own = float(((np.einsum("nd,nd->n", x, x) / x.shape[1] + 1) ** 3).sum())
    return (total - own) / (len(x) * (len(x) - 1))
