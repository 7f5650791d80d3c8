"""Runs a sweep, or what an earlier launch left of it, and writes its table and page."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ray
from ray import tune

from digan.errors import UserError
from digan.system import available_cores
from pipelines.cluster.preflight import check_nodes
from pipelines.cluster.ray_cluster import cluster_in_environment, connect
from pipelines.cluster.training_driver import tracked_dataset
from pipelines.dataset.loader import read_index
from pipelines.dataset.shard_index import INDEX
from pipelines.evaluation.embedding import CHOICE_DRAW
from pipelines.sources.made_with import check_made_with
from pipelines.storage import file_io
from pipelines.sweeps import mlflow_runs, objective, space, sweep_page, sweep_summary
from pipelines.sweeps.placement_keeper import start_keeper
from pipelines.sweeps.schedulers import TrialEvents, scheduler
from pipelines.sweeps.search_algorithm import TrialSearcher, propose
from pipelines.sweeps.sweep_driver import NUMBER, SweepDriver
from pipelines.sweeps.sweep_state import SweepState, best_of, open_sweep
from pipelines.sweeps.terminal_table import SweepDisplay
from pipelines.sweeps.trial import SweepContext, SweepSections, for_trial, trainable, trial_length
from pipelines.tracking import run_contents, runs
from pipelines.training_run import run_fingerprint
from pipelines.training_run.provenance import run_tags

ENVIRONMENT = {  # of Tune, while a sweep runs
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow and the sweep's own files have everything
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a failed trial reports no objective
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends this program as it does others
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's own snapshots are not used
    "TUNE_MAX_PENDING_TRIALS_PG": "1",  # a later trial's values are proposed only when there is room for it
    "RAY_AIR_NEW_OUTPUT": "0",
}
# A trial's own process only waits, on the head node; its workers reserve what they need. Any share of a CPU here would take
# the room of a whole worker, and Tune needs some resource.
TRIAL_RESOURCES = {"node:__internal_head__": 0.001}
logger = logging.getLogger(__name__)


def run_sweep(sections: SweepSections, *, shards: Path, output: Path) -> SweepState:
    """Run the remaining trials of a sweep in ``output`` and return its state; ``UserError`` for settings that cannot work."""
    parameters, config, tracking = search_space(sections), sections.tune, runs.resolved(sections.tracking)
    shards, output = shards.absolute(), output.absolute()
    index = read_index(shards)
    check_made_with(index, sections.as_dict())
    data = index.digest
    total = len(space.grid(parameters)) if config.search == "grid" else config.trials
    with run_fingerprint.sole_writer(output):
        state = open_sweep(output, settings(sections, data))
        pending = [n for n in range(total) if n not in state.trials or not state.trials[n].ended]
        if not pending or 0 < config.budget <= state.clips:
            logger.info("%s already holds this sweep, %d trials; nothing to do", output, total)
            return state
        if state.trials:
            logger.info("resuming; %d of %d trials have ended", total - len(pending), total)
        driver = SweepDriver(
            config=config,
            parameters=parameters,
            length=trial_length(sections),
            state=state,
            pending=pending,
            propose=lambda number: propose(config, parameters, number, state.launched()),
            on_end=lambda trial: mlflow_runs.close(tracking, trial, state.trial_folder(trial.number)),
        )
        _run_tracked(replace(sections, tracking=tracking), driver, total, shards, data)
    return state


def search_space(sections: SweepSections) -> list[space.SearchParameter]:
    """Return the parameters that a sweep varies; ``UserError`` unless params.yaml could hold each limit of a range."""
    config, length = sections.tune, trial_length(sections)
    if not config.space:
        example = "training.r1_gamma: {loguniform: [0.1, 10]}"
        raise UserError(f"tune.space: is empty; name parameters to vary, such as {example}")
    if (first := config.grace_period) > length:
        remedy = f"try {max(length // 4, 1)}"
        raise UserError(f"tune.grace_period={first}: is longer than a trial of {length} clips; {remedy}")
    for_trial(sections, {})
    parameters = space.parse(config.space, sections.as_dict())
    if config.search == "grid":
        space.grid(parameters)
    for parameter in parameters:
        if config.scheduler == "pbt" and not parameter.name.startswith("training."):
            reason = "cannot vary with tune.scheduler=pbt, whose trials exploit each other's weights"
            raise UserError(f"tune.space.{parameter.name}: {reason}; set tune.scheduler=asha")
        for value in parameter.values or (parameter.low, parameter.high):
            try:
                for_trial(sections, {parameter.name: value})
            except UserError as error:
                raise UserError(f"tune.space.{error}") from None
    return parameters


def settings(sections: SweepSections, data: str) -> dict[str, Any]:
    """Return what identifies a sweep, without what it varies or sets: its winner may be applied to params.yaml."""
    sweep = {**asdict(sections.tune), "space": {name: dict(entry) for name, entry in sections.tune.space.items()}}
    base = for_trial(sections, {}).as_dict()
    evaluation = {key: base["evaluation"][key] for key in ("protocol", "detector", "weights", "seed", "truncation")}
    evaluation["draw"] = CHOICE_DRAW
    fixed: dict[str, dict[str, Any]] = {section: base[section] for section in ("model", "training")}
    for section, _, key in (name.partition(".") for name in sweep["space"]):
        fixed[section].pop(key)
    return {"tune": sweep, **fixed, "evaluation": evaluation, "data": data, "code": run_fingerprint.code_digest()}


def _run_tracked(sections: SweepSections, driver: SweepDriver, total: int, shards: Path, data: str) -> None:
    """Run the pending trials below one MLflow run; write table and page even if the sweep is interrupted or fails."""
    state, config, videos = driver.state, sections.tracking, sections.tune.videos
    reference, run_file = state.folder / "reference", state.folder / "run.json"
    weights = _absolute(sections.evaluation.weights)
    quick = replace(
        sections.evaluation, videos=videos, curve_videos=videos, draws=1, extra_detectors="", weights=weights
    )
    metric = objective.prepare(quick, shards, reference)
    tags = run_tags("tune", data)
    tags |= {"sweep.objective": f"{mlflow_runs.QUICK}/{metric}", "sweep.videos": str(videos)}
    name, sweep = tags.get("dvc.exp_name") or f"sweep-{state.sweep_id}", {mlflow_runs.SWEEP_ID: state.sweep_id}
    identity, named = {**sweep, mlflow_runs.NUMBER: "parent"}, {**tags, "mlflow.runName": name}
    parent = runs.open_run(config, sections.as_dict(), named, run_file, identity=identity)
    run_contents.log_contents(
        config,
        parent,
        dataset=tracked_dataset(read_index(shards), "tuning"),
        description=_description(sections, driver, total, f"{metric} of {videos} videos"),
        params=sections.as_dict(),
    )
    display = SweepDisplay(state, driver.parameters, metric, driver.length, total)
    with runs.status_at_end(config, parent):
        try:
            with _cluster(sections) as (scratch, slots), display:
                check_nodes(_read_by_trials(shards, weights), str(state.folder), run_fingerprint.code_digest())
                context = SweepContext(
                    sections=sections,
                    folder=state.folder,
                    objective=objective.Objective(config=quick, shards=str(shards), reference=str(reference)),
                    metric=metric,
                    identity={**sweep, mlflow_runs.PARENT: parent},
                    tags={key: value for key, value in tags.items() if key != "dvc.exp_name"},
                    keeper=start_keeper(),
                )
                display.message(f"{len(driver.pending)} trials, {slots} at once, on {metric} of {videos} videos")
                driver.on_change = display.update
                _tune(driver, context, slots, scratch)
        finally:
            sweep_summary.write(state, driver.parameters, metric, total)
            sweep_page.write(state, driver.parameters, metric, videos, driver.length)
            if best := best_of(state.launched()):
                runs.log_evaluation(config, parent, {f"best/{metric}": best.value}, step=best.number)
                runs.set_tags(config, parent, {"sweep.best": f"{best.number:03d}"})


def _absolute(address: str) -> str:
    """The address with an absolute path, since trials on a cluster run in other folders."""
    return address if not address or file_io.is_remote(address) else str(Path(address).absolute())


def _read_by_trials(shards: Path, weights: str) -> dict[str, str]:
    """The addresses that every machine must reach, by what they are."""
    found = {
        f"the shards at {address}": file_io.join(address, INDEX)
        for address in (str(shards), read_index(shards).address)
    }
    return found | ({f"evaluation.weights={weights}": weights} if weights else {})


def _description(sections: SweepSections, driver: SweepDriver, total: int, objective: str) -> str:
    """Return the description of the parent run, in Markdown."""
    names = ", ".join(f"`{parameter.name}`" for parameter in driver.parameters)
    how = f"{sections.tune.search} search, {sections.tune.scheduler}"
    return f"A sweep of {total} trials over {names}: {how}; each trains on {driver.length} clips and is measured by {objective}."


def _tune(driver: SweepDriver, context: SweepContext, slots: int, scratch: Path) -> None:
    """Run the pending trials with Tune, ``slots`` at once."""
    for known in driver.state.launched():
        if known.ended:  # an earlier driver may have been killed before it closed the run
            driver.on_end(known)
    random.seed(driver.config.seed)  # population-based training draws from Python's global generator
    population = driver.config.scheduler == "pbt"
    searched = {} if population else {"search_alg": TrialSearcher(driver), "num_samples": len(driver.pending)}
    tune.Tuner(
        tune.with_resources(trainable(context), TRIAL_RESOURCES),
        param_space={NUMBER: tune.grid_search(list(driver.pending))} if population else None,
        tune_config=tune.TuneConfig(scheduler=scheduler(driver), max_concurrent_trials=slots, **searched),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=str(scratch),
            failure_config=tune.FailureConfig(max_failures=driver.config.max_failures),
            callbacks=[TrialEvents(driver)],
            verbose=0,
        ),
    ).fit()


@contextmanager
def _cluster(sections: SweepSections) -> Iterator[tuple[Path, int]]:
    """Connect to Ray, which must have room for one trial; yield a folder for its files and the number of trials at once."""
    cluster, config = sections.cluster, sections.tune
    cpus, trials = config.workers * cluster.cpus_per_worker, 1
    if not (cluster.gpus_per_worker or cluster.address or cluster_in_environment() or ray.is_initialized()):
        trials = config.max_concurrent_trials or max(1, available_cores() // cpus)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the sweep reports failed trials with their tracebacks
    cluster = replace(cluster, workers=config.workers * trials)
    with warnings.catch_warnings(), connect(cluster, environment=ENVIRONMENT) as scratch:
        warnings.filterwarnings("ignore", category=UserWarning, module=r"ray\.tune")  # a hint about the speed of PBT
        found = ray.cluster_resources()
        slots = int(found.get("CPU", 0) // cpus)
        if cluster.gpus_per_worker:
            slots = min(slots, int(found.get("GPU", 0) / (config.workers * config.gpu_share)))
        if slots < 1:
            raise UserError(f"tune.workers={config.workers}: the cluster has no room for one trial; try 1")
        yield scratch, min(slots, config.max_concurrent_trials or slots)
