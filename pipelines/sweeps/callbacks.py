"""What Tune tells a sweep about its trials besides their results."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback

from digan.atomic import write_bytes
from pipelines.sweeps.sweep_driver import NUMBER, SweepDriver
from pipelines.sweeps.sweep_state import FAILED

ERROR = "error.txt"  # in a trial's folder: why its process ended


class TrialEvents(Callback):
    """Records starts of trials and errors that no restart is left for."""

    def __init__(self, driver: SweepDriver) -> None:
        self.driver = driver

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process was started."""
        self.driver.start(trial.config[NUMBER])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process ended with an error for the last time."""
        number, text = trial.config[NUMBER], str(trial.get_error() or "no message").strip()
        path = write_bytes(self.driver.records.trial_folder(number) / ERROR, text.encode() + b"\n")
        times = f"died {self.driver.config.max_failures + 1} times (tune.max_failures)"
        self.driver.end(number, FAILED, f"{times}, last error: {text.splitlines()[-1][:160]}; all of it in {path}")

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune has handled an event."""
        self.driver.on_change()
