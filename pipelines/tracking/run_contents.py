"""What a run's page in MLflow shows beside parameters and metrics: data set, description, parameters file; its address."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from digan.redaction import redacted
from pipelines.params_file import dump
from pipelines.tracking.sqlite_address import database_of
from pipelines.tracking.store import TrackingConfig, client, resolved

LOCAL_SERVER = "http://127.0.0.1:5000"  # of `mlflow ui`
DIGEST_LENGTH = 36  # MLflow's limit for the digest of a data set
PARAMETERS = "params.yaml"


@dataclass(frozen=True, kw_only=True)
class TrackedDataset:
    """A data set as MLflow records it; ``profile`` are its counts, ``context`` what the run does with it."""

    name: str
    digest: str
    address: str
    profile: Mapping[str, Any]
    context: str


def log_contents(
    config: TrackingConfig, run_id: str, *, dataset: TrackedDataset, description: str, params: Mapping[str, Any]
) -> None:
    """Log data set, description and parameters file, which may be repeated when a run resumes."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    mlflow, address = client(config), redacted(dataset.address)
    entity = Dataset(
        name=dataset.name,
        digest=dataset.digest[:DIGEST_LENGTH],
        source_type="s3" if address.startswith("s3://") else "local",
        source=json.dumps({"uri": address}),
        profile=json.dumps({**dataset.profile, "digest": dataset.digest}),
    )
    mlflow.log_inputs(run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", dataset.context)])])
    mlflow.set_tag(run_id, "mlflow.note.content", redacted(description))
    mlflow.log_text(run_id, redacted(dump(params)), PARAMETERS)


def runs_page(config: TrackingConfig, experiment: str | None) -> str:
    """Return the address of the experiment's table of runs, since MLflow opens an experiment on its traces."""
    uri = redacted(resolved(config).uri)
    server = uri.rstrip("/") if uri.startswith("http") else LOCAL_SERVER
    return server if experiment is None else f"{server}/#/experiments/{experiment}/runs"


def how_to_open(config: TrackingConfig, experiment: str | None) -> str:
    """Return the address that shows the runs, with the command that serves it where the store is a database."""
    uri, page = resolved(config).uri, runs_page(config, experiment)
    if uri.startswith("http"):
        return page
    uri = shlex.quote(uri if database_of(uri) else redacted(uri))  # options of a SQLite address are no credentials
    return f".venv/bin/mlflow ui --workers 1 --backend-store-uri {uri}   then {page}"
