"""Stage `tune`: a sweep over parameters of params.yaml, each trial a whole training that Ray Tune starts, compares and stops.

The same command goes on after any kill: what has ended stays ended, what was under way goes on from its checkpoints.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from digan.errors import UserError
from pipelines.errors import run_stage
from pipelines.params import Params, load
from pipelines.report.text_format import grouped
from pipelines.services import origin, tracking
from pipelines.services.cluster import ClusterConfig, connect, is_private
from pipelines.services.provenance import run_tags
from pipelines.sweeps.records import Records, Trial, best_of, open_records
from pipelines.sweeps.space import Parameter
from pipelines.sweeps.view import View

SHARDS, OUTPUT = Path("outputs/shards"), Path("outputs/tune")
# What Ray Tune reads from the environment while a sweep runs.
ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # MLflow and the books have it all
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends this program as it does others
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's own snapshots are not used
    "TUNE_MAX_PENDING_TRIALS_PG": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}
# A trial's own process only waits, beside the head node's; its workers reserve what they need. Any share of a CPU here would
# take a whole worker's room, and Tune wants some resource.
DRIVER = {"node:__internal_head__": 0.001}


def sweep(params: Params, *, shards: Path, output: Path) -> Records:
    """Run what is left of the sweep that ``params`` describe; the value is its books. Returns at once where it is done.

    Errors: ``UserError`` for what can never work, before anything starts.
    """
    from pipelines.media.shards import read_index
    from pipelines.sweeps import search_algorithm

    parameters = params.sweep()
    shards, output = shards.absolute(), output.absolute()
    index = read_index(shards)
    with origin.sole_writer(output):
        records, notes = open_records(output, _settings(params, index.digest))
        total = search_algorithm.count(params.tune, parameters)
        left = [n for n in range(total) if n not in records.trials or not records.trials[n].ended]
        for note in notes:
            print(f"tune: {note}", flush=True)
        if not left or 0 < params.tune.budget <= records.clips:
            print(f"tune: {output} holds this sweep already, {total} trials; nothing to do", flush=True)
            return records
        known = len(records.trials)
        if known:
            print(f"tune: going on; {total - len(left)} of {total} trials have ended", flush=True)
        _run(params, parameters, records, left, total, shards, index.digest)
    return records


def _settings(params: Params, data: str) -> dict[str, Any]:
    """What makes a sweep the same sweep; what it varies or sets itself does not count, so that its winner can be applied."""
    tuned = {**asdict(params.tune), "space": {name: dict(entry) for name, entry in params.tune.space.items()}}
    base = params.for_trial({}).as_dict()
    evaluation = {key: base["evaluation"][key] for key in ("protocol", "detector", "weights", "seed", "truncation")}
    fixed = {
        section: {key: value for key, value in base[section].items() if f"{section}.{key}" not in params.tune.space}
        for section in ("model", "training")
    }
    return {"tune": tuned, **fixed, "evaluation": evaluation, "data": data, "code": origin.code_digest()}


def _run(
    params: Params, parameters: list[Parameter], records: Records, left: list[int], total: int, shards: Path, data: str
) -> None:
    from pipelines.sweeps import objective, runs
    from pipelines.sweeps.trial import Setting

    config = tracking.resolved(params.tracking)
    references = records.folder / "reference"
    metric = objective.prepare(objective.quick(params.evaluation, params.tune.videos), shards, references)
    tags = {
        **run_tags("tune", data),
        "sweep.objective": f"{runs.QUICK}/{metric}",
        "sweep.videos": str(params.tune.videos),
    }
    params = replace(params, tracking=config)
    name = tags.get("dvc.exp_name") or f"sweep-{records.sweep_id}"
    parent = runs.ensure(
        config, {runs.SWEEP_ID: records.sweep_id, runs.NUMBER: "parent"}, name, records.folder / "run.json", tags
    )
    tracking.open_run(config, params.as_dict(), tags, records.folder / "run.json")
    view = View(records, parameters, metric, params.tune.length(params.training.clips), total)
    status = "FAILED"
    try:
        with _cluster(params) as (scratch, concurrency):
            setting = Setting(
                params=params,
                shards=str(shards),
                folder=str(records.folder),
                reference=str(references),
                metric=metric,
                sweep_id=records.sweep_id,
                parent=parent,
                population=params.tune.scheduler == "pbt",
                private=is_private(params.cluster),
                tags={key: value for key, value in tags.items() if key != "dvc.exp_name"},
            )
            with view:
                view.message(f"{len(left)} trials, {concurrency} at once, on {metric} of {params.tune.videos} videos")
                _fit(setting, parameters, records, left, concurrency, view, scratch)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        _write_outcome(params, parameters, records, metric, total)
        best = best_of(records.begun())
        if best and best.last:
            tracking.log_evaluation(config, parent, {f"best/{metric}": best.last.value}, step=best.number)
            tracking.set_tags(config, parent, {"sweep.best": f"{best.number:03d}"})
        tracking.finish_run(config, parent, status)


def _write_outcome(params: Params, parameters: list[Parameter], records: Records, metric: str, total: int) -> None:
    from pipelines.sweeps import outcome, page

    outcome.write(records, parameters, metric, total)
    page.write(records, parameters, metric, params.tune.videos, params.tune.length(params.training.clips))


def _fit(
    setting: Any,
    parameters: list[Parameter],
    records: Records,
    left: list[int],
    concurrency: int,
    view: View,
    scratch: Path,
) -> None:
    """Run the trials that are left with Ray Tune."""
    import random

    from ray import tune

    from pipelines.sweeps import runs, search_algorithm
    from pipelines.sweeps.callbacks import TrialEvents
    from pipelines.sweeps.schedulers import scheduler
    from pipelines.sweeps.sweep_driver import NUMBER, SweepDriver
    from pipelines.sweeps.trial import trainable

    params: Params = setting.params
    tuned = params.tune

    def ended(trial: Trial) -> None:
        runs.close(params.tracking, trial, records.trial_folder(trial.number))

    for known in records.begun():
        if known.ended:  # a driver that was killed in between may not have said so
            ended(known)
    driver = SweepDriver(
        config=tuned,
        parameters=parameters,
        length=tuned.length(params.training.clips),
        records=records,
        pending=list(left),
        propose=lambda number: search_algorithm.propose(tuned, parameters, number, records.begun()),
        on_end=ended,
        on_change=view.renew,
    )
    random.seed(tuned.seed)  # population-based training draws from the global state
    population = {"param_space": {NUMBER: tune.grid_search(left)}} if setting.population else {}
    searched = (
        {} if setting.population else {"search_alg": search_algorithm.TrialSearcher(driver), "num_samples": len(left)}
    )
    tune.Tuner(
        tune.with_resources(trainable(setting), DRIVER),
        tune_config=tune.TuneConfig(
            scheduler=scheduler(driver), max_concurrent_trials=concurrency, reuse_actors=False, **searched
        ),
        run_config=tune.RunConfig(
            name="sweep",
            storage_path=str(scratch),
            failure_config=tune.FailureConfig(max_failures=tuned.max_failures),
            callbacks=[TrialEvents(driver)],
            verbose=0,
        ),
        **population,
    ).fit()


@contextmanager
def _cluster(params: Params) -> Iterator[tuple[Path, int]]:
    """Ray with room for some trials, a folder for what it keeps meanwhile, and how many trials fit at once."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a trial's death is told by its line, its traceback kept
    warnings.filterwarnings("ignore", category=UserWarning, module=r"ray\.tune")  # a hint on PBT's speed
    try:
        with connect(_room(params), dashboard=True) as scratch:
            yield scratch, _concurrency(params)
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _room(params: Params) -> ClusterConfig:
    """What a private cluster reserves: this machine's cores, or just what ``tune.concurrency`` trials need.

    A cluster that is there already must have room for one trial.
    """
    import ray

    if (
        params.cluster.gpus_per_worker
        or params.cluster.address
        or os.environ.get("RAY_ADDRESS")
        or ray.is_initialized()
    ):
        return replace(params.cluster, workers=params.tune.workers)
    cores = len(os.sched_getaffinity(0))
    each = params.tune.workers * params.cluster.cpus_per_worker
    trials = params.tune.concurrency or max(1, cores // each)
    return replace(params.cluster, workers=params.tune.workers * trials)


def _concurrency(params: Params) -> int:
    """How many trials the cluster has room for, at most ``tune.concurrency``."""
    import ray

    found = ray.cluster_resources()
    each = params.tune.workers * params.cluster.cpus_per_worker
    room = int(found.get("CPU", 0) // each)
    if params.cluster.gpus_per_worker:
        room = min(room, int(found.get("GPU", 0) / (params.tune.workers * params.tune.gpu_share)))
    if room < 1:
        raise UserError(f"tune.workers={params.tune.workers}: the cluster has no room for one trial; try 1")
    return min(room, params.tune.concurrency or room)


def main(argv: list[str] | None = None) -> None:
    """Run the stage on params.yaml in the present folder."""
    argparse.ArgumentParser(prog="python -m pipelines.tune", description=__doc__).parse_args(argv)

    def stop(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    records = sweep(load(), shards=SHARDS, output=OUTPUT)
    best = best_of(records.begun())
    if best and best.last:
        print(f"tune: best is trial {best.number:03d}, {best.last.value:.4g}: {best.values}", flush=True)
    print(f"tune: {grouped(records.clips)} clips in all; {OUTPUT}", flush=True)


if __name__ == "__main__":
    run_stage(main)
