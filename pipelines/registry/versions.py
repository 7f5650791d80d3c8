"""Registers a generator as a version in the MLflow registry, with tags and an alias."""

from __future__ import annotations

import importlib.metadata
import random
import tempfile
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipelines.registry.alias_decision import CHALLENGER, CHAMPION, AliasDecision, AliasRule, MetricValue, decide_alias
from pipelines.registry.model_card import escaped
from pipelines.tracking.runs import writable_run
from pipelines.tracking.store import TrackingConfig, client, find, refusals, resolved, suppressed
from pipelines.training_run.provenance import git_tags

WEIGHTS_TAG = "weights.digest"
MODEL_TAG = "logged_model_id"
DECIDED_TAG = "decided_at"  # seconds since 1970
RACE_SECONDS = 600  # a version decided within this time may still change the alias
ALIAS_TRIES = 20
# MLflow's error codes for concurrent writes of an alias and for a locked database.
CONFLICTS = ("BAD_REQUEST", "TEMPORARILY_UNAVAILABLE")
CARD = "MODEL_CARD.md"


@dataclass(frozen=True, kw_only=True)
class RegistrationRequest:
    """A generator's folder to register under ``name``; ``measured`` and ``rule`` decide its alias.

    ``run_id`` is the training's run, ``figures`` are the evaluation's values after ``clips_seen`` clips, ``card`` is the
    model card, whose ``{verdict}`` becomes the reason of the alias.
    """

    name: str
    generator: Path
    resolution: int
    weights_digest: str
    measured: MetricValue
    rule: AliasRule
    run_id: str
    figures: Mapping[str, float]
    clips_seen: int
    card: str


@dataclass(frozen=True, kw_only=True)
class RegistrationResult(AliasDecision):
    """The registered version (``None``: only decided) and its alias; ``created`` is false if no version was added."""

    model: str
    version: int | None
    created: bool
    run_id: str


def publish(tracking: TrackingConfig, request: RegistrationRequest) -> RegistrationResult:
    """Register the generator, unless a version has its weights already, and decide the version's alias (again)."""
    tracking = resolved(tracking)
    mlflow = client(tracking)
    name, measured = request.name, request.measured
    with refusals(tracking.uri):
        with suppressed("RESOURCE_ALREADY_EXISTS"):
            mlflow.create_registered_model(name, description="DIGAN video generator: seeds in, uint8 videos out.")
        run_id = writable_run(tracking, request.run_id, f"register {name}")
        versions = mlflow.search_model_versions(f"name='{name}'")
        same = [int(v.version) for v in versions if v.tags.get(WEIGHTS_TAG) == request.weights_digest]
        version = str(max(same) if same else _new_version(mlflow, request, run_id))
        if same:
            for key, value in measured.tags().items():
                mlflow.set_model_version_tag(name, version, key, value)
        _log_figures(mlflow, request, run_id, mlflow.get_model_version(name, version).tags.get(MODEL_TAG))
        decision = _settle_alias(mlflow, name, version, measured, request.rule)
        mlflow.set_model_version_tag(name, version, "verdict", decision.reason)
        mlflow.update_model_version(
            name, version, description=request.card.replace("{verdict}", escaped(decision.reason))
        )
        mlflow.set_tag(run_id, "registered", f"{name}/{version}")
    return RegistrationResult(model=name, version=int(version), created=not same, run_id=run_id, **asdict(decision))


def decide(tracking: TrackingConfig, request: RegistrationRequest) -> RegistrationResult:
    """Decide the alias that ``publish`` would give to the generator, and write nothing to the registry."""
    tracking, name = resolved(tracking), request.name
    mlflow = client(tracking)
    with refusals(tracking.uri):
        model = find(mlflow.get_registered_model, name)
        number = None if model is None else model.aliases.get(CHAMPION)
        tags = {} if number is None else mlflow.get_model_version(name, number).tags
    decision = decide_alias(
        request.measured, MetricValue.of_tags(tags), champion_version=number, name=name, rule=request.rule
    )
    if tags.get(WEIGHTS_TAG) == request.weights_digest:
        decision = AliasDecision(alias=CHAMPION, reason=f"version {number}, the champion, has these weights")
    return RegistrationResult(model=name, version=None, created=False, run_id=request.run_id, **asdict(decision))


def _new_version(mlflow: Any, request: RegistrationRequest, run_id: str) -> int:
    """Log the generator to the run in pyfunc's format and register it; return the version.

    ``mlflow.pyfunc.log_model`` does the same with the process's global store and run.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model
    from mlflow.pyfunc import save_model

    from pipelines.registry import pyfunc_model

    pins = [f"{name}=={importlib.metadata.version(name).split('+')[0]}" for name in ("torch", "numpy", "mlflow")]
    experiment = mlflow.get_run(run_id).info.experiment_id
    logged = mlflow.create_logged_model(experiment, name="generator", source_run_id=run_id)
    status = "FAILED"
    try:
        with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about type hints and pickled code, which loader modules do not use
            folder = Path(scratch, "model")
            save_model(
                str(folder),
                loader_module=pyfunc_model.LOADER,
                data_path=str(request.generator),
                signature=pyfunc_model.signature(request.resolution),
                pip_requirements=pins,
                mlflow_model=Model(run_id=run_id, model_id=logged.model_id, artifact_path=logged.artifact_location),
            )
            (folder / CARD).write_text(request.card.replace("{verdict}", "see the version's description"))
            mlflow.log_model_artifacts(logged.model_id, str(folder))
        status = "READY"
    finally:
        mlflow.finalize_logged_model(logged.model_id, status)
    mlflow.log_outputs(run_id, [LoggedModelOutput(model_id=logged.model_id, step=0)])
    tags = {
        **request.measured.tags(),
        WEIGHTS_TAG: request.weights_digest,
        "run_id": run_id,
        MODEL_TAG: logged.model_id,
        **git_tags(),
    }
    version = mlflow.create_model_version(
        request.name, source=logged.artifact_location, run_id=run_id, tags=tags, model_id=logged.model_id
    )
    return int(version.version)


def _log_figures(mlflow: Any, request: RegistrationRequest, run_id: str, model_id: str | None) -> None:
    """Log the evaluation's values to the logged model, unless it has them; versions from before have no tag for it."""
    from mlflow.entities import Metric

    if model_id is None:
        return
    present = {metric.key: metric for metric in mlflow.get_logged_model(model_id).metrics or ()}
    points = {point.key: point for key in request.figures for point in mlflow.get_metric_history(run_id, key)[-1:]}
    now = int(time.time() * 1000)
    new = []
    for key, value in request.figures.items():
        if key in present and present[key].value == value:
            continue
        point = points.get(key)  # with its time and step, the run gets no second point
        moment, step = now, request.clips_seen
        if point is not None and point.value == value:
            moment, step = point.timestamp, point.step
        new.append(Metric(key, value, moment, step, model_id=model_id))
    mlflow.log_batch(run_id, metrics=new)


def _settle_alias(mlflow: Any, name: str, version: str, measured: MetricValue, rule: AliasRule) -> AliasDecision:
    """Decide and set the alias of ``version``; the champion stays champion.

    The registry cannot set an alias conditionally. Therefore, each process applies the rule again after it has set the
    alias, to all recently decided versions in the order of their numbers, until the result no longer changes. The last
    process sees all versions.
    """
    base = _champion(mlflow, name)
    if base == version:
        return AliasDecision(alias=CHAMPION, reason=f"already the champion, {measured.metric} {measured.value:.4g}")
    decision = _apply_rule(mlflow, name, version, measured, base, rule)
    mlflow.set_model_version_tag(name, version, DECIDED_TAG, str(time.time()))
    for _ in range(ALIAS_TRIES):
        previous, decision = decision, _apply_rule(mlflow, name, version, measured, base, rule)
        if decision == previous:
            break
    if decision.alias == CHALLENGER:
        _set_alias(mlflow, name, CHALLENGER, version)
    elif str(mlflow.get_registered_model(name).aliases.get(CHALLENGER)) == version:
        mlflow.delete_registered_model_alias(name, CHALLENGER)
    return decision


def _apply_rule(
    mlflow: Any, name: str, version: str, measured: MetricValue, base: str | None, rule: AliasRule
) -> AliasDecision:
    """Set the champion's alias by the rule, starting from the champion ``base``; return the decision on ``version``."""
    values = {**_contenders(mlflow, name, version, base), version: measured}
    champion = base
    best = None if base is None else MetricValue.of_tags(mlflow.get_model_version(name, base).tags)
    decisions = {}
    for number in sorted(values, key=int):
        decisions[number] = decide_alias(values[number], best, champion_version=champion, name=name, rule=rule)
        if decisions[number].alias == CHAMPION:
            champion, best = number, values[number]
    if champion is not None and _champion(mlflow, name) != champion:
        _set_alias(mlflow, name, CHAMPION, champion)
    if decisions[version].alias == CHAMPION and champion != version:
        assert best is not None
        reason = f"version {champion}, registered at the same time, is better: {best.value:.4g}"
        return AliasDecision(alias=CHALLENGER, reason=reason)
    return decisions[version]


def _contenders(mlflow: Any, name: str, version: str, base: str | None) -> dict[str, MetricValue]:
    """Return the values of other versions newer than ``base``, undecided or decided within ``RACE_SECONDS``."""
    found = {}
    for other in mlflow.search_model_versions(f"name='{name}'"):
        number, value = str(other.version), MetricValue.of_tags(other.tags)
        is_newer = number != version and (base is None or int(number) > int(base))
        is_recent = float(other.tags.get(DECIDED_TAG, "inf")) > time.time() - RACE_SECONDS
        if value is not None and is_newer and is_recent:
            found[number] = value
    return found


def _set_alias(mlflow: Any, name: str, alias: str, version: str) -> None:
    """Set an alias; retry if another process writes it at the same time."""
    from mlflow.exceptions import MlflowException

    for tries_left in reversed(range(ALIAS_TRIES)):
        try:
            mlflow.set_registered_model_alias(name, alias, version)
            return
        except MlflowException as error:
            if not tries_left or error.error_code not in CONFLICTS:
                raise
            time.sleep(random.uniform(0.05, 0.3))


def _champion(mlflow: Any, name: str) -> str | None:
    holder = mlflow.get_registered_model(name).aliases.get(CHAMPION)
    return None if holder is None else str(holder)
