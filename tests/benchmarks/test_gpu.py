"""The GPU benchmark's own logic, on the CPU at small sizes; its values there mean nothing."""

from __future__ import annotations

import pytest
import torch

from benchmarks import gpu

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
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_prints_one_line_without_a_gpu(device: str, capfd: pytest.CaptureFixture[str]) -> None:
    gpu.main(["--device", device])
    shown = capfd.readouterr()
    assert shown.out.startswith("no GPU here: nothing measured") and shown.out.count("\n") == 1 and not shown.err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    count = torch.cuda.device_count()
    with pytest.raises(SystemExit, match="2"):
        gpu.main(["--device", f"cuda:{count}"])
    assert f"--device cuda:{count}: PyTorch sees {count} GPUs, counted from 0" in capsys.readouterr().err
