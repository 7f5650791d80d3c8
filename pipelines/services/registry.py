"""The MLflow registry: a generator becomes a version, once, with tags that say what it is and the alias that it has
earned.
"""

from __future__ import annotations

import random
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.services.gate import CHALLENGER, CHAMPION, Figure, Verdict, judge
from pipelines.services.provenance import git_tags
from pipelines.services.tracking import TrackingConfig, client, finish_run, open_run, refusals, resolved

WEIGHTS_TAG = "weights.digest"
DECIDED_TAG = "decided_at"  # seconds since 1970
RACE_SECONDS = 600  # who was judged within so many seconds may be judging still
ALIAS_TRIES = 20
CARD = "MODEL_CARD.md"


@dataclass(frozen=True, kw_only=True)
class Published:
    """The outcome; ``created`` is false where the same weights were registered before."""

    model: str
    version: int
    alias: str
    reason: str
    created: bool
    metric: str
    value: float
    data_digest: str
    detector_digest: str
    weights_digest: str
    run_id: str


def publish(
    tracking: TrackingConfig,
    *,
    name: str,
    generator: Path,
    resolution: int,
    weights_digest: str,
    figure: Figure,
    run_id: str,
    margin: float,
    card: str,
) -> Published:
    """Register the generator's folder under ``name`` unless these weights are there already, judge it and set its
    alias. ``card`` is the model card, in Markdown; ``{verdict}`` in it becomes the verdict.
    """
    tracking = resolved(tracking)
    mlflow = client(tracking)
    with refusals(tracking.uri):
        _ensure_model(mlflow, name)
        version = _version_of(mlflow, name, weights_digest)
        created = version is None
        run_id = _run_for(tracking, run_id, name)
        tags = {**figure.tags(), WEIGHTS_TAG: weights_digest, "run_id": run_id, **git_tags(Path.cwd())}
        if version is None:
            logged = _log_model(tracking, generator, resolution=resolution, run_id=run_id, card=card)
            version = mlflow.create_model_version(
                name, source=logged.artifact_location, run_id=run_id, tags=tags, model_id=logged.model_id
            ).version
        else:
            for key, value in figure.tags().items():
                mlflow.set_model_version_tag(name, version, key, value)
        verdict = _judge(mlflow, name, str(version), figure, margin)
        mlflow.set_model_version_tag(name, version, "verdict", verdict.reason)
        mlflow.update_model_version(name, str(version), description=card.replace("{verdict}", verdict.reason))
        mlflow.set_tag(run_id, "registered", f"{name}/{version}")
    return Published(
        model=name,
        version=int(version),
        alias=verdict.alias,
        reason=verdict.reason,
        created=created,
        metric=figure.metric,
        value=figure.value,
        data_digest=figure.data,
        detector_digest=figure.detector,
        weights_digest=weights_digest,
        run_id=run_id,
    )


def _judge(mlflow: Any, name: str, version: str, figure: Figure, margin: float) -> Verdict:
    """Decide and set the alias; a version that is the champion stays it.

    The registry has no way to set an alias only if nobody else has. So whoever has set it looks again at all that have
    been judged lately, and sets it again until it stands where the rule, applied to them in the order of their numbers,
    puts it: whoever comes last has seen all of them.
    """
    holder = _champion(mlflow, name)
    if holder == version:
        return Verdict(alias=CHAMPION, reason=f"is the champion already, {figure.metric} {figure.value:.4g}")
    base = holder
    verdict = _settle(mlflow, name, version, figure, base, margin)
    mlflow.set_model_version_tag(name, version, DECIDED_TAG, str(time.time()))
    for _ in range(20):
        again = _settle(mlflow, name, version, figure, base, margin)
        if again == verdict:
            break
        verdict = again
    if verdict.alias == CHALLENGER:
        _set_alias(mlflow, name, CHALLENGER, version)
    elif str(mlflow.get_registered_model(name).aliases.get(CHALLENGER)) == version:
        mlflow.delete_registered_model_alias(name, CHALLENGER)
    return verdict


def _settle(mlflow: Any, name: str, version: str, figure: Figure, base: str | None, margin: float) -> Verdict:
    """Put the champion's alias where the rule puts it now; the verdict on ``version``."""
    figures = {version: figure, **_contenders(mlflow, name, version, base)}
    known = Figure.of_tags(mlflow.get_model_version(name, base).tags) if base is not None else None
    champion, best, own = base, known, None
    for number in sorted(figures, key=int):
        verdict = judge(figures[number], best, champion_version=champion, name=name, margin=margin)
        if verdict.alias == CHAMPION:
            champion, best = number, figures[number]
        own = verdict if number == version else own
    assert own is not None
    if champion is not None and _champion(mlflow, name) != champion:
        _set_alias(mlflow, name, CHAMPION, champion)
    if own.alias == CHAMPION and champion != version:
        reason = f"version {champion}, registered at the same time, is better: {best.value if best else 0:.4g}"
        return Verdict(alias=CHALLENGER, reason=reason)
    return own


def _contenders(mlflow: Any, name: str, version: str, base: str | None) -> dict[str, Figure]:
    """The figures of other versions that are judged right now or were within ``RACE_SECONDS``, newer than ``base``."""
    found = {}
    for other in mlflow.search_model_versions(f"name='{name}'"):
        number, tags = str(other.version), other.tags
        if number == version or (base is not None and int(number) <= int(base)):
            continue
        decided = float(tags.get(DECIDED_TAG, "inf"))
        figure = Figure.of_tags(tags)
        if figure is not None and decided > time.time() - RACE_SECONDS:
            found[number] = figure
    return found


def _set_alias(mlflow: Any, name: str, alias: str, version: str) -> None:
    """Set an alias. Two that set it at once make MLflow's store refuse one of them, which asks again."""
    from mlflow.exceptions import MlflowException

    for left in reversed(range(ALIAS_TRIES)):
        try:
            return mlflow.set_registered_model_alias(name, alias, version)
        except MlflowException as error:
            text = str(error).lower()
            at_once = any(word in text for word in ("unique constraint", "duplicate", "integrityerror", "locked"))
            if not left or not (at_once or error.error_code == "TEMPORARILY_UNAVAILABLE"):
                raise
            time.sleep(random.uniform(0.05, 0.3))
    return None


def _champion(mlflow: Any, name: str) -> str | None:
    holder = mlflow.get_registered_model(name).aliases.get(CHAMPION)
    return None if holder is None else str(holder)


def _ensure_model(mlflow: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        mlflow.create_registered_model(name, description="DIGAN video generator: seeds in, uint8 videos out.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _version_of(mlflow: Any, name: str, weights_digest: str) -> str | None:
    """The newest version with these weights."""
    versions = mlflow.search_model_versions(f"name='{name}'")
    same = [int(v.version) for v in versions if v.tags.get(WEIGHTS_TAG) == weights_digest]
    return str(max(same)) if same else None


def _run_for(tracking: TrackingConfig, run_id: str, name: str) -> str:
    """The training's run; a new one where the store does not know it (the training logged to another store)."""
    from mlflow.exceptions import MlflowException

    mlflow = client(tracking)
    try:
        return mlflow.get_run(run_id).info.run_id
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    own = open_run(tracking, {}, {"mlflow.runName": f"register {name}", "trained_in": run_id}, None)
    finish_run(tracking, own)
    return own


def _log_model(tracking: TrackingConfig, generator: Path, *, resolution: int, run_id: str, card: str) -> Any:
    """The generator as a model of the run, in pyfunc's format; the result has ``model_id`` and ``artifact_location``.

    MLflow's one call for this works on global state (address, active run); these do not.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model
    from mlflow.pyfunc import save_model

    from pipelines.services import mlflow_model

    mlflow = client(tracking)
    run = mlflow.get_run(run_id)
    logged = mlflow.create_logged_model(run.info.experiment_id, name="generator", source_run_id=run_id)
    ready = False
    try:
        with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*input example.*")  # the signature says what goes in
            folder = Path(scratch) / "model"
            save_model(
                str(folder),
                loader_module=mlflow_model.LOADER,
                data_path=str(generator),
                signature=mlflow_model.signature(resolution),
                pip_requirements=mlflow_model.requirements(),
                mlflow_model=Model(run_id=run_id, model_id=logged.model_id, artifact_path=logged.artifact_location),
            )
            (folder / CARD).write_text(card.replace("{verdict}", "see the version's description"))
            mlflow.log_model_artifacts(logged.model_id, str(folder))
        ready = True
    finally:
        mlflow.finalize_logged_model(logged.model_id, "READY" if ready else "FAILED")
    mlflow.log_outputs(run_id, [LoggedModelOutput(model_id=logged.model_id, step=0)])
    return logged
