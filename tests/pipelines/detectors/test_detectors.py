"""Detectors by name: what they may be called, what they refuse, what their digest covers."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from digan.errors import UserError
from digan.metrics.networks import i3d
from pipelines import detectors
from tests.conftest import evaluation_config

EVALUATION = evaluation_config(videos=8, draws=2, batch_size=4)
CONFIG = EVALUATION


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "i3d.pt"
    torch.save(i3d.untrained(3).state_dict(), path)
    return path


def clips(batch: int, frames: int = 10, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, frames, 3, 32, 32), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("name", ["transnetv2", "i3d_untrained"])
def test_stand_ins_are_named_for_what_they_are(name: str) -> None:
    detector = detectors.load(replace(CONFIG, detector=name))
    assert detector.metric_name == f"frechet_{name}"
    assert detector.kernel_name == f"kernel_{name}"
    features = detector.features(clips(2))
    assert features.dtype == np.float64
    assert features.ndim == 2 and len(features) == 2
    assert np.isfinite(features).all()
    np.testing.assert_array_equal(features, detectors.load(replace(CONFIG, detector=name)).features(clips(2)))


def test_fvd_only_with_weights(weights: Path) -> None:
    detector = detectors.load(replace(CONFIG, detector="i3d", weights=str(weights)))
    assert (detector.metric_name, detector.kernel_name) == ("fvd", "kvd")
    assert len(detector.weights_sha256) == 64
    with torch.inference_mode():
        expected = i3d.untrained(3)(i3d.preprocess(clips(1)))
    np.testing.assert_allclose(detector.features(clips(1)), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match=r"clips.frames=9: i3d needs 10 or more"):
        detector.features(clips(1, frames=9))


def test_digest_covers_weights_and_preprocessing(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(CONFIG, detector="i3d", weights=str(weights))
    digest = detectors.load(config).digest
    assert detectors.load(config).digest == digest
    state = torch.load(weights, weights_only=True)
    state["logits.conv3d.bias"][7] += 1e-3
    torch.save(state, tmp_path / "other.pt")
    assert detectors.load(replace(config, weights=str(tmp_path / "other.pt"))).digest != digest
    monkeypatch.setattr(i3d, "PREPROCESSING", "another")
    assert detectors.load(config).digest != digest


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (None, r"weights is empty: FVD is defined by .* as a path or s3:// address"),
        (lambda p: None, r"no such file; give the Kinetics-400"),
        (lambda p: p.write_text("hello"), r"not a plain PyTorch state dict"),
        (lambda p: p.write_bytes(pickle.dumps(Path("x"))), r"not a plain PyTorch state dict \(no code is run"),
        (
            lambda p: torch.save({"a": torch.ones(2)}, p),
            r"286 keys missing \(first: .*1 unknown \(first: a\)|keys missing",
        ),
        (lambda p: torch.save([1], p), r"not a state dict of tensors"),
        (
            lambda p: torch.save(i3d.I3D(classes=10).state_dict(), p),
            r"logits.conv3d.* has shape .* not the Kinetics-400",
        ),
    ],
)
def test_unusable_weights(make: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    if make is not None:
        make(path)  # type: ignore[operator]
    with pytest.raises(UserError, match=message) as caught:
        detectors.load(replace(CONFIG, detector="i3d", weights="" if make is None else str(path)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"detector": "i3dd"}, "evaluation.detector=i3dd: unknown; choose one of i3d"),
        ({"videos": 1}, "evaluation.videos=1: must be 2 or more"),
        ({"draws": -1}, "evaluation.draws=-1"),
        ({"protocol": "fast"}, "evaluation.protocol=fast: unknown; choose one of digan, digan-128"),
        ({"runs_on": "mars"}, "evaluation.runs_on=mars: unknown"),
        ({"weights_sha256": "12"}, "evaluation.weights_sha256=12: must be 64 hexadecimal"),
        ({"extra_detectors": "c3d"}, "evaluation.extra_detectors=c3d: c3d is not NAME=ADDRESS"),
        ({"extra_detectors": "x=y"}, "names are c3d, inception_frames, video_transformer"),
        ({"cache": ""}, "must be a folder or an s3:// address"),
        ({"batch_size": 0}, "evaluation.batch_size=0"),
        ({"truncation": 1.5}, "evaluation.truncation=1.5"),
    ],
)
def test_impossible_settings(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(EVALUATION, **change)  # type: ignore[arg-type]
