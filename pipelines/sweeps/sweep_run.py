"""A sweep from its first trial, or from wherever an earlier launch ended, to its table and page."""

from __future__ import annotations

import logging
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from digan.errors import UserError
from pipelines.cluster.ray_cluster import ClusterConfig, connect
from pipelines.dataset.loader import read_index
from pipelines.sweeps import mlflow_runs, objective, sweep_page, sweep_summary
from pipelines.sweeps.placement_keeper import start_keeper
from pipelines.sweeps.space import SearchParameter
from pipelines.sweeps.sweep_state import SweepState, TrialRecord, best_of, open_records
from pipelines.sweeps.terminal_table import View
from pipelines.sweeps.trial_config import SweepSections, for_trial, search_space, trial_length
from pipelines.tracking import runs
from pipelines.training_run import run_fingerprint
from pipelines.training_run.provenance import run_tags

# What Tune reads from the environment while a sweep runs.
ENVIRONMENT = {
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


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep with its state: ``total`` trials in all, ``pending`` the numbers of those that have not ended."""

    sections: SweepSections
    parameters: list[SearchParameter]
    records: SweepState
    total: int
    pending: list[int]


def run_sweep(sections: SweepSections, *, shards: Path, output: Path) -> SweepState:
    """Run what is left of a sweep in ``output`` and return its state; return at once if nothing is left.

    Errors: ``UserError`` for what can never work, before anything starts.
    """
    from pipelines.sweeps import search_algorithm

    parameters = search_space(sections)
    shards, output = shards.absolute(), output.absolute()
    data = read_index(shards).digest
    with run_fingerprint.sole_writer(output):
        records, notes = open_records(output, settings(sections, data))
        total = search_algorithm.count(sections.tune, parameters)
        pending = [n for n in range(total) if n not in records.trials or not records.trials[n].ended]
        for note in notes:
            print(f"tune: {note}", flush=True)
        if not pending or 0 < sections.tune.budget <= records.clips:
            print(f"tune: {output} holds this sweep already, {total} trials; nothing to do", flush=True)
            return records
        if records.trials:
            print(f"tune: resuming; {total - len(pending)} of {total} trials have ended", flush=True)
        sections = replace(sections, tracking=runs.resolved(sections.tracking))
        sweep = Sweep(sections=sections, parameters=parameters, records=records, total=total, pending=pending)
        _run_tracked(sweep, shards, data)
    return records


def settings(sections: SweepSections, data: str) -> dict[str, Any]:
    """What identifies a sweep.

    What it varies or sets itself is left out, so that params.yaml still describes it when its winner was applied.
    """
    tune = {**asdict(sections.tune), "space": {name: dict(entry) for name, entry in sections.tune.space.items()}}
    base = for_trial(sections, {}).as_dict()
    evaluation = {key: base["evaluation"][key] for key in ("protocol", "detector", "weights", "seed", "truncation")}
    fixed = {
        section: {key: value for key, value in base[section].items() if f"{section}.{key}" not in sections.tune.space}
        for section in ("model", "training")
    }
    return {"tune": tune, **fixed, "evaluation": evaluation, "data": data, "code": run_fingerprint.code_digest()}


def _run_tracked(sweep: Sweep, shards: Path, data: str) -> None:
    """Run the pending trials below one run of MLflow; table and page are written however that ends."""
    from pipelines.sweeps.trial import SweepContext

    sections, records = sweep.sections, sweep.records
    tune, config = sections.tune, sections.tracking
    reference = records.folder / "reference"
    metric = objective.prepare(objective.quick(sections.evaluation, tune.videos), shards, reference)
    tags = {
        **run_tags("tune", data),
        "sweep.objective": f"{mlflow_runs.QUICK}/{metric}",
        "sweep.videos": str(tune.videos),
    }
    name, run_file = tags.get("dvc.exp_name") or f"sweep-{records.sweep_id}", records.folder / "run.json"
    parent = mlflow_runs.ensure(
        config, {mlflow_runs.SWEEP_ID: records.sweep_id, mlflow_runs.NUMBER: "parent"}, name, run_file, tags
    )
    runs.open_run(config, sections.as_dict(), tags, run_file)
    status = "FAILED"
    try:
        setting = SweepContext(
            sections=sections,
            shards=str(shards),
            folder=str(records.folder),
            reference=str(reference),
            metric=metric,
            sweep_id=records.sweep_id,
            parent=parent,
            tags={key: value for key, value in tags.items() if key != "dvc.exp_name"},
        )
        with _cluster(sections) as (scratch, slots):
            setting = replace(setting, keeper=start_keeper())
            view = View(records, sweep.parameters, metric, trial_length(sections), sweep.total)
            with view:
                view.message(f"{len(sweep.pending)} trials, {slots} at once, on {metric} of {tune.videos} videos")
                _tune(sweep, setting, slots, scratch, view)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        sweep_summary.write(records, sweep.parameters, metric, sweep.total)
        sweep_page.write(records, sweep.parameters, metric, tune.videos, trial_length(sections))
        best = best_of(records.begun())
        if best and best.last:
            runs.log_evaluation(config, parent, {f"best/{metric}": best.last.value}, step=best.number)
            runs.set_tags(config, parent, {"sweep.best": f"{best.number:03d}"})
        runs.finish_run(config, parent, status)


def _tune(sweep: Sweep, setting: Any, slots: int, scratch: Path, view: View) -> None:
    """Run the pending trials with Tune, ``slots`` at once."""
    from ray import tune

    from pipelines.sweeps import search_algorithm
    from pipelines.sweeps.callbacks import TrialEvents
    from pipelines.sweeps.schedulers import scheduler
    from pipelines.sweeps.sweep_driver import NUMBER, SweepDriver
    from pipelines.sweeps.trial import trainable

    sections, records = sweep.sections, sweep.records

    def close(trial: TrialRecord) -> None:
        mlflow_runs.close(sections.tracking, trial, records.trial_folder(trial.number))

    for known in records.begun():
        if known.ended:  # an earlier driver may have been killed before it closed the run
            close(known)
    driver = SweepDriver(
        config=sections.tune,
        parameters=sweep.parameters,
        length=trial_length(sections),
        records=records,
        pending=list(sweep.pending),
        propose=lambda number: search_algorithm.propose(sections.tune, sweep.parameters, number, records.begun()),
        on_end=close,
        on_change=view.renew,
    )
    random.seed(sections.tune.seed)  # population-based training draws from Python's global generator
    population = sections.tune.scheduler == "pbt"
    searched = {"search_alg": search_algorithm.TrialSearcher(driver), "num_samples": len(sweep.pending)}
    tune.Tuner(
        tune.with_resources(trainable(setting), TRIAL_RESOURCES),
        param_space={NUMBER: tune.grid_search(sweep.pending)} if population else None,
        tune_config=tune.TuneConfig(
            scheduler=scheduler(driver),
            max_concurrent_trials=slots,
            reuse_actors=False,
            **({} if population else searched),
        ),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=str(scratch),
            failure_config=tune.FailureConfig(max_failures=sections.tune.max_failures),
            callbacks=[TrialEvents(driver)],
            verbose=0,
        ),
    ).fit()


@contextmanager
def _cluster(sections: SweepSections) -> Iterator[tuple[Path, int]]:
    """Connect to Ray; yield a folder for Ray's files and the number of trials that fit at once."""
    logging.getLogger("ray.tune").setLevel(
        logging.CRITICAL
    )  # the sweep reports failed trials and keeps their tracebacks
    with warnings.catch_warnings(), connect(_cluster_config(sections), environment=ENVIRONMENT) as scratch:
        warnings.filterwarnings("ignore", category=UserWarning, module=r"ray\.tune")  # a hint about the speed of PBT
        yield scratch, _slots(sections)


def _cluster_config(sections: SweepSections) -> ClusterConfig:
    """The configuration of a private cluster with room for all trials that run at once.

    A cluster that exists already, or one with GPUs, is only required to have room for one trial.
    """
    import ray

    cluster, tune = sections.cluster, sections.tune
    if cluster.gpus_per_worker or cluster.address or os.environ.get("RAY_ADDRESS") or ray.is_initialized():
        return replace(cluster, workers=tune.workers)
    trials = tune.max_concurrent_trials or max(
        1, len(os.sched_getaffinity(0)) // (tune.workers * cluster.cpus_per_worker)
    )
    return replace(cluster, workers=tune.workers * trials)


def _slots(sections: SweepSections) -> int:
    """Number of trials that the cluster has room for, at most ``tune.max_concurrent_trials``."""
    import ray

    cluster, tune, found = sections.cluster, sections.tune, ray.cluster_resources()
    slots = int(found.get("CPU", 0) // (tune.workers * cluster.cpus_per_worker))
    if cluster.gpus_per_worker:
        slots = min(slots, int(found.get("GPU", 0) / (tune.workers * tune.gpu_share)))
    if slots < 1:
        raise UserError(f"tune.workers={tune.workers}: the cluster has no room for one trial; try 1")
    return min(slots, tune.max_concurrent_trials or slots)
