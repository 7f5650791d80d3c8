"""The GPU benchmark's own logic, on the CPU at small sizes; its values there mean nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from benchmarks import gpu
from tests.conftest import ROOT

SMALL = ["--device", "cpu", "--resolution", "32", "--channels", "4", "--batches", "4", "--updates", "1", "--runs", "1"]
SMALL += ["--matrix", "64", "--sample-resolutions", "32", "--sample-frames", "3"]


def test_main_prints_all_tables(capsys: pytest.CaptureFixture[str]) -> None:
    gpu.main(SMALL)
    shown = capsys.readouterr().out
    assert all(f"    4 {precision}" in shown for precision in gpu.PRECISIONS)
    assert "32x32, 3 frames: fp32" in shown


def test_step_table_values() -> None:
    results = [
        gpu.StepResult(batch=8, precision="fp32", seconds=2.0, plain_seconds=2.0, arithmetic=4e12, peak_bytes=10**9),
        gpu.StepResult(
            batch=8, precision="bf16", seconds=0.5, plain_seconds=0.5, arithmetic=4e12, peak_bytes=5 * 10**8
        ),
    ]
    _, slow, fast = gpu.step_table(results, rate=16e12)
    assert slow.split() == ["8", "fp32", "4.0", "1.00", "2.0", "12", "%", "1.00"]
    assert fast.split() == ["8", "bf16", "16.0", "4.00", "8.0", "50", "%", "0.50"]


def test_flop_counter_counts_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counter that the share rests on, against a product counted by hand."""
    from torch.utils.flop_counter import FlopCounterMode

    a, b = torch.randn(7, 5), torch.randn(5, 3)
    with FlopCounterMode(display=False) as counter:
        a @ b
    assert counter.get_total_flops() == 2 * 7 * 5 * 3


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_prints_a_message_without_a_gpu() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("no GPU here: nothing measured")
