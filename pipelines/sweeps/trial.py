"""A trial, in a process of its own that Ray Tune starts: it drives one training and reports what the objective is on the way.

It goes on from whatever its folder holds, so a trial that died, or whose whole cluster did, repeats nothing but the way from its last
checkpoint.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from digan.atomic import write_json
from digan.errors import UserError
from digan.training.config import TrainingConfig
from pipelines import training_driver
from pipelines.report.logbook import LOG, mend_log
from pipelines.services import origin, tracking
from pipelines.services.worker_messages import TrialMeasured
from pipelines.sweeps import objective, runs
from pipelines.sweeps.records import ADOPTED
from pipelines.sweeps.sweep_driver import CLIPS, NUMBER, OBJECTIVE
from pipelines.sweeps.trial_config import SweepSections, for_trial, trial_length

PATIENCE = 60.0  # seconds that a trial waits until a dying predecessor has let go of its folder
SOURCE = "trial.json"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the trials of a sweep share; it is sent to their processes."""

    sections: SweepSections
    shards: str
    folder: str
    reference: str
    metric: str
    sweep_id: str
    parent: str
    tags: dict[str, str]
    keeper: Any = None  # the actor of placement_keeper.py

    @property
    def population(self) -> bool:
        """Whether trials adopt each other's checkpoints."""
        return self.sections.tune.scheduler == "pbt"

    def trial_folder(self, number: int) -> Path:
        """The folder with everything that a trial writes."""
        return Path(self.folder) / "trials" / f"{number:03d}"


class TrialFailedError(Exception):
    """The trial itself has failed (nan): no restart mends it."""


def trainable(setting: Setting) -> Callable[[dict[str, Any]], None]:
    """The function that Ray Tune runs."""

    def digan(config: dict[str, Any]) -> None:
        run(config, setting)

    return digan


def run(config: dict[str, Any], setting: Setting) -> None:
    """Train this configuration to its end, or until the scheduler stops it."""
    from ray import tune

    number = config[NUMBER]
    values = {name: value for name, value in config.items() if name != NUMBER}
    folder = setting.trial_folder(number)
    reporter = _Reporter(number, values, setting)
    try:
        sections = for_trial(setting.sections, values)
        output = folder / "train"
        _await_folder(output)
        adopted = _adopt(tune.get_checkpoint(), config, sections.training, folder) if setting.population else None
        tracked = tracking.resolved(sections.tracking)
        identity = {runs.SWEEP_ID: setting.sweep_id, runs.NUMBER: f"{number:03d}", runs.PARENT: setting.parent}
        run_id = runs.ensure(tracked, identity, f"trial-{number:03d}", folder / runs.RUN_FILE, setting.tags)
        reporter.open(tracked, run_id, adopted)
        for measure in objective.measured(folder / objective.MEASURES)[-1:]:
            reporter.replay(measure)
        hooks = training_driver.TrialHooks(
            objective=objective.Objective(
                config=objective.quick(sections.evaluation, sections.tune.videos),
                shards=setting.shards,
                reference=setting.reference,
                folder=str(folder / objective.MEASURES),
            ),
            on_started=lambda started: setting.keeper.hold.remote(os.getpid(), started.placement),
            on_measured=reporter.on_measured,
            gpu_share=sections.tune.gpu_share,
            run_file=folder / runs.RUN_FILE,
        )
        training_driver.train(sections.training_job(), shards=Path(setting.shards), output=output, trial=hooks)
        reporter.whole()
    except (UserError, TrialFailedError, training_driver.TrainingAbortedError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reporter.failed(
            lines[0] if not isinstance(error, training_driver.TrainingAbortedError) else f"{lines[0]}: {lines[-1]}"
        )


class _Reporter:
    """Turns what a training says into results for Tune and points in MLflow."""

    def __init__(self, number: int, values: dict[str, Any], setting: Setting) -> None:
        self.number, self.values, self.setting = number, values, setting
        self.length = trial_length(setting.sections)
        self.train_folder = setting.trial_folder(number) / "train"
        self.common: dict[str, Any] = {}
        self.last: dict[str, Any] | None = None
        self.reported: set[int] = set()
        self.tracked: tracking.TrackingConfig | None = None

    def open(self, tracked: tracking.TrackingConfig, run_id: str, adopted: dict[str, Any] | None) -> None:
        self.tracked, self.common = tracked, {"run_id": run_id, **({"adopted": json.dumps(adopted)} if adopted else {})}

    def replay(self, measure: dict[str, Any]) -> None:
        """The newest measure of an earlier launch: the one that the driver may not have heard of."""
        kept = (self.train_folder / "checkpoints" / f"{measure[CLIPS]:010d}").is_dir()
        if measure[CLIPS] < self.length and kept:
            self._report(measure[CLIPS], measure)

    def on_measured(self, message: TrialMeasured) -> None:
        """A checkpoint was measured; the last one is told when the trial has ended."""
        values = {CLIPS: message.clips_seen, **message.values}
        if not math.isfinite(message.values["objective"]):
            raise TrialFailedError(f"nan: the generator's videos cannot be measured at {message.clips_seen} clips")
        self._track(message)
        if message.clips_seen >= self.length:
            self.last = values
        elif message.clips_seen not in self.reported:
            self._report(message.clips_seen, values)

    def whole(self) -> None:
        """The training is at its end."""
        known = objective.measured(self.train_folder.parent / objective.MEASURES)
        last = self.last or (known[-1] if known else None)
        if last is None or last[CLIPS] < self.length:
            raise TrialFailedError("the training ended without a measure of its last checkpoint")
        self._report(last[CLIPS], last, whole=True)

    def failed(self, reason: str) -> None:
        """The trial has failed by itself."""
        self._report(int(mend_log(self.train_folder / LOG).get(CLIPS, 0)), {}, failed=reason)

    def _report(self, clips_seen: int, values: dict[str, Any], **more: Any) -> None:
        from ray import tune

        self.reported.add(clips_seen)
        log = mend_log(self.train_folder / LOG)
        result = {
            CLIPS: clips_seen,
            OBJECTIVE: values.get("objective", math.nan),
            "measure_seconds": values.get("seconds", 0.0),
            "trained": max(clips_seen, int(log.get(CLIPS, 0))),
            "training_seconds": float(log.get("seconds", 0.0)),
            **self.common,
            **more,
        }
        try:
            if self.setting.population and not more:
                tune.report(result, checkpoint=_state(self.train_folder, self.number, clips_seen))
            else:
                tune.report(result)
        except SystemExit:  # Tune says stop: this process is ended from outside, and the driver closes the books
            time.sleep(PATIENCE)
            raise

    def _track(self, message: TrialMeasured) -> None:
        assert self.tracked is not None
        points = {f"{runs.QUICK}/{self.setting.metric}": message.values["objective"]}
        if self.setting.population:
            numbers = {k: float(v) for k, v in self.values.items() if isinstance(v, int | float)}
            points |= {f"params/{name}": value for name, value in numbers.items()}
        tracking.log_metrics(self.tracked, self.common["run_id"], points, message.clips_seen)


def _state(train_folder: Path, number: int, clips_seen: int) -> Any:
    """The training's checkpoint as one that Tune hands to another trial: the same bytes, and where they come from."""
    from ray.tune import Checkpoint

    hand = train_folder.parent / "hand"
    shutil.rmtree(hand, ignore_errors=True)
    name = f"{clips_seen:010d}"
    shutil.copytree(train_folder / "checkpoints" / name, hand / name)
    (hand / SOURCE).write_text(json.dumps({"trial": number, "clips_seen": clips_seen}))
    return Checkpoint.from_directory(hand)


def _adopt(given: Any, config: dict[str, Any], training: TrainingConfig, folder: Path) -> dict[str, Any] | None:
    """Put another trial's checkpoint in place of this one's, once; the value says whose it was.

    The training's folder is then one that was begun with this trial's new parameters.
    """
    if given is None:
        return None
    with given.as_directory() as place:
        source = json.loads((Path(place) / SOURCE).read_text())
        if source["trial"] == config[NUMBER]:
            return None
        adopted = {**source, "uid": Path(given.path).as_posix(), "values": config}
        before = json.loads((folder / ADOPTED).read_text()) if (folder / ADOPTED).is_file() else None
        if before and before["uid"] == adopted["uid"]:
            return before
        output = folder / "train"
        checkpoints = output / "checkpoints"
        name = f"{source[CLIPS]:010d}"
        shutil.rmtree(output / "adopting", ignore_errors=True)
        shutil.copytree(Path(place) / name, output / "adopting" / name)
        shutil.rmtree(checkpoints, ignore_errors=True)
        (output / "adopting").rename(checkpoints)
        for measure in (folder / objective.MEASURES).glob("*.json"):
            if int(measure.stem) >= source[CLIPS]:
                measure.unlink()
    begun = origin.read_origin(folder / "train")
    if begun is not None:
        origin.write_origin(folder / "train", replace(begun, training=asdict(training)))
    write_json(folder / ADOPTED, adopted)
    return adopted


def _await_folder(folder: Path) -> None:
    """Wait until no dying predecessor holds the training's folder."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with origin.sole_writer(folder):
                return
        except UserError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
