"""Addresses of SQLite stores in folders with any name, and what is in no way a store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from digan.errors import UserError
from pipelines.tracking import runs, sqlite_address, store
from pipelines.tracking.store import TrackingConfig

NAMES = [
    "a b",
    "it's 100% a?b#c & $HOME",
    "%41 %20",
    "ünï 日本",
    'say "hi"',
    "a\\b",
    "file:x?mode=memory",
    "~",
    "a;b@c:d,e",
]


@pytest.mark.parametrize("name", NAMES)
def test_address_names_the_path_for_digan_and_for_sqlalchemy(name: str, tmp_path: Path) -> None:
    from sqlalchemy import create_engine, text

    database = tmp_path / name / "mlflow.db"
    database.parent.mkdir()
    uri = sqlite_address.address_of(database)
    assert sqlite_address.database_of(uri) == database and sqlite_address.absolute(uri) == uri
    with create_engine(uri).begin() as connection:
        connection.execute(text("create table t (x int)"))
    with sqlite3.connect(database) as opened:
        assert opened.execute("select name from sqlite_master").fetchall() == [("t",)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_store_and_artifacts_stay_in_a_folder_whose_name_is_quoted_in_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my project's 100% a?b#c %41"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = runs.resolved(TrackingConfig(uri="", experiment="e"))
    run_id = runs.open_run(config, {"a": 1}, {})
    (tmp_path / "x.txt").write_text("x")
    runs.client(config).log_artifact(run_id, str(tmp_path / "x.txt"), "samples")
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name, "x.txt"]
    assert (folder / "mlflow.db").is_file()
    assert [path.name for path in (folder / "mlartifacts").rglob("*") if path.is_file()] == ["x.txt"]


@pytest.mark.parametrize("name", ["both ' and \"", ":x"])
def test_folder_in_which_mlflow_cannot_make_a_store_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match=r"MLflow cannot make a SQLite store .*; rename the folder$"):
        store.client(TrackingConfig(uri="", experiment="e"))
    assert list((tmp_path / name).iterdir()) == []


@pytest.mark.parametrize(
    "value", ["file:///data/mlruns", "file:mlruns", "/data/mlruns", "./mlruns", "mlruns", "~/mlruns"]
)
@pytest.mark.parametrize("key", ["tracking.uri", "MLFLOW_TRACKING_URI"])
def test_folder_as_store_is_refused_with_the_address_to_use(
    key: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if key != "tracking.uri":
        monkeypatch.setenv(key, value)
    with pytest.raises(UserError) as error:
        runs.resolved(TrackingConfig(uri=value if key == "tracking.uri" else "", experiment="e"))
    folder = {
        "file:///data/mlruns": "/data/mlruns",
        "/data/mlruns": "/data/mlruns",
        "~/mlruns": Path("~/mlruns").expanduser(),
    }
    expected = folder.get(value, Path.cwd() / "mlruns")
    assert (
        str(error.value)
        == f"{key}={value}: a folder is no store of MLflow any more; use sqlite:///{expected}/mlflow.db"
    )


def test_relative_address_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert sqlite_address.absolute("sqlite:///a b/own.db") == f"sqlite:///{tmp_path}/a b/own.db"
    assert sqlite_address.absolute("sqlite:///~/own.db") == "sqlite:////home/someone/own.db"
    assert sqlite_address.absolute("sqlite:////x/own.db?timeout=5") == "sqlite:////x/own.db?timeout=5"
    assert sqlite_address.absolute("sqlite://") == "sqlite://"
    with pytest.raises(
        UserError, match=f"an address with options needs an absolute path; try sqlite:///{tmp_path}/own.db"
    ):
        sqlite_address.absolute("sqlite:///own.db?timeout=5")
