"""The common interface of metrics; Inception Score and C3D against plain formulas and closed forms."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from torch import nn

from digan.errors import UserError
from digan.metrics.feature_metrics import FRECHET, INCEPTION_SCORE, KERNEL, FeatureMetric
from digan.metrics.inception_score import from_logits, inception_score
from digan.metrics.networks import c3d


@pytest.mark.parametrize("metric", [FRECHET, KERNEL, INCEPTION_SCORE], ids=lambda m: m.name)
def test_any_grouping_gives_the_same_value(metric: FeatureMetric) -> None:
    random = np.random.default_rng(0)
    real, fake = random.standard_normal((60, 8)), random.standard_normal((90, 8)) * 1.2 + 0.3
    whole = metric.of(real, fake)
    for seed in range(5):
        random = np.random.default_rng(seed)
        cuts = np.sort(random.choice(np.arange(1, 90), 6, replace=False))
        parts = [metric.statistics(part) for part in np.split(fake, cuts)]
        random.shuffle(parts)  # type: ignore[arg-type]
        merged = functools.reduce(lambda a, b: a.merge(b), parts)
        np.testing.assert_allclose(metric.value(metric.statistics(real), merged), whole, rtol=1e-9)


def test_inception_score_is_the_plain_formula() -> None:
    logits = np.random.default_rng(0).standard_normal((40, 5)) * 3
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = []
    for part in np.split(chances, 4):
        marginal = part.mean(0)
        expected.append(np.exp(np.mean([(p * np.log(p / marginal)).sum() for p in part])))
    np.testing.assert_allclose(inception_score(logits, splits=4), [np.mean(expected), np.std(expected)], rtol=1e-12)


def test_inception_score_bounds() -> None:
    sure = np.full((30, 6), -1e4)
    sure[np.arange(30), np.arange(30) % 6] = 0  # every class equally often, never in doubt
    np.testing.assert_allclose(from_logits(sure).score, 6)
    np.testing.assert_allclose(from_logits(np.zeros((30, 6))).score, 1)
    with pytest.raises(UserError, match="10 splits needs 10 or more"):
        inception_score(sure[:9])
    with pytest.raises(UserError, match="not finite"):
        from_logits(np.full((2, 3), np.nan))


def test_c3d_is_the_plain_stack_of_layers() -> None:
    torch.manual_seed(0)
    network = c3d.C3D(classes=7, width=2).eval()
    names = ["conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b"]
    layers: list[nn.Module] = []
    for name in names:
        layers += [getattr(network, name), nn.ReLU()]
        if name == "conv1":
            layers.append(nn.MaxPool3d((1, 2, 2)))
        elif name in ("conv2", "conv3b", "conv4b"):
            layers.append(nn.MaxPool3d(2))
    layers += [nn.ZeroPad3d((1, 1, 1, 1, 0, 0)), nn.MaxPool3d(2), nn.Flatten()]
    layers += [network.fc6, nn.ReLU(), network.fc7, nn.ReLU(), network.fc8]
    x = torch.randn(2, 3, 16, 112, 112)
    with torch.inference_mode():
        torch.testing.assert_close(network(x), nn.Sequential(*layers)(x))


def test_c3d_preprocessing() -> None:
    videos = torch.zeros(1, 20, 3, 30, 40, dtype=torch.uint8)
    videos[:, :, 0] = 200  # red: the last channel in BGR
    x = c3d.preprocess(videos)
    assert x.shape == (1, 3, 16, 112, 112)
    torch.testing.assert_close(x[0, :, 0, 0, 0], torch.tensor([-90.0, -98.0, 98.0]))
    mean = torch.rand(3, 16, 128, 171)
    torch.testing.assert_close(c3d.preprocess(videos, mean)[0, 2, 3, 0, 0], 200 - mean[2, 3, 8, 29])
