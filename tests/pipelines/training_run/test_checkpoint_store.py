"""Checkpoints and runs on S3, and the checks before the start; a real S3 server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from digan.errors import UserError
from digan.generator_io import generator_files, load_generator
from digan.training import checkpoint
from digan.training.state import TrainingState, initial_generator
from pipelines.cluster import preflight, training_driver
from pipelines.params import load
from pipelines.storage import file_io
from pipelines.training_run import run_sync
from pipelines.training_run.checkpoint_store import RemoteStore, store_at
from tests.digan.training.test_loop import CPU, MODEL, TRAINING
from tests.pipelines.small_run import assert_same_weights, write_params, write_shards


def save(store: checkpoint.CheckpointStore, clips: int, *, keep: int) -> None:
    state = TrainingState(TRAINING, MODEL, CPU)
    state.clips_seen = clips
    checkpoint.write(checkpoint.capture(state), store, model=MODEL, keep=keep)


def test_checkpoints_on_s3_are_kept_found_and_checked(s3_bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    store = store_at(f"{s3_bucket}/run/checkpoints")
    assert isinstance(store, RemoteStore) and checkpoint.newest(store) is None
    for clips in (4, 8, 12, 16):
        save(store, clips, keep=2)
    assert [int(name) for name in checkpoint.listed(store)] == [16, 12]
    path = f"{s3_bucket}/run/checkpoints/0000000016/state.pt"
    data = bytearray(file_io.read_bytes(path))
    data[100] ^= 1
    file_io.write_bytes(path, bytes(data))
    found = checkpoint.newest(store)
    assert found is not None and int(found[0]) == 12
    assert "0000000016" in caplog.text


def test_incomplete_names_are_not_listed(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers killed between two files, the first time and while replacing."""
    store = RemoteStore(f"{s3_bucket}/run")
    files = generator_files(initial_generator(TRAINING, MODEL))
    store.write("generator", files)
    assert store.names() == ["generator"]
    put = file_io.write_bytes

    def killed_write(address: str, data: bytes) -> None:
        if address.endswith("config.json"):
            raise KeyboardInterrupt
        put(address, data)

    monkeypatch.setattr(file_io, "write_bytes", killed_write)
    for name in ("generator", "other"):
        with pytest.raises(KeyboardInterrupt):
            store.write(name, files)
    assert store.names() == []


def test_shards_are_published_once_and_only_for_one_data_set(s3_bucket: str, tmp_path: Path) -> None:
    pytest.importorskip("pipelines.dataset.shard_reader", reason="shards are not read from S3 yet")
    storage, notices = f"{s3_bucket}/run", []
    write_shards(tmp_path / "a")
    address = run_sync.publish_shards(str(tmp_path / "a"), storage, notices.append)
    assert run_sync.publish_shards(str(tmp_path / "a"), storage, notices.append) == address and len(notices) == 1
    clips = write_params(tmp_path).clips
    assert run_sync.open_shards(clips, tmp_path / "nothing", storage)[1] == address
    write_shards(tmp_path / "b", shards=2)
    with pytest.raises(UserError, match="holds the shards of other data"):
        run_sync.publish_shards(str(tmp_path / "b"), storage, notices.append)


@pytest.mark.slow
def test_run_on_s3_is_resumed_on_another_machine(
    s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second machine has neither shards nor a checkpoint nor the log, only params.yaml."""
    pytest.importorskip("pipelines.dataset.shard_reader", reason="shards are not read from S3 yet")
    storage = f"{s3_bucket}/runs/one"

    def params_for(folder: Path, clips: int, storage_at: str) -> object:
        folder.mkdir()
        write_params(folder, clips=clips)
        path, yaml = folder / "params.yaml", YAML()
        values = yaml.load(path.read_text())
        values["cluster"]["storage"] = storage_at
        with path.open("w") as file:
            yaml.dump(values, file)
        return load(path)

    first = params_for(tmp_path / "first", 120, storage)
    write_shards(tmp_path / "first/shards")
    training_driver.train(first, shards=tmp_path / "first/shards", output=tmp_path / "first/train")  # type: ignore[arg-type]
    second = params_for(tmp_path / "second", 240, storage)
    training_driver.train(second, shards=tmp_path / "second/shards", output=tmp_path / "second/train")  # type: ignore[arg-type]
    assert "resuming from the latest checkpoint (log ends at 120 clips)" in capsys.readouterr().out
    load_generator(tmp_path / "second/train/snapshots/0000000240")
    whole = params_for(tmp_path / "whole", 240, "")
    training_driver.train(whole, shards=tmp_path / "first/shards", output=tmp_path / "whole/train")  # type: ignore[arg-type]
    assert_same_weights(tmp_path / "second/train", tmp_path / "whole/train")


@pytest.mark.parametrize(
    ("uri", "storage", "message"),
    [
        ("sqlite:////x/mlflow.db", "s3://b/run", "this SQLite file is deleted with the Ray job"),
        ("http://tracking:5000", "", 'cluster.storage="": .* is deleted with the Ray job'),
    ],
)
def test_job_that_would_lose_its_records_is_rejected(uri: str, storage: str, message: str) -> None:
    job_folder = Path("/tmp/r/session/runtime_resources/working_dir_files/_ray_pkg_1")
    with pytest.raises(UserError, match=message):
        preflight.check_driver(uri, storage, job_folder / "outputs/train", job_folder)
    preflight.check_driver(uri, storage, Path("/mnt/shared/outputs/train"), job_folder)
    preflight.check_driver(uri, storage, job_folder / "outputs/train", None)  # no job


def test_probe_names_what_a_machine_does_not_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.training_run import run_fingerprint

    write_shards(tmp_path / "shards")
    mark, code = tmp_path / "train/.reach", run_fingerprint.code_digest()
    file_io.write_bytes(mark, b"word")

    def probe(shards: str, mark: str, code: str = code) -> str:
        reads = {f"the shards at {shards}": f"{shards}/index.json"}
        return preflight._probe(reads, mark, "word", code, {"AWS_PROBE": "1"})

    assert probe(str(tmp_path / "shards"), str(mark)) == ""
    assert "does not see the shards" in probe(str(tmp_path / "none"), str(mark))
    assert "does not see the output folder" in probe(str(tmp_path / "shards"), str(tmp_path / "other/.reach"))
    assert "another version of the code" in probe(str(tmp_path / "shards"), str(mark), "0" * 64)
    os.environ.pop("AWS_PROBE")
