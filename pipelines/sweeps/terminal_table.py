"""A sweep in the terminal: a live table of trials; in a file, a line for each change of a trial."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from pipelines.report.progress_display import ProgressDisplay
from pipelines.report.text_format import duration, grouped
from pipelines.sweeps.space import SearchParameter
from pipelines.sweeps.sweep_state import FAILED, FINISHED, RUNNING, STOPPED, WAITING, SweepState, TrialRecord, best_of

COLORS = {RUNNING: "bold", FINISHED: "green", STOPPED: "yellow", FAILED: "red"}


class View:
    """Shows the trials of ``records``; ``total`` counts those still to come as well."""

    def __init__(
        self,
        records: SweepState,
        parameters: list[SearchParameter],
        metric: str,
        length: int,
        total: int,
    ) -> None:
        self.records, self.parameters, self.metric, self.length, self.total = records, parameters, metric, length, total
        self.started, self.clips_before = time.monotonic(), records.clips
        self._display = ProgressDisplay("tune")
        self._shown: dict[int, tuple[str, int]] = {t.number: _mark(t) for t in records.begun()}

    def __enter__(self) -> View:
        return self

    def __exit__(self, *error: object) -> None:
        if self._display.is_live:
            self._display.render(self.table(), last=True)

    def message(self, text: str) -> None:
        """Write a line that stays."""
        self._display.message(text)

    def renew(self) -> None:
        """Show what has changed: on a terminal the table, with the reasons of ends above it; in a file a line per change."""
        live = self._display.is_live
        for trial in self.records.begun():
            if trial.state == WAITING or _mark(trial) == self._shown.get(trial.number):
                continue
            self._shown[trial.number] = _mark(trial)
            if not live:
                self.message(self.line(trial))
            elif trial.reason:
                self.message(f"trial {trial.number:03d} {trial.state}: {trial.reason}")
        if live:
            self._display.render(self.table())

    def line(self, trial: TrialRecord) -> str:
        """``trial 003  running  2 000 clips  frechet_transnetv2 41.2  training.r1_gamma=0.5``."""
        last = trial.last
        parts = [f"trial {trial.number:03d}", trial.state, f"{grouped(trial.clips)} clips"]
        parts += [f"{self.metric} {last.value:.4g}"] if last else []
        parts += [f"{p.name}={trial.values[p.name]}" for p in self.parameters]
        return "  ".join(parts) + (f"  ({trial.reason})" if trial.reason else "")

    def table(self) -> Any:
        """All trials that have begun, the best marked."""
        from rich.markup import escape
        from rich.table import Table

        trials = self.records.begun()
        best = best_of(trials)
        done = sum(t.ended for t in trials)
        rate = (self.records.clips - self.clips_before) / max(time.monotonic() - self.started, 1e-9)
        title = f"{done} of {self.total} trials ended, {grouped(self.records.clips)} clips, {rate:.0f} clips/s, "
        table = Table(title=title + duration(time.monotonic() - self.started), title_justify="left")
        for name in ("trial", *short_names(self.parameters), "clips", self.metric, "state"):
            table.add_column(name, justify="left" if name in ("trial", "state") else "right")
        for trial in trials:
            last = trial.last
            clips = max(trial.clips, self._now(trial)) if trial.state == RUNNING else trial.clips
            star = "*" if best and trial.number == best.number else ""
            table.add_row(
                f"{trial.number:03d}",
                *(escape(str(trial.values[p.name])) for p in self.parameters),
                f"{grouped(clips)} {100 * clips // self.length:3d}%",
                f"{star}{last.value:.4g}" if last else "",
                trial.state,
                style=COLORS.get(trial.state, ""),
            )
        return table

    def _now(self, trial: TrialRecord) -> int:
        """How far a running trial is, where its folder can be seen from here."""
        log = self.records.trial_folder(trial.number) / "train" / "log.jsonl"
        try:
            with log.open("rb") as file:
                file.seek(max(0, log.stat().st_size - 4096))
                return int(json.loads(file.read().splitlines()[-1])["clips_seen"])
        except (OSError, ValueError, IndexError, KeyError, TypeError):
            return 0


def short_names(parameters: Sequence[SearchParameter]) -> list[str]:
    """The names without their section, where that leaves them distinct."""
    short = [p.name.rpartition(".")[2] for p in parameters]
    return short if len(set(short)) == len(short) else [p.name for p in parameters]


def _mark(trial: TrialRecord) -> tuple[str, int]:
    return trial.state, len(trial.measures)
