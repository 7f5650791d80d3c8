"""Ingest killed at random moments ends where an undisturbed one ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.storage import file_io
from tests.conftest import ROOT
from tests.pipelines.dataset.test_s3_storage import digest, strips


@pytest.mark.slow
def test_killed_at_ten_random_moments(tmp_path: Path) -> None:
    """The stage as a user runs it, on Ray, killed with its whole session; the set ends up as an undisturbed one."""
    import signal
    import time

    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    strips(tmp_path / "raw", 25)
    for number in range(200):
        shutil.copy(
            tmp_path / f"raw/class{number % 2}/{number % 24:02d}.png", tmp_path / f"raw/class0/copy{number}.png"
        )
    values = yaml.load(ROOT / "params.yaml")
    values["source"] |= {"name": "frames", "path": str(tmp_path / "raw")}
    values["source"]["frames"]["layout"] = "strips"
    values["clips"] |= {"frames": 4, "resolution": 256}
    values["shards"] |= {"encoding": "png", "megabytes": 0.05}
    random = np.random.default_rng(0)

    def start(name: str) -> subprocess.Popen[bytes]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        with (folder / "params.yaml").open("w") as file:
            yaml.dump(values, file)
        command = [sys.executable, "-m", "pipelines.ingest"]
        with (folder / "log").open("ab") as log:
            return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)

    began = time.monotonic()
    assert start("undisturbed").wait() == 0
    whole = time.monotonic() - began
    for kill in range(10):
        process = start("killed")
        time.sleep(whole * random.uniform(0.2, 0.9))
        # there is something to go on from when the first one comes, whatever the machine's speed
        while not kill and process.poll() is None and not [*(tmp_path / "killed").rglob("*.tar")]:
            time.sleep(0.05)
        with pytest.raises(ProcessLookupError) if process.poll() is not None else pytest.MonkeyPatch.context():
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert start("killed").wait() == 0, (tmp_path / "killed/log").read_text()[-2000:]
    assert b"resuming after" in (tmp_path / "killed/log").read_bytes()
    found = [
        {
            name: digest(tmp_path / run / "outputs/shards" / name)
            for name in file_io.list_names(tmp_path / run / "outputs/shards")
        }
        for run in ("undisturbed", "killed")
    ]
    assert found[0] == found[1] and json.loads((tmp_path / "killed/outputs/shards/index.json").read_text())
