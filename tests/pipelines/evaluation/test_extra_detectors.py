"""Detectors that come as TorchScript, and C3D, on small files of the same calling conventions."""

from __future__ import annotations

import hashlib
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from digan.errors import UserError
from digan.metrics.networks import c3d, i3d
from pipelines import detectors
from pipelines.detectors import weights
from pipelines.detectors.detector import DetectorEntry
from pipelines.detectors.table import ENTRIES
from pipelines.storage import file_io
from tests.conftest import evaluation_config


class LikeI3D(nn.Module):
    """The calling convention of the StyleGAN-V line's file."""

    def forward(self, x: torch.Tensor, rescale: bool, resize: bool, return_features: bool) -> torch.Tensor:
        assert return_features
        if resize:
            x = nn.functional.interpolate(x, size=[x.shape[2], 224, 224], mode="trilinear", align_corners=False)
        if rescale:
            x = x / 127.5 - 1.0
        return x.mean(dim=(3, 4)).flatten(1)


class LikeInception(nn.Module):
    def forward(self, x: torch.Tensor, return_features: bool) -> torch.Tensor:
        return x.float().mean(dim=(2, 3))


class LikeTransformer(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1:] == (3, 16, 224, 224)
        return x.mean(dim=(3, 4)).transpose(1, 2)  # tokens [B, 16, 3]


def save(module: nn.Module, path: Path) -> str:
    torch.jit.script(module).save(str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def clips(frames: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, frames, 3, 30, 40), dtype=torch.uint8, generator=generator)


def test_i3d_as_torchscript(tmp_path: Path) -> None:
    sha256 = save(LikeI3D(), tmp_path / "i3d.pt")
    config = evaluation_config(detector="i3d_torchscript", weights=str(tmp_path / "i3d.pt"), weights_sha256=sha256)
    squash, crop = detectors.load(config, "squash"), detectors.load(config, "crop")
    assert squash.metric_name == crop.metric_name == "fvd" and squash.digest != crop.digest
    x = clips()
    expected = (x.float().transpose(1, 2).mean(dim=(3, 4)) / 127.5 - 1).flatten(1)
    np.testing.assert_allclose(squash.features(x), expected, atol=0.02)  # resizing keeps the mean but at the edges
    np.testing.assert_allclose(crop.features(x), i3d.preprocess(x).mean(dim=(3, 4)).flatten(1), rtol=1e-4, atol=1e-5)
    again = pickle.loads(pickle.dumps(squash.embed))  # as it travels to a Ray worker
    torch.testing.assert_close(again(x), squash.embed(x))


def test_torchscript_runs_only_where_it_is_named(tmp_path: Path) -> None:
    sha256 = save(LikeI3D(), tmp_path / "i3d.pt")
    weights = str(tmp_path / "i3d.pt")
    with pytest.raises(UserError, match=r"is TorchScript, which carries code; .* evaluation\.detector=i3d_torchscript"):
        detectors.load(evaluation_config(detector="i3d", weights=weights))
    with pytest.raises(UserError, match=f"weights_sha256 must name it; this file's is {sha256}"):
        detectors.load(evaluation_config(detector="i3d_torchscript", weights=weights))
    with pytest.raises(UserError, match=r"SHA-256 is .*, evaluation\.weights_sha256 says 0000"):
        wrong = evaluation_config(detector="i3d_torchscript", weights=weights, weights_sha256="0" * 64)
        detectors.load(wrong)
    torch.save(i3d.untrained(0).state_dict(), tmp_path / "state.pt")
    sha256 = hashlib.sha256((tmp_path / "state.pt").read_bytes()).hexdigest()
    config = evaluation_config(detector="i3d_torchscript", weights=str(tmp_path / "state.pt"), weights_sha256=sha256)
    with pytest.raises(UserError, match="is not TorchScript; a state dict goes with"):
        detectors.load(config)


def test_companions(tmp_path: Path) -> None:
    frames, transformer = save(LikeInception(), tmp_path / "frames.pt"), save(LikeTransformer(), tmp_path / "net#1.pt")
    torch.save(c3d.C3D(classes=5, width=1).state_dict(), tmp_path / "c3d.pt")
    listed = f"c3d={tmp_path}/c3d.pt, inception_frames={tmp_path}/frames.pt#{frames}"
    listed += f",video_transformer={tmp_path}/net#1.pt#{transformer.upper()}"
    found = detectors.load_extra_detectors(evaluation_config(extra_detectors=listed))
    names = [one.metric_name for one in found]
    assert names == ["inception_score", "fid_frames", "frechet_video_transformer"]
    shapes = [one.features(clips()).shape for one in found]
    assert shapes == [(2, 5), (32, 3), (2, 3)]
    assert [one.measure for one in found] == ["inception_score", "frechet", "frechet"]
    assert found[1].kernel_name == "kid_frames"


@pytest.mark.parametrize("name", ["inception_frames", "video_transformer"])
@pytest.mark.parametrize("on_s3", [False, True])
def test_code_of_an_extra_detector_runs_only_with_its_sum(
    name: str, on_s3: bool, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256, address = save(LikeInception(), tmp_path / "net.pt"), str(tmp_path / "net.pt")
    if on_s3:
        address = f"{request.getfixturevalue('s3_bucket')}/net.pt"
        file_io.copy(tmp_path / "net.pt", address)
    loaded: list[str] = []
    monkeypatch.setattr(weights, "load_torchscript", lambda data, setting: loaded.append(setting))
    key = f"evaluation.extra_detectors: {name}={address}"
    for suffix, problem in (
        ("", f"{name} runs the code in the file, so {name}=ADDRESS#SHA256 must name it; this file's is {sha256}"),
        (f"#{'0' * 64}", f"SHA-256 is {sha256}, {name}=ADDRESS#SHA256 says {'0' * 64}; fetch the right file"),
        (f"#{sha256[:63]}", "no such file"),
    ):
        with pytest.raises(UserError, match=re.escape(problem)) as caught:
            detectors.load_extra_detectors(evaluation_config(extra_detectors=f"{name}={address}{suffix}"))
        assert str(caught.value).startswith(key)
    assert not loaded
    found = detectors.load_extra_detectors(evaluation_config(extra_detectors=f"{name}={address}#{sha256}"))
    assert loaded and found[0].weights_sha256 == sha256


def test_sum_of_a_state_dict_is_optional_but_checked(tmp_path: Path) -> None:
    torch.save(c3d.C3D(classes=5, width=1).state_dict(), tmp_path / "c3d.pt")
    with pytest.raises(UserError, match=r"c3d\.pt: SHA-256 is [0-9a-f]{64}, c3d=ADDRESS#SHA256 says 1111"):
        detectors.load_extra_detectors(evaluation_config(extra_detectors=f"c3d={tmp_path}/c3d.pt#{'1' * 64}"))


@pytest.mark.parametrize(("name", "file"), [("c3d", "the C3D state dict"), ("video_transformer", "a traced video")])
def test_missing_weights_of_extra_detector_are_described(name: str, file: str, tmp_path: Path) -> None:
    config = evaluation_config(extra_detectors=f"{name}={tmp_path}/no.pt")
    with pytest.raises(UserError, match=f"no.pt: no such file; give {file}.* as {name}=ADDRESS or leave {name} out"):
        detectors.load_extra_detectors(config)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: torch.save({"a": torch.ones(1)}, p), "not C3D: it has no fc8.weight"),
        (
            lambda p: torch.save({**c3d.C3D(5, 1).state_dict(), "extra": torch.ones(1)}, p),
            r"not C3D: 0 keys missing, 1 unknown \(first: extra\)",
        ),
        (
            lambda p: torch.save({k: v * float("nan") for k, v in c3d.C3D(5, 1).state_dict().items()}, p),
            "conv1.weight holds values that are not finite",
        ),
    ],
)
def test_weights_that_are_not_c3d(make: object, message: str, tmp_path: Path) -> None:
    make(tmp_path / "c3d.pt")  # type: ignore[operator]
    with pytest.raises(UserError, match=message):
        detectors.load_extra_detectors(evaluation_config(extra_detectors=f"c3d={tmp_path}/c3d.pt"))


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.file], ids=lambda entry: entry.network)
def test_no_detector_runs_torchscript_without_a_sum(
    entry: DetectorEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(LikeInception(), tmp_path / "net.pt")
    monkeypatch.setattr(weights, "load_torchscript", lambda data, setting: pytest.fail("code runs"))
    with pytest.raises(UserError, match=r"carries code|runs the code in the file"):
        entry.detector((tmp_path / "net.pt").read_bytes(), "weights=net.pt")
