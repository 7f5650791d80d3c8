"""`training.start_from` through the stage `train`, on two workers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipelines.cluster import training_driver
from pipelines.cluster.ray_cluster import connect
from pipelines.params import Params
from pipelines.registry import start_address
from tests.pipelines.small_run import assert_same_weights, weights, write_params, write_shards

pytestmark = pytest.mark.slow


def test_run_begins_with_the_weights_and_resumes_without_their_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params, shards = write_params(tmp_path, clips=40), tmp_path / "shards"
    write_shards(shards)

    def changed(**training: object) -> Params:
        return replace(params, training=replace(params.training, **training))  # type: ignore[arg-type]

    def train(given: Params, output: str, start: Callable[..., object] = start_address.load) -> Path:
        training_driver.train(given, shards=shards, output=tmp_path / output, start=start)  # type: ignore[arg-type]
        return tmp_path / output

    def gone(*_: object) -> object:
        raise AssertionError("the run has its copy")

    with connect(params.cluster):
        first = train(params, "first")
        later = changed(seed=5, start_from=str(first))
        whole = train(changed(seed=5, start_from=str(first), clips=80), "whole")
        assert f"starting from generator and discriminator of {first}" in capsys.readouterr().out
        halves = train(later, "halves")
        shutil.rmtree(first)
        train(changed(seed=5, start_from=str(first), clips=80), "halves", gone)
        assert_same_weights(whole, halves)
        random = train(changed(seed=5), "random")
    same = [torch.equal(weights(halves)[name], value) for name, value in weights(random).items()]
    assert not all(same)
